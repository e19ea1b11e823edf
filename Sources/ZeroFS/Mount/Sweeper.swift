import Bytes
import CFuse
import Glibc

/// A thread that has the kernel forget layouts which nobody uses. The kernel would keep what it looked up until it needs the
/// memory, and nobody could tell from a listing what is in use.
///
/// Linux 6.18 and newer can be told to drop those of some inodes that have no user (`FUSE_NOTIFY_PRUNE`). Older kernels can only
/// be told to drop a name whether it is used or not, which a program that has its working directory there notices (its
/// getcwd(2) fails): they are left to forget when they need the memory, of which a layout takes more from them than from us.
final class Sweeper: Sendable {
  private static let milliseconds: Int32 = 5000

  private let layouts: LayoutInodes
  // PosixThread-safe in libfuse, and alive until `stop`.
  private nonisolated(unsafe) let session: OpaquePointer
  private let wake = eventfd(0, Int32(EFD_CLOEXEC))

  private init(_ layouts: LayoutInodes, _ session: OpaquePointer) {
    (self.layouts, self.session) = (layouts, session)
  }

  /// Runs `body` while the layouts of `server` are swept.
  static func sweeping<Result>(
    _ layouts: LayoutInodes?, _ session: OpaquePointer, _ body: () -> Result
  ) -> Result {
    guard let layouts else { return body() }
    let sweeper = Sweeper(layouts, session)
    let thread = PosixThread { sweeper.run() }
    defer {
      eventfd_write(sweeper.wake, 1)
      thread?.join()
      close(sweeper.wake)
    }
    return body()
  }

  private func run() {
    // Signals are for the session's loop.
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, nil)
    var event = pollfd(fd: wake, events: Int16(POLLIN), revents: 0)
    var canPrune = true
    /// How many layouts there were at the sweep before, and the newest: younger ones have just been looked up.
    var (count, newest) = (0, 0)
    while poll(&event, 1, Sweeper.milliseconds) <= 0 {
      let held = layouts.held()
      for layout in held where canPrune && layout.serial <= newest { canPrune = prune(layout) }
      // Trees were dropped since: malloc keeps their memory unless it is told.
      if held.count != count || held.last.map({ $0.serial > newest }) == true { malloc_trim(0) }
      (count, newest) = (held.count, held.last?.serial ?? newest)
    }
  }

  /// The kernel drops the inodes of a layout that have no user. False if it can't.
  private func prune(_ layout: LayoutInodes.Held) -> Bool {
    // What is in a directory first: it is its user.
    let numbers = (0..<layout.count).reversed().map { layout.number + UInt64($0) }
    return numbers.withUnsafeBufferPointer {
      zerofs_notify_prune(session, $0.baseAddress, UInt32($0.count)) != -EINVAL
    }
  }
}
