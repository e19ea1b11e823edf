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
}
