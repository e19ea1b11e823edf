import Bytes

/// Where the frames of a seekable zstd file are (zstd `contrib/seekable_format/zstd_seekable_compression_format.md`): a table in
/// a skippable frame at the end, which decompressors without a sense for it pass over.
struct SeekTable: Sendable {
  /// Offsets in the file, one more than there are frames.
  private(set) var compressed: [Int] = [0]
  /// Offsets in what the frames hold, likewise.
  private(set) var decompressed: [Int] = [0]

  var count: Int { compressed.count - 1 }
  /// Bytes that all frames hold.
  var size: Int { decompressed[count] }

  private static let skippableMagic: UInt32 = 0x184D_2A5E
  private static let seekableMagic: UInt32 = 0x8F92_EAB1
  private static let footerCount = 9
  private static let headerCount = 8

  mutating func append(compressed: Int, decompressed: Int) {
    self.compressed.append(self.compressed[count] + compressed)
    self.decompressed.append(self.decompressed[self.decompressed.count - 1] + decompressed)
  }

  /// The frame that holds byte `offset`.
  func frame(at offset: Int) -> Int { decompressed.dropFirst().partitionIndex { $0 > offset } - 1 }

  /// What frame `frame` takes in the file, and what it holds of the whole, both in bytes.
  func places(_ frame: Int) -> (compressed: Range<Int>, decompressed: Range<Int>) {
    (compressed[frame]..<compressed[frame + 1], decompressed[frame]..<decompressed[frame + 1])
  }

  /// The skippable frame. Frames have checksums of their own, so the table has none.
  var bytes: [UInt8] {
    var table = LittleEndianBytes()
    table.append(Self.skippableMagic)
    table.append(UInt32(count * 8 + Self.footerCount))
    for frame in 0..<count {
      table.append(UInt32(compressed[frame + 1] - compressed[frame]))
      table.append(UInt32(decompressed[frame + 1] - decompressed[frame]))
    }
    table.append(UInt32(count))
    table.append(UInt8(0))
    table.append(Self.seekableMagic)
    return table.bytes
  }

  init() {}

  /// Reads the table of a file.
  ///
  /// - Throws: `ArchiveError.malformed`, `ReadError`.
  init(of file: SourceFile) throws {
    func malformed(_ why: String) -> ArchiveError { .malformed(path: file.path, why: why) }
    guard file.size >= Self.headerCount + Self.footerCount else {
      throw malformed("it has \(file.size) bytes")
    }
    let footer = try file.bytes((file.size - Self.footerCount)..<file.size)
    guard footer.uint32(at: 5) == Self.seekableMagic else {
      throw malformed("no seek table of a seekable zstd file at its end")
    }
    guard footer[4] & 0x7F == 0 else { throw malformed("its seek table is of a later version") }
    let entryCount = footer[4] & 0x80 == 0 ? 8 : 12
    let tableCount = Int(footer.uint32(at: 0)) * entryCount + Self.footerCount
    let start = file.size - tableCount - Self.headerCount
    guard start >= 0 else { throw malformed("its seek table is longer than the file") }
    let table = try file.bytes(start..<file.size)
    guard table.uint32(at: 0) == Self.skippableMagic, Int(table.uint32(at: 4)) == tableCount else {
      throw malformed("its seek table isn't in a frame of its own")
    }
    let frames = Int(footer.uint32(at: 0))
    compressed.reserveCapacity(frames + 1)
    decompressed.reserveCapacity(frames + 1)
    for frame in 0..<frames {
      let entry = Self.headerCount + frame * entryCount
      append(compressed: Int(table.uint32(at: entry)), decompressed: Int(table.uint32(at: entry + 4)))
    }
    guard compressed[count] == start else {
      throw malformed(
        "its frames take \(compressed[count]) bytes by the seek table, and \(start) in the file")
    }
  }
}

extension [UInt8] {
  fileprivate func uint32(at offset: Int) -> UInt32 {
    withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
  }
}
