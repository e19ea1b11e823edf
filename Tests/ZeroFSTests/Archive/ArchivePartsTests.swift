import Testing

@testable import Bytes
@testable import Store

@Suite struct BytePlanesTests {
  @Test func planes() {
    #expect(BytePlanes.split([1, 2, 3, 4, 5, 6], width: 2) == [1, 3, 5, 2, 4, 6])
    #expect(BytePlanes.split([1, 2, 3, 4, 5, 6], width: 3) == [1, 4, 2, 5, 3, 6])
    #expect(BytePlanes.join([1, 3, 5, 2, 4, 6], width: 2) == [1, 2, 3, 4, 5, 6])
  }

  @Test(arguments: 1...8)
  func roundTrip(width: Int) {
    var generator = SeededGenerator(seed: UInt64(width))
    for count in [0, 1, 2, 3, 1000] {
      let elements = (0..<(count * width)).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let planes = BytePlanes.split(elements, width: width)
      for byte in 0..<width {
        #expect(
          planes[(byte * count)..<((byte + 1) * count)].elementsEqual(
            (0..<count).map { elements[$0 * width + byte] }))
      }
      #expect(BytePlanes.join(planes, width: width) == elements)
    }
  }
}

@Suite struct SeekTableTests {
  private func read(_ bytes: [UInt8]) throws -> SeekTable {
    let directory = try TemporaryDirectory()
    return try SeekTable(of: SourceFile(path: try directory.write("x.zarc", bytes)))
  }

  private static func table(_ frames: [(Int, Int)]) -> SeekTable {
    frames.reduce(into: SeekTable()) { $0.append(compressed: $1.0, decompressed: $1.1) }
  }

  @Test(arguments: [UInt64(1), 2, 3])
  func roundTrip(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let frames = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
      (Int.random(in: 1..<300, using: &generator), Int.random(in: 1..<100_000, using: &generator))
    }
    let table = SeekTableTests.table(frames)
    let body = [UInt8](repeating: 1, count: frames.reduce(0) { $0 + $1.0 })
    let read = try read(body + table.bytes)
    #expect(read.compressed == table.compressed && read.decompressed == table.decompressed)
    #expect(read.count == frames.count && read.size == frames.reduce(0) { $0 + $1.1 })
    for frame in 0..<read.count {
      #expect(read.frame(at: read.decompressed[frame]) == frame)
      #expect(read.frame(at: read.decompressed[frame + 1] - 1) == frame)
    }
  }

  /// As other writers make it, with a checksum behind each frame's sizes.
  @Test func withChecksums() throws {
    var bytes = LittleEndianBytes()
    bytes.append(UInt32(0x184D_2A5E))
    bytes.append(UInt32(2 * 12 + 9))
    for (compressed, decompressed) in [(3, 10), (4, 20)] {
      for number in [compressed, decompressed, 77] { bytes.append(UInt32(number)) }
    }
    bytes.append(UInt32(2))
    bytes.append(UInt8(0x80))
    bytes.append(UInt32(0x8F92_EAB1))
    let table = try read([UInt8](repeating: 1, count: 7) + bytes.bytes)
    #expect(table.compressed == [0, 3, 7] && table.decompressed == [0, 10, 30])
  }

  @Test(
    arguments: [
      ("it has 16 bytes", 0, 0, 16), ("no seek table", -1, 0x7F, nil), ("no seek table", -4, 0, nil),
      ("longer than the file", -8, 1, nil), ("isn't in a frame of its own", -33, 0x5F, nil),
      ("isn't in a frame of its own", -29, 26, nil), ("take 8 bytes by the seek table, and 7", -25, 4, nil),
      ("isn't in a frame of its own", -9, 1, nil), ("take 5 bytes", -17, 2, nil),
    ] as [(String, Int, UInt8, Int?)])
  func malformed(why: String, offset: Int, byte: UInt8, keep: Int?) throws {
    let table = SeekTableTests.table([(3, 10), (4, 20)])
    var bytes = [UInt8](repeating: 1, count: 7) + table.bytes
    #expect(bytes.count == 40)
    if let keep { bytes.removeSubrange(keep...) } else { bytes[bytes.count + offset] = byte }
    let error = try #require(throws: ArchiveError.self) { try read(bytes) }
    #expect("\(error)".contains(why), "\(error)")
  }
}

/// That tar reads them is shown in Tests/conformance.
@Suite struct TarHeaderTests {
  private func header(_ name: String = "hf/model.safetensors", size: Int = 0) throws -> [UInt8] {
    try TarHeader(name: name, size: size, modified: 1_700_000_000).bytes
  }

  private func text(_ header: [UInt8], _ range: Range<Int>) -> String {
    String(decoding: header[range].prefix { $0 != 0 }, as: UTF8.self)
  }

  @Test func fields() throws {
    let header = try header(size: 1000)
    #expect(header.count == 512)
    #expect(text(header, 0..<100) == "model.safetensors" && text(header, 345..<500) == "hf")
    #expect(text(header, 100..<108) == "0000644" && text(header, 124..<136) == "00000001750")
    #expect(text(header, 136..<148) == "14524770400" && header[156] == UInt8(ascii: "0"))
    #expect(text(header, 257..<263) == "ustar" && header[263..<265].elementsEqual("00".utf8))
    let blank = header[..<148] + [UInt8](repeating: 32, count: 8) + header[156...]
    #expect(Int(text(header, 148..<154), radix: 8) == blank.reduce(0) { $0 + Int($1) })
  }

  @Test func sizes() throws {
    #expect(text(try header(size: (1 << 33) - 1), 124..<136) == "77777777777")
    #expect(try header(size: 1 << 33)[124..<136] == [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0])
    #expect(try header(size: .max)[124..<136] == [0x80, 0, 0, 0, 0x7F, 255, 255, 255, 255, 255, 255, 255])
    #expect([0, 1, 511, 512, 513].map(TarHeader.padding) == [0, 511, 1, 0, 511])
  }

  @Test func names() throws {
    let long = String(repeating: "a", count: 100)
    #expect(text(try header(long), 0..<100) == long)
    #expect(text(try header("\(long)/\(long)"), 345..<500) == long)
    for name in [long + "a", "\(long)\(long)/a"] {
      #expect(throws: ArchiveError.name(name)) { try header(name) }
    }
  }

  @Test(arguments: [0, 1000, (1 << 33) - 1, 1 << 33, .max])
  func roundTrip(size: Int) throws {
    let header = TarHeader(name: "hf/sub/model.safetensors", size: size, mode: 0o755, modified: 1_700_000_000)
    var bytes = try header.bytes
    #expect(TarHeader(bytes) == header && TarHeader(bytes.dropLast()) == nil)
    for offset in [0, 100, 124, 130, 148, 257, 345] {
      bytes[offset] ^= 1
      #expect(TarHeader(bytes) == nil, "\(offset)")
      bytes[offset] ^= 1
    }
  }
}
