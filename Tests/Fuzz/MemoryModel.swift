import Bytes
import Glibc
import HuggingFace

/// A file in memory. Behind its bytes are zeros up to `size`, which nobody stores.
final class MemoryFile: StoredFile {
  let path: String
  let size: Int
  private let bytes: [UInt8]

  init(_ path: String, _ bytes: [UInt8], size: Int? = nil) {
    (self.path, self.bytes, self.size) = (path, bytes, max(size ?? 0, bytes.count))
  }

  var modified: timespec { timespec() }
  var mapping: UnsafeRawBufferPointer? { nil }
  func verify() {}

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    guard offset >= 0, offset <= size - buffer.count else { throw .endOfFile(path: path, offset: offset) }
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
    guard offset < bytes.count else { return }
    bytes[offset..<min(offset + buffer.count, bytes.count)].withUnsafeBytes {
      buffer.copyMemory(from: $0)
    }
  }
}

/// A model directory in memory.
struct MemoryModel: ModelFiles {
  let path = "model"
  let files: [String: MemoryFile]

  init(_ contents: [String: [UInt8]]) {
    var files: [String: MemoryFile] = [:]
    for (name, bytes) in contents { files[name] = MemoryFile("model/\(name)", bytes) }
    self.files = files
  }

  /// With one safetensors file, whose data are zeros.
  init(configuration: [UInt8], header: [UInt8]) {
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
    let start = length.count + header.count
    let (size, overflow) = start.addingReportingOverflow(MemoryModel.dataBytes(header))
    files = [
      "config.json": MemoryFile("model/config.json", configuration),
      "model.safetensors": MemoryFile(
        "model/model.safetensors", length + header, size: overflow ? start : size),
    ]
  }

  /// The largest number that ends a list of two: where the last tensor ends, in most headers.
  private static func dataBytes(_ header: [UInt8]) -> Int {
    var (largest, number, afterComma) = (0, 0, false)
    for byte in header {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"):
        let (product, isOver) = number.multipliedReportingOverflow(by: 10)
        number = isOver ? 0 : product &+ Int(byte - UInt8(ascii: "0"))
      case UInt8(ascii: ","): (number, afterComma) = (0, true)
      case UInt8(ascii: "]"):
        if afterComma { largest = max(largest, number) }
        (number, afterComma) = (0, false)
      case UInt8(ascii: " "): break
      default: (number, afterComma) = (0, false)
      }
    }
    return largest
  }

  func names() -> [String] { files.keys.sorted() }
  func holds(_ name: String) -> Bool { files[name] != nil }
  func open(_ name: String) throws(ReadError) -> any StoredFile {
    guard let file = files[name] else { throw .io(path: "\(path)/\(name)", offset: 0, errno: ENOENT) }
    return file
  }
}
