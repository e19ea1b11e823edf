import Glibc

/// `pwrite` of all `bytes` to `descriptor` from `offset` on; `write` without an offset.
///
/// - Returns: the errno of what went wrong; `nil` if nothing did.
package func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int? = nil) -> Int32?
{
  var done = 0
  while done < bytes.count {
    let start = bytes.baseAddress.map { $0 + done }
    let count =
      if let offset { pwrite(descriptor, start, bytes.count - done, offset + done) } else {
        write(descriptor, start, bytes.count - done)
      }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return count < 0 ? errno : ENOSPC }
    done += count
  }
  return nil
}
