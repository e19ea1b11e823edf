import Bytes
import CFuse
import Glibc
import Synchronization

/// What one open(2) made (`fuse_file_info.fh`): a file, and how it is read.
final class FileHandle: Sendable {
  let open: OpenFile
  /// Where the last read ended.
  private let end = Atomic(-1)
  /// When a read was last answered, in nanoseconds of `clock`.
  private let answered = Atomic(0)
  private let clock: @Sendable () -> Int
  private let cursors: PrefetchCursors
  private let cursor: PrefetchCursors.Shared

  /// - Parameters:
  ///   - cursors: those of handles that were opened before.
  ///   - clock: nanoseconds since any time.
  init(
    _ open: OpenFile, _ cursors: PrefetchCursors,
    clock: @escaping @Sendable () -> Int = FileHandle.monotonicClock
  ) {
    self.open = open
    self.clock = clock
    self.cursors = cursors
    cursor = cursors.cursor(for: open.file, of: open.entry)
  }

  struct Pace {
    /// Whether a read starts where the one before ended.
    let isInOrder: Bool
    /// Whether the reader did more between two reads than copy what it got, as one does that makes memory for it: it then leaves
    /// time to copy the next window into a buffer.
    let isUnhurried: Bool
    /// Whether it starts near the start of the file or the end of the last read. Who unpacks an archive skips its headers.
    let isNear: Bool
    /// Whether the file was last read so long ago that its sources may have left the page cache.
    let isAfterPause: Bool
  }

  /// In nanoseconds.
  private static let maxPause = 1_000_000_000

  /// Bytes.
  private static let near = 4 << 20

  /// Bytes: who reads fewer looks something up, as a mount does that is tried, and won't read on.
  private static let shortest = 4096

  /// An estimate of what a copy takes: a processor copies 10 GB/s or more.
  private static let copyNanosecondsPerByte = 0.1

  /// Takes note of a read of `window`, and says how it follows the one before.
  func advance(over window: Range<Int>) -> Pace {
    let pause = clock() - answered.load(ordering: .relaxed)
    let last = end.exchange(window.upperBound, ordering: .relaxed)
    return Pace(
      isInOrder: last == window.lowerBound,
      isUnhurried: Double(pause) > Double(window.count) * FileHandle.copyNanosecondsPerByte,
      isNear: window.lowerBound < FileHandle.near || abs(window.lowerBound - last) < FileHandle.near,
      isAfterPause: pause > FileHandle.maxPause)
  }

  /// Has what a reader in order will need read ahead.
  ///
  /// - Returns: whether a read of `window` may have to wait for a source.
  func prefetch(for window: Range<Int>, _ pace: Pace, _ prefetcher: Prefetcher) -> Bool {
    let isCold =
      pace.isNear
      && (window.count < FileHandle.shortest || cursors.advance(cursor, to: window.lowerBound, prefetcher))
    // A first read, too: what was read ahead a moment ago may have been dropped, or not be there yet.
    if isCold || pace.isAfterPause { return !open.file.isResident(window) }
    if pace.isNear { return false }
    return open.file.sourceRanges(of: window).contains { prefetcher.isCold($0) }
  }

  /// Calls `body`, which answers a read. Who asks again before it has returned is in a hurry.
  func answering(_ body: () -> Void) {
    answered.store(.max, ordering: .relaxed)
    body()
    answered.store(clock(), ordering: .relaxed)
  }

  /// What a reader in order asks for after `window`; `nil` if more than that was asked for already, or there is no more.
  func window(after window: Range<Int>) -> Range<Int>? {
    guard end.load(ordering: .relaxed) == window.upperBound, window.upperBound < open.file.count else {
      return nil
    }
    return window.upperBound..<min(window.upperBound + window.count, open.file.count)
  }

  @Sendable static func monotonicClock() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}

/// A request that any thread may answer, once.
struct ReadRequest: @unchecked Sendable {
  // Unchecked: libfuse's, which answers from any thread.
  let pointer: fuse_req_t?
  let pace: FileHandle.Pace
  /// Whether it may wait for a source, and is in `ColdReads` until it is answered.
  let isCold: Bool
}
