import Bytes

/// Where the records of a zip file are, as its central directory says (APPNOTE.TXT 4.3, 4.4, 4.5.3). Every number is checked
/// against the size of the file.
package struct ZipDirectory: Sendable {
  /// A stored member.
  package struct Record: Sendable, Equatable {
    /// With the archive's name in front: `layer_01-model_00-model_states/data/0`.
    package let name: String
    /// The payload's place in the file.
    package let bytes: Range<Int>
    /// CRC-32 of the payload; not compared with it.
    package let crc: UInt32
  }

  package let records: [Record]

  /// Longest directory accepted, in bytes.
  private static let maxBytes = 1 << 26

  /// Where a record is, from its entry in the directory.
  private struct Entry {
    let name: String
    let crc: UInt32
    let count: UInt64
    let localHeader: UInt64
  }

  private struct Reader {
    let source: any ByteSource
    let size: Int

    func malformed(_ offset: Int, _ why: String) -> TorchFileError {
      .malformed(path: source.name, offset: offset, why: why)
    }

    /// The range of `count` bytes from `start` on, if the file has them. `place`: where the numbers were found.
    func range(_ start: UInt64, _ count: UInt64, of what: String, place: Int) throws(TorchFileError) -> Range<
      Int
    > {
      guard start <= size, count <= UInt64(size) - start else {
        throw malformed(place, "\(what): \(count) bytes from byte \(start) on, and the file has \(size)")
      }
      return Int(start)..<Int(start + count)
    }

    func cursor(_ range: Range<Int>) throws(TorchFileError) -> FileCursor {
      FileCursor(path: source.name, start: range.lowerBound, bytes: try source.bytesOfFile(range))
    }
  }

  package init(_ source: any ByteSource, size: Int) throws(TorchFileError) {
    let reader = Reader(source: source, size: size)
    let (range, count) = try ZipDirectory.locate(reader)
    guard range.count <= ZipDirectory.maxBytes else {
      throw .unsupported(path: source.name, value: "zip directory", why: "it has \(range.count) bytes")
    }
    var directory = try reader.cursor(range)
    var records: [Record] = []
    var names: Set<String> = []
    for _ in 0..<count {
      let place = range.lowerBound + directory.position
      let entry = try ZipDirectory.entry(&directory)
      guard names.insert(entry.name).inserted else {
        throw reader.malformed(place, "a second record is called \(entry.name)")
      }
      // Name and extra fields have other lengths here than in the directory.
      var header = try reader.cursor(reader.range(entry.localHeader, 30, of: entry.name, place: place))
      guard try header.next(UInt32.self) == 0x0403_4B50 else {
        throw reader.malformed(Int(entry.localHeader), "there is no local header of \(entry.name)")
      }
      _ = try header.take(22)
      let lengths = UInt64(try header.next(UInt16.self)) + UInt64(try header.next(UInt16.self))
      let payload = try reader.range(
        entry.localHeader + 30 + lengths, entry.count, of: entry.name, place: place)
      records.append(Record(name: entry.name, bytes: payload, crc: entry.crc))
    }
    self.records = records
  }

  /// The place of the central directory and the number of its entries, from the end of the file.
  private static func locate(_ reader: Reader) throws(TorchFileError) -> (Range<Int>, entries: UInt64) {
    // The last record has 22 bytes and a comment of up to 65535, whose length is its last field.
    let tailStart = max(0, reader.size - 22 - 0xFFFF)
    let tail = try reader.cursor(tailStart..<reader.size).bytes
    let last = stride(from: tail.count - 22, through: 0, by: -1).first {
      tail[$0] == 0x50 && tail[$0 + 1] == 0x4B && tail[$0 + 2] == 5 && tail[$0 + 3] == 6
        && $0 + 22 + Int(tail[$0 + 20]) + Int(tail[$0 + 21]) << 8 == tail.count
    }
    guard let last else {
      throw reader.malformed(
        reader.size, "the file ends without a zip directory; it is cut off or no zip file")
    }
    let end = tailStart + last
    if end >= 20 {
      var locator = try reader.cursor((end - 20)..<end)
      if try locator.next(UInt32.self) == 0x0706_4B50 {
        _ = try locator.take(4)
        let start = try locator.next(UInt64.self)
        var record = try reader.cursor(reader.range(start, 56, of: "zip64 end record", place: end - 12))
        guard try record.next(UInt32.self) == 0x0606_4B50 else {
          throw reader.malformed(Int(start), "there is no zip64 end record")
        }
        _ = try record.take(28)
        let entries = try record.next(UInt64.self)
        let count = try record.next(UInt64.self)
        return (
          try reader.range(record.next(), count, of: "zip directory", place: Int(start) + 40), entries
        )
      }
    }
    var record = try reader.cursor(end..<(end + 22))
    _ = try record.take(10)
    let entries = UInt64(try record.next(UInt16.self))
    let count = UInt64(try record.next(UInt32.self))
    let start = UInt64(try record.next(UInt32.self))
    return (try reader.range(start, count, of: "zip directory", place: end + 12), entries)
  }

  private static func entry(_ directory: inout FileCursor) throws(TorchFileError) -> Entry {
    guard try directory.next(UInt32.self) == 0x0201_4B50 else {
      throw directory.malformed("the entry of a record should have been before it in the zip directory")
    }
    _ = try directory.take(4)  // versions
    let flags = try directory.next(UInt16.self)
    let method = try directory.next(UInt16.self)
    _ = try directory.take(4)  // time, date
    let crc = try directory.next(UInt32.self)
    var stored = UInt64(try directory.next(UInt32.self))
    var count = UInt64(try directory.next(UInt32.self))
    let nameCount = Int(try directory.next(UInt16.self))
    let extraCount = Int(try directory.next(UInt16.self))
    let commentCount = Int(try directory.next(UInt16.self))
    _ = try directory.take(8)  // disk, attributes
    var localHeader = UInt64(try directory.next(UInt32.self))
    let name = try directory.text(nameCount)
    let extraEnd = directory.position + extraCount
    while directory.position + 4 <= extraEnd {
      let id = try directory.next(UInt16.self)
      let field = try directory.take(Int(try directory.next(UInt16.self)))
      if id != 1 { continue }
      // zip64: the numbers that don't fit above, in this order.
      var values = FileCursor(
        path: directory.path, start: directory.start + field.startIndex, bytes: Array(field))
      if count == 0xFFFF_FFFF { count = try values.next() }
      if stored == 0xFFFF_FFFF { stored = try values.next() }
      if localHeader == 0xFFFF_FFFF { localHeader = try values.next() }
    }
    guard directory.position <= extraEnd else {
      throw directory.malformed("the extra fields of \(name) are longer than \(extraCount) bytes")
    }
    _ = try directory.take(extraEnd - directory.position + commentCount)
    guard method == 0, flags & 1 == 0, stored == count else {
      throw .unsupported(path: directory.path, value: name, why: "the record is compressed or encrypted")
    }
    return Entry(name: name, crc: crc, count: count, localHeader: localHeader)
  }
}
