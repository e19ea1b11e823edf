import Bytes

/// The zip file that `torch.save` writes: records stored, each payload 64-byte aligned (PyTorch
/// `caffe2/serialize/inline_container.cc`: `PyTorchStreamWriter`; APPNOTE.TXT for zip and zip64).
package struct TorchArchive: Sendable {
  /// A member of the archive.
  struct Record: Sendable {
    /// With the archive's name in front: `layer_01-model_00-model_states/data/0`.
    let name: String
    let extents: [Extent]
    /// Bytes.
    let count: Int

    init(_ name: String, _ extents: [Extent]) {
      self.name = name
      self.extents = extents
      count = extents.reduce(0) { $0 + $1.count }
    }
  }

  let records: [Record]

  /// - Parameter name: the file's name without `.pt`; readers take it from the first record.
  package init(_ value: PickleValue, name: String) {
    let pickle = PickleWriter.write(value)
    func record(_ path: String, _ text: String) -> Record {
      Record("\(name)/\(path)", [.literal(Array(text.utf8))])
    }
    records =
      [
        Record("\(name)/data.pkl", [.literal(pickle.bytes)]),
        record(".format_version", "1"),
        record(".storage_alignment", "\(TorchArchive.alignment)"),
        record("byteorder", "little"),
      ]
      + pickle.storages.enumerated().map { Record("\(name)/data/\($0.offset)", $0.element) }
      + [
        record("version", "3\n"),
        record(".data/serialization_id", TorchArchive.serializationID(pickle.bytes)),
      ]
  }

  /// The archive as a file.
  ///
  /// A CRC needs every byte of its record, and reading a model to answer `stat` would defeat the purpose: a record with tensor
  /// data gets an extent that says which bytes its CRC is of. PyTorch doesn't look at them.
  package func file() -> VirtualFile {
    var file = ExtentBuilder()
    var directory = ExtentBuilder()
    for record in records {
      let position = file.count
      file.append(TorchArchive.localHeader(record, at: position))
      let payload = file.count..<(file.count + record.count)
      let crc =
        CRC32.withoutReading(record.extents).map { Extent.literal($0.littleEndianBytes) }
        ?? .checksum(of: payload)
      TorchArchive.appendDirectoryEntry(record, at: position, crc: crc, to: &directory)
      file.append(record.extents)
      TorchArchive.appendDataDescriptor(record, at: position, crc: crc, to: &file)
    }
    let end = TorchArchive.end(records: records.count, at: file.count, directory.count)
    file.append(directory.finished)
    file.append(end)
    return VirtualFile(file.finished)
  }

  private static let alignment = 64

  /// Sizes and offsets from here on are in zip64 fields.
  private static let zip64From = 0xFFFF_FFFF

  private static func localHeader(_ record: Record, at position: Int) -> [UInt8] {
    var header = LittleEndianBytes()
    header.append(UInt32(0x0403_4B50))
    header.append(UInt16(0))  // version needed
    header.append(flags)
    for _ in 0..<3 { header.append(UInt16(0)) }  // stored; time, date
    let big = record.count >= zip64From
    header.append(UInt32(0))  // CRC and sizes follow in the data descriptor
    header.append(UInt32(big ? 0xFFFF_FFFF : 0))
    header.append(UInt32(big ? 0xFFFF_FFFF : 0))
    header.append(UInt16(record.name.utf8.count))
    let zip64 = zip64Field(record, at: position)
    // PyTorch's own padding field: "FB", its length, "Z" up to the alignment.
    let unpadded = position + 30 + record.name.utf8.count + zip64.count + 4
    let padding = (alignment - unpadded % alignment) % alignment
    header.append(UInt16(zip64.count + 4 + padding))
    header.append(record.name)
    header.append(contentsOf: zip64)
    header.append("FB")
    header.append(UInt16(padding))
    header.append(contentsOf: [UInt8](repeating: UInt8(ascii: "Z"), count: padding))
    return header.bytes
  }

  /// Bit 3: sizes and CRC follow the data; bit 11: the name is UTF-8.
  private static let flags: UInt16 = 0x0808

  private static func zip64Field(_ record: Record, at position: Int) -> [UInt8] {
    var values = LittleEndianBytes()
    if record.count >= zip64From {
      values.append(UInt64(record.count))
      values.append(UInt64(record.count))
    }
    if position >= zip64From { values.append(UInt64(position)) }
    if values.bytes.isEmpty { return [] }
    var field = LittleEndianBytes()
    field.append(UInt16(1))
    field.append(UInt16(values.bytes.count))
    return field.bytes + values.bytes
  }

  private static func appendDataDescriptor(
    _ record: Record, at position: Int, crc: Extent, to file: inout ExtentBuilder
  ) {
    file.append(UInt32(0x0807_4B50).littleEndianBytes)
    file.append([crc])
    for _ in 0..<2 {
      if record.count >= zip64From || position >= zip64From {
        file.append(UInt64(record.count).littleEndianBytes)
      } else {
        file.append(UInt32(record.count).littleEndianBytes)
      }
    }
  }

  private static func appendDirectoryEntry(
    _ record: Record, at position: Int, crc: Extent, to directory: inout ExtentBuilder
  ) {
    let zip64 = zip64Field(record, at: position)
    var entry = LittleEndianBytes()
    entry.append(UInt32(0x0201_4B50))
    entry.append(UInt16(0))  // version made by
    entry.append(UInt16(0))  // version needed
    entry.append(flags)
    for _ in 0..<3 { entry.append(UInt16(0)) }
    directory.append(entry.bytes)
    directory.append([crc])
    entry = LittleEndianBytes()
    for _ in 0..<2 { entry.append(UInt32(min(record.count, zip64From))) }
    entry.append(UInt16(record.name.utf8.count))
    entry.append(UInt16(zip64.count))
    for _ in 0..<3 { entry.append(UInt16(0)) }  // comment, disk, internal attributes
    entry.append(UInt32(0))
    entry.append(UInt32(min(position, zip64From)))
    entry.append(record.name)
    entry.append(contentsOf: zip64)
    directory.append(entry.bytes)
  }

  /// Both end records: PyTorch opens its writer in zip64 mode whatever the size.
  private static func end(records: Int, at position: Int, _ directoryBytes: Int) -> [UInt8] {
    var end = LittleEndianBytes()
    end.append(UInt32(0x0606_4B50))
    end.append(UInt64(44))
    end.append(UInt16(0x031E))
    end.append(UInt16(45))
    end.append(UInt64(0))
    end.append(UInt64(records))
    end.append(UInt64(records))
    end.append(UInt64(directoryBytes))
    end.append(UInt64(position))
    end.append(UInt32(0x0706_4B50))
    end.append(UInt32(0))
    end.append(UInt64(position + directoryBytes))
    end.append(UInt32(1))
    end.append(UInt32(0x0605_4B50))
    end.append(UInt32(0))
    end.append(UInt16(min(records, 0xFFFF)))
    end.append(UInt16(min(records, 0xFFFF)))
    end.append(UInt32(min(directoryBytes, zip64From)))
    end.append(UInt32(min(position, zip64From)))
    end.append(UInt16(0))
    return end.bytes
  }

  /// 40 digits that tell one archive from another; here from a hash (FNV-1a) of the pickle.
  private static func serializationID(_ pickle: [UInt8]) -> String {
    var (first, second): (UInt64, UInt64) = (0xCBF2_9CE4_8422_2325, 0x8422_2325_CBF2_9CE4)
    for byte in pickle {
      first = (first ^ UInt64(byte)) &* 0x100_0000_01B3
      second = (second ^ UInt64(byte)) &* 0x100_0000_01B3
    }
    return String(first, digits: 20) + String(second, digits: 20)
  }
}

/// Extents one behind the other; literal bytes that touch become one.
private struct ExtentBuilder {
  private var extents: [Extent] = []
  private var literal: [UInt8] = []
  /// Bytes.
  private(set) var count = 0

  var finished: [Extent] {
    var builder = self
    builder.endLiteral()
    return builder.extents
  }

  private mutating func endLiteral() {
    guard !literal.isEmpty else { return }
    extents.append(.literal(literal))
    literal = []
  }

  mutating func append(_ bytes: [UInt8]) {
    literal += bytes
    count += bytes.count
  }

  mutating func append(_ more: [Extent]) {
    for extent in more {
      if case .literal(let bytes) = extent {
        append(bytes)
        continue
      }
      endLiteral()
      extents.append(extent)
      count += extent.count
    }
  }
}
