import CFuse
import Synchronization

/// What one open(2) made (`fuse_file_info.fh`): a file, and how it is read.
final class FileHandle: Sendable {
  let open: OpenFile
  /// Where the last read ended.
  private let end = Atomic(-1)

  init(_ open: OpenFile) { self.open = open }

  /// Takes note of a read. Whether it starts where the one before ended.
  func advance(over window: Range<Int>) -> Bool {
    end.exchange(window.upperBound, ordering: .relaxed) == window.lowerBound
  }

  /// What a reader in order asks for after `window`; `nil` if more than that was asked for already, or there is no more.
  func window(after window: Range<Int>) -> Range<Int>? {
    guard end.load(ordering: .relaxed) == window.upperBound, window.upperBound < open.file.count else {
      return nil
    }
    return window.upperBound..<min(window.upperBound + window.count, open.file.count)
  }
}

/// A request that any thread may answer, once.
struct ReadRequest: @unchecked Sendable {
  // Unchecked: libfuse's, which answers from any thread.
  let pointer: fuse_req_t?
}
