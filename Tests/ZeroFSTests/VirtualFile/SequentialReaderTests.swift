import Testing

@testable import Bytes
@testable import Mount
@testable import Torch

@Suite struct SequentialReaderTests {
  private static let source = MemorySource(
    (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) })

  /// Records of random extents, each with one or two checksums behind it, and bytes between them.
  private static func composed(_ generator: inout SeededGenerator) -> VirtualFile {
    var extents: [Extent] = []
    var count = 0
    func append(_ more: [Extent]) {
      extents += more.filter { $0.count > 0 }
      count += more.reduce(0) { $0 + $1.count }
    }
    func random(_ generator: inout SeededGenerator) -> [Extent] {
      switch Int.random(in: 0..<6, using: &generator) {
      case 0:
        [.literal((0..<Int.random(in: 0..<300, using: &generator)).map { UInt8(truncatingIfNeeded: $0) })]
      case 1: [.zeros(count: Int.random(in: 0..<4096, using: &generator))]
      case 2: [.zeros(count: Int.random(in: 4096..<20_000, using: &generator))]
      case 3:
        source.tensor([Int.random(in: 0..<200_000, using: &generator)], .bfloat16).cast(to: .float32).extents
      case 4:
        source.tensor([900, 500], .bfloat16).columns(7..<Int.random(in: 8..<90, using: &generator)).extents
      default: source.tensor([Int.random(in: 0...900_000, using: &generator)], .uint8).extents
      }
    }
    for _ in 0..<Int.random(in: 0..<5, using: &generator) {
      append(random(&generator))
      let start = count
      for _ in 0..<Int.random(in: 0..<5, using: &generator) { append(random(&generator)) }
      let end = count
      if Bool.random(using: &generator) { append(random(&generator)) }
      for _ in 0..<Int.random(in: 0...2, using: &generator) { append([.checksum(of: start..<end)]) }
    }
    return VirtualFile(extents)
  }

  /// The bytes of windows, with zlib's checksum of the range in the place of each checksum; holes where `seek` has them.
  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func bytesAndChecksums(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let file = SequentialReaderTests.composed(&generator)
    var expected = try file.bytes()
    var start = 0
    for extent in file.extents {
      if case .checksum(let range) = extent {
        #expect(expected[start..<(start + 4)] == [0, 0, 0, 0])
        expected.replaceSubrange(start..<(start + 4), with: zlibChecksum(expected[range]).littleEndianBytes)
      }
      start += extent.count
    }
    let (bytes, checksum, holes) = try sequential(file)
    #expect(bytes == expected, "seed \(seed)")
    #expect(checksum.value == zlibChecksum(expected), "seed \(seed)")
    #expect(holes.reduce(0) { $0 + $1.count } == file.count - file.dataBytes)
    for hole in holes {
      #expect(file.seek(hole.lowerBound, toHole: true) == hole.lowerBound)
      #expect(file.seek(hole.upperBound, toHole: false) ?? file.count >= hole.upperBound)
    }
  }

  /// Every record of an archive has the checksum that its zip directory says.
  @Test func archives() throws {
    let source = SequentialReaderTests.source
    let archive = TorchArchive(
      .dict([
        "a": .tensor(source.tensor([400, 500], .bfloat16).cast(to: .float32), requiresGrad: true),
        "b": .tensor(.zeros([70_000], .float32), requiresGrad: false),
        "c": .tensor(
          .concatenating([source.tensor([3], .uint8), .zeros([9000], .uint8)]), requiresGrad: false),
        "d": .tensor(.zeros([0], .float32), requiresGrad: false),
        "e": .literalTensor([1, 2], .bfloat16, shape: [1]),
      ]), name: "x")
    let bytes = try sequential(archive.file()).bytes
    let file = try TorchFile(MemorySource(bytes), size: bytes.count)
    #expect(file.records.count == 11)
    for record in file.records { #expect(record.crc == zlibChecksum(bytes[record.bytes]), "\(record.name)") }
    let served = try archive.file().bytes()
    #expect(zip(bytes, served).count { $0 != $1 } <= 2 * 2 * 4, "two records of tensors, two fields each")
  }

  @Test func failuresOfASource() throws {
    let source = MemorySource([UInt8](repeating: 7, count: 1000))
    let file = VirtualFile([.literal([1])] + source.tensor([1000], .uint8).extents)
    let changed = ReadError.sourceChanged(path: "memory", what: "was changed")
    source.fail(changed)
    #expect(throws: changed) { try sequential(file) }
  }

  @Test(arguments: [0, 1, 2, 3, 4095, 4096, 65_537, 1 << 20])
  func runsOfZeros(count: Int) {
    var checksum = CRC32()
    withUnsafeBytes(of: UInt32(17)) { checksum.append($0) }
    checksum.append(zeros: count)
    #expect(checksum.value == zlibChecksum([17, 0, 0, 0] + [UInt8](repeating: 0, count: count)))
  }

  @Test func hexadecimal() {
    #expect(CRC32().hexadecimal == "00000000")
    var checksum = CRC32()
    Array("123456789".utf8).withUnsafeBytes { checksum.append($0) }
    #expect(checksum.hexadecimal == "cbf43926")
  }
}
