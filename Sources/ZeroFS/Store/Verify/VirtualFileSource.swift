import Bytes
import Torch

/// A virtual file as bytes to read from.
final class VirtualFileSource: ByteSource {
  private let file: VirtualFile
  let name: String

  init(_ file: VirtualFile, name: String) { (self.file, self.name) = (file, name) }

  var mapping: UnsafeRawBufferPointer? { nil }
  func verify() throws(ReadError) {}

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    guard offset >= 0, offset <= file.count - buffer.count else {
      throw .endOfFile(path: name, offset: offset + buffer.count)
    }
    buffer.copyBytes(from: try file.bytes(offset..<(offset + buffer.count)))
  }

  /// The bytes of a tensor, counted from its first, that are weights: not literal numbers, nor zeros.
  func modelRanges(of tensor: PickleTensor) -> [Range<Int>] {
    guard case .tensor(let run)? = tensor.extents.first else { return [] }
    let place = run.offset..<(run.offset + tensor.extents[0].count)
    return file.tensorRanges(in: place).map {
      ($0.lowerBound - place.lowerBound)..<($0.upperBound - place.lowerBound)
    }
  }
}
