import Testing

@testable import Bytes

/// Random compositions of all operations against arrays in memory.
@Suite struct AlgebraTests {
  private static let maxDepth = 6

  /// Any composition has the elements of the same operations on arrays, and any window of the bytes is that of the whole.
  @Test(arguments: 1...1000 as ClosedRange<UInt64>)
  func compositions(seed: UInt64) throws {
    var random = RandomTensors(seed: seed)
    let (tensor, expected) = random.tensor(
      depth: Int.random(in: 0...AlgebraTests.maxDepth, using: &random.generator))
    let code = random.code.joined(separator: "\n")
    try #require(tensor.shape == expected.shape && tensor.dtype == expected.dtype, "seed \(seed)\n\(code)")
    let bytes = try tensor.bytes()
    try #require(bytes == expected.bytes, "seed \(seed)\n\(code)")
    #expect(try sequential(VirtualFile(tensor.extents)).bytes == bytes, "seed \(seed)\n\(code)")
    for _ in 0..<20 {
      let start = Int.random(in: 0...bytes.count, using: &random.generator)
      let end = Int.random(in: start...bytes.count, using: &random.generator)
      // In front of the tensor an odd number of bytes: elements at odd addresses.
      let file = VirtualFile([.literal([7])] + tensor.extents)
      for runs in [Gather.VerbatimRuns.copied, .mapped] {
        try #require(
          file.bytes((start + 1)..<(end + 1), verbatim: runs) == Array(bytes[start..<end]),
          "seed \(seed), \(start)..<\(end)\n\(code)")
      }
    }
  }

  /// The random ones get everywhere: to columns side by side, to strides within rows, to what two strides can't reach.
  @Test func everyKindOccurs() {
    var (interleaved, strided, nested) = (0, 0, 0)
    for seed in 1...300 as ClosedRange<UInt64> {
      var random = RandomTensors(seed: seed)
      let extents = random.tensor(depth: AlgebraTests.maxDepth).tensor.extents
      if extents.contains(where: { if case .interleaved = $0 { true } else { false } }) { interleaved += 1 }
      if extents.contains(where: { $0.runs.contains { $0.elementStride != 1 } }) { strided += 1 }
      if extents.contains(where: { $0.runs.contains { $0.source is VirtualFileSource } }) { nested += 1 }
    }
    #expect(min(interleaved, strided, nested) > 30, "\(interleaved), \(strided), \(nested)")
  }

  /// The first test can fail: of operands that are swapped the bytes differ.
  @Test func swappedOperands() throws {
    var random = RandomTensors(seed: 1)
    let (a, expectedA) = random.leaf([3, 5], .bfloat16)
    let (b, expectedB) = random.leaf([3, 5], .bfloat16)
    let whole = try TensorExpression.concatenating([a, b]).bytes()
    #expect(whole == DenseTensor.concatenating([expectedA, expectedB]).bytes)
    #expect(whole != DenseTensor.concatenating([expectedB, expectedA]).bytes)
    let wide = try TensorExpression.concatenatingColumns([a, b]).bytes()
    #expect(wide == DenseTensor.concatenatingColumns([expectedA, expectedB]).bytes)
    #expect(wide != DenseTensor.concatenatingColumns([expectedB, expectedA]).bytes)
    #expect(try a.transposed().bytes() == expectedA.transposed().bytes)
    #expect(try a.transposed().bytes() != expectedA.bytes)
  }
}
