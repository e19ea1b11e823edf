import CZlib
import Foundation
import Synchronization

@testable import Bytes
@testable import Mount

/// Bytes in memory, which can be told to fail.
final class MemorySource: ByteSource {
  let name: String
  let bytes: [UInt8]
  let isMapped: Bool
  private let failure = Mutex<ReadError?>(nil)
  private nonisolated(unsafe) let copy: UnsafeMutableRawBufferPointer

  init(_ bytes: [UInt8], name: String = "memory", isMapped: Bool = true) {
    self.bytes = bytes
    self.name = name
    self.isMapped = isMapped
    copy = .allocate(byteCount: bytes.count, alignment: 64)
    copy.copyBytes(from: bytes)
  }

  deinit { copy.deallocate() }

  var mapping: UnsafeRawBufferPointer? { isMapped ? UnsafeRawBufferPointer(copy) : nil }

  func fail(_ error: ReadError?) { failure.withLock { $0 = error } }

  func verify() throws(ReadError) {
    if let error = failure.withLock({ $0 }) { throw error }
  }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    guard offset >= 0, offset + buffer.count <= bytes.count else {
      throw .endOfFile(path: name, offset: offset)
    }
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: copy[offset..<(offset + buffer.count)]))
  }

  /// The tensor at byte 0.
  func tensor(_ shape: [Int], _ dtype: DType) -> TensorExpression {
    TensorExpression(source: self, offset: 0, shape: shape, dtype: dtype)
  }
}

/// All of a file as `materialize` writes it, with its checksum and where its holes are.
func sequential(_ file: VirtualFile) throws(ReadError) -> (
  bytes: [UInt8], checksum: CRC32, holes: [Range<Int>]
) {
  var (bytes, holes): ([UInt8], [Range<Int>]) = ([], [])
  var reader = SequentialReader(file)
  while case let start = reader.position, let part = try reader.next() {
    switch part {
    case .bytes(let part): bytes += part
    case .zeros(let count):
      bytes += repeatElement(0, count: count)
      holes.append(start..<bytes.count)
    }
  }
  return (bytes, reader.checksum, holes)
}

/// zlib's own CRC-32.
func zlibChecksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
  UInt32(Array(bytes).withUnsafeBufferPointer { crc32_z(0, $0.baseAddress, $0.count) })
}

extension TensorExpression {
  func bytes() throws(ReadError) -> [UInt8] { try VirtualFile(extents).bytes() }
}

/// SplitMix64: a test prints its seed and can be run again with it.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// A directory that is removed with the value's last use.
final class TemporaryDirectory {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "zerofs-test-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  @discardableResult
  func write(_ name: String, _ contents: some Sequence<UInt8>) throws -> String {
    let file = path + "/" + name
    // Not `Data.write`, which waits for the disk: some tests write thousands of files.
    guard let stream = fopen(file, "w") else { throw CocoaError(.fileWriteUnknown) }
    defer { fclose(stream) }
    let bytes = Array(contents)
    guard fwrite(bytes, 1, bytes.count, stream) == bytes.count else { throw CocoaError(.fileWriteUnknown) }
    return file
  }
}

/// A safetensors file: header and data.
func safetensors(header: String, data: [UInt8] = []) -> [UInt8] {
  withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8) + data
}
