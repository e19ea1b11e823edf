import Bytes

/// A file that `torch.save` wrote, read back: the inverse of `TorchArchive`. Its tensors are lazy expressions over the file.
package struct TorchFile: Sendable {
  package let value: PickleValue
  /// The members of the zip file, in the order of its directory.
  package let records: [ZipDirectory.Record]

  /// Longest pickle accepted, in bytes.
  private static let maxPickle = 1 << 25

  /// - Parameter size: of the file, in bytes.
  package init(_ source: any ByteSource, size: Int) throws(TorchFileError) {
    let path = source.name
    let directory = try ZipDirectory(source, size: size)
    records = directory.records
    // PyTorch `caffe2/serialize/inline_container.cc`: `PyTorchStreamReader::init` takes the name from the first record.
    let name = records.first?.name.prefix { $0 != "/" } ?? ""
    var byName: [String: ZipDirectory.Record] = [:]
    for record in records { byName[record.name] = record }
    if let order = byName["\(name)/byteorder"] {
      guard try source.bytesOfFile(order.bytes.prefix(6)).elementsEqual("little".utf8) else {
        throw .unsupported(path: path, value: order.name, why: "the numbers are not little-endian")
      }
    }
    guard let pickle = byName["\(name)/data.pkl"] else {
      throw .malformed(path: path, offset: 0, why: "the zip file has no record \(name)/data.pkl")
    }
    guard pickle.bytes.count <= TorchFile.maxPickle else {
      throw .unsupported(path: path, value: pickle.name, why: "the pickle has \(pickle.bytes.count) bytes")
    }
    var reader = PickleReader(
      FileCursor(path: path, start: pickle.bytes.lowerBound, bytes: try source.bytesOfFile(pickle.bytes)),
      source: source, storages: { byName["\(name)/data/\($0)"]?.bytes })
    value = try reader.read()
    do { try source.verify() } catch { throw .unreadable(error) }
  }

  package init(_ file: SourceFile) throws(TorchFileError) { try self.init(file, size: file.size) }
}

/// Why a file can't be read as one that `torch.save` wrote.
package enum TorchFileError: Failure, Equatable {
  case unreadable(ReadError)
  /// The zip file or its pickle breaks the format's rules at `offset`, in bytes of the file.
  case malformed(path: String, offset: Int, why: String)
  /// A record or a Python object (`module.weight`) is of a kind that checkpoints don't hold.
  case unsupported(path: String, value: String, why: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .unreadable, .malformed, .unsupported: .source
    }
  }

  package var description: String {
    switch self {
    case .unreadable(let error): "\(error)"
    case .malformed(let path, let offset, let why):
      "\(path): not a checkpoint file of torch.save: at byte \(offset), \(why). Copy or save the file again."
    case .unsupported(let path, let value, let why):
      "\(path): \(value.isEmpty ? "the object" : value): \(why). zerofs reads what DeepSpeed saves with torch.save: "
        + "an uncompressed zip file, a pickle of protocol 2, contiguous tensors."
    }
  }
}

/// Reads a piece of a file from front to back; the errors know where.
struct FileCursor {
  let path: String
  /// Where the piece starts in the file, in bytes.
  let start: Int
  let bytes: [UInt8]
  private(set) var position = 0

  init(path: String, start: Int, bytes: [UInt8]) {
    (self.path, self.start, self.bytes) = (path, start, bytes)
  }

  mutating func take(_ count: Int) throws(TorchFileError) -> ArraySlice<UInt8> {
    guard count <= bytes.count - position else {
      throw malformed("\(count) bytes should follow, and there are \(bytes.count - position)")
    }
    defer { position += count }
    return bytes[position..<(position + count)]
  }

  /// A little-endian number.
  mutating func next<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(TorchFileError) -> T {
    try take(MemoryLayout<T>.size).reversed().reduce(0) { $0 << 8 | T(truncatingIfNeeded: $1) }
  }

  mutating func text(_ count: Int) throws(TorchFileError) -> String {
    guard let text = String(validating: try take(count), as: UTF8.self) else {
      throw malformed("a text of \(count) bytes before it is not UTF-8")
    }
    return text
  }

  mutating func line() throws(TorchFileError) -> String {
    guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else {
      throw malformed("a line doesn't end")
    }
    defer { position += 1 }
    return try text(end - position)
  }

  func malformed(_ why: String) -> TorchFileError {
    .malformed(path: path, offset: start + position, why: why)
  }
}

extension ByteSource {
  func bytesOfFile(_ range: Range<Int>) throws(TorchFileError) -> [UInt8] {
    do { return try bytes(range) } catch { throw .unreadable(error) }
  }
}
