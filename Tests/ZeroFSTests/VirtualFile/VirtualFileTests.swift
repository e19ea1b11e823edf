import Testing

@testable import Bytes
@testable import Mount

@Suite struct VirtualFileTests {
  private static let source = MemorySource((0..<60_000).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) })

  /// One of everything: literals, short and long zeros, verbatim, strided, widened and rounded runs.
  private static func composed(isMapped: Bool = true) -> VirtualFile {
    let source = isMapped ? source : MemorySource(source.bytes, isMapped: false)
    let matrix = source.tensor([100, 150], .bfloat16)
    return VirtualFile(
      [.literal([1, 2, 3]), .zeros(count: 5)] + matrix.extents + [.literal([4])]
        + matrix.columns(10..<37).cast(to: .float32).extents + [.zeros(count: 9000)]
        + source.tensor([15_000], .float32).cast(to: .bfloat16).cast(to: .float32).extents
        + matrix.columns(3..<4).extents + matrix.flattened().rows(1..<14_999).extents)
  }

  /// Any window is the same window of the whole, for the kernel and for user space, mapped or not.
  @Test(arguments: [UInt64(11), 12, 13])
  func windows(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let file = VirtualFileTests.composed()
    let unmapped = VirtualFileTests.composed(isMapped: false)
    let whole = try file.bytes()
    #expect(whole.count == file.count)
    for _ in 0..<300 {
      let start = Int.random(in: 0...file.count, using: &generator)
      let end = Int.random(in: start...min(file.count, start + 20_000), using: &generator)
      let expected = Array(whole[start..<end])
      #expect(try file.bytes(start..<end, verbatim: .mapped) == expected, "seed \(seed), \(start)..<\(end)")
      #expect(try file.bytes(start..<end, verbatim: .copied) == expected, "seed \(seed), \(start)..<\(end)")
      #expect(
        try unmapped.bytes(start..<end, verbatim: .mapped) == expected, "seed \(seed), \(start)..<\(end)")
    }
  }

  @Test func windowsBehindTheEndAreCut() throws {
    let file = VirtualFile("abc")
    #expect(try file.bytes(1..<9) == Array("bc".utf8))
    #expect(try file.bytes(3..<9) == [])
  }

  @Test func emptyFile() throws {
    let file = VirtualFile([])
    #expect(file.count == 0)
    #expect(try file.bytes(0..<10) == [])
    #expect(file.seek(0, toHole: true) == nil)
  }

  @Test func holes() {
    let file = VirtualFile([
      .literal([1]), .zeros(count: 10_000), .literal([2, 3]), .zeros(count: 100), .literal([4]),
    ])
    #expect(file.seek(0, toHole: false) == 0)
    #expect(file.seek(0, toHole: true) == 1)
    #expect(file.seek(500, toHole: true) == 500)
    #expect(file.seek(500, toHole: false) == 10_001)
    #expect(file.seek(10_002, toHole: true) == file.count)
    #expect(file.seek(file.count, toHole: false) == nil)
    #expect(file.dataBytes == 104)
  }

  @Test func failuresOfASourceReachTheReader() throws {
    let source = MemorySource([UInt8](repeating: 7, count: 100))
    let file = VirtualFile(source.tensor([50], .bfloat16).cast(to: .float32).extents + [.literal([1])])
    #expect(try file.bytes().count == 201)
    let changed = ReadError.sourceChanged(path: "memory", what: "was changed")
    source.fail(changed)
    #expect(throws: changed) { try file.bytes(0..<10) }
    #expect(try file.bytes(200..<201) == [1])
    let short = VirtualFile(MemorySource([1, 2]).tensor([4], .uint8).extents)
    #expect(throws: ReadError.endOfFile(path: "memory", offset: 0)) { try short.bytes() }
  }

  /// However a source is reached, a window notices that it changed.
  @Test func failuresThroughExpressions() throws {
    let (a, b) = (
      MemorySource([UInt8](repeating: 7, count: 4800)), MemorySource([UInt8](repeating: 8, count: 4800))
    )
    let (left, right) = (a.tensor([4, 600], .bfloat16), b.tensor([4, 600], .bfloat16))
    let both = TensorExpression.concatenatingColumns([left, right])
    let expressions = [
      left.transposed(), left.transposed().cast(to: .float32), both, both.cast(to: .float32),
      .concatenatingColumns([right.columns(0..<5), left.columns(0..<5), right.columns(0..<5)]),
      // Columns that lie across the children, by way of the bytes of an inner expression.
      both.reshaped([3, 1600]).columns(100..<1500),
      both.reshaped([3, 1600]).columns(100..<1500).transposed(),
      left.cast(to: .float16).cast(to: .bfloat16),
    ]
    let changed = ReadError.sourceChanged(path: "memory", what: "was changed")
    for (index, expression) in expressions.enumerated() {
      let file = VirtualFile(expression.extents)
      a.fail(nil)
      #expect(try file.bytes(0..<file.count).count == file.count)
      a.fail(changed)
      #expect(throws: changed, "\(index)") { try file.bytes(0..<file.count) }
    }
  }

  /// Zeros beside weights aren't weights, row by row.
  @Test func tensorRanges() {
    let matrix = VirtualFileTests.source.tensor([3, 10], .bfloat16)
    let file = VirtualFile(
      [.literal([1, 2, 3])]
        + TensorExpression.concatenatingColumns([matrix, .zeros([3, 5], .bfloat16)]).extents + [
          .zeros(count: 4)
        ]
        + TensorExpression.concatenatingColumns([matrix.columns(5..<9), matrix.columns(0..<1)]).extents)
    #expect(file.tensorRanges(in: 0..<file.count) == [3..<23, 33..<53, 63..<83, 97..<127])
    #expect(file.tensorRanges(in: 10..<40) == [10..<23, 33..<40])
    #expect(file.tensorRanges(in: 24..<33) == [])
    #expect(file.dataBytes == file.count)
  }
}
