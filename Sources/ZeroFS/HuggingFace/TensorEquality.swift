import Bytes
import Glibc

/// Which tensors were found to be the same, so that nobody reads them twice.
final class TensorEquality: Sendable {
  private let known = LockedValue<[String: Bool]>([:])

  subscript(names: String) -> Bool? {
    get { known.withLock { $0[names] } }
    set { known.withLock { $0[names] = newValue } }
  }
}

extension HuggingFaceDirectory {
  private static let chunk = 1 << 20

  /// Whether two tensors are the same: shapes, dtypes and bytes. Reads both once, up to the first difference.
  ///
  /// - Throws: `SourceError.unreadable`.
  package func isSame(_ first: String, _ second: String) throws(SourceError) -> Bool {
    guard let a = table.tensors[first], let b = table.tensors[second], a.tensor.shape == b.tensor.shape,
      a.tensor.dtype == b.tensor.dtype
    else { return false }
    let names = first + "\n" + second
    if let answer = equality[names] { return answer }
    let bytes = try tensor(first).bytes
    let pieces = (0..<2).map { _ in
      UnsafeMutableRawPointer.allocate(byteCount: HuggingFaceDirectory.chunk, alignment: 4096)
    }
    defer { for piece in pieces { piece.deallocate() } }
    var answer = true
    for start in stride(from: 0, to: bytes, by: HuggingFaceDirectory.chunk) where answer {
      let count = min(HuggingFaceDirectory.chunk, bytes - start)
      for (piece, located) in zip(pieces, [a, b]) {
        do {
          try located.file.read(
            at: located.tensor.offset + start, into: UnsafeMutableRawBufferPointer(start: piece, count: count)
          )
        } catch { throw .unreadable(error) }
      }
      answer = memcmp(pieces[0], pieces[1], count) == 0
    }
    equality[names] = answer
    return answer
  }
}
