import Bytes
import Glibc

/// The signals that end a mount: SIGTERM, SIGINT and SIGHUP, but for those that whoever started us had ignored. They wait for a
/// thread of their own, because the others may be in reads of a source that stalls.
struct SessionSignals: Sendable {
  private let set: sigset_t

  /// Keeps them from all threads; before the mount, so that a signal never leaves one behind.
  init() {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in [SIGTERM, SIGINT, SIGHUP] {
      var action = sigaction()
      sigaction(signal, nil, &action)
      let handler = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      if handler != unsafeBitCast(SIG_IGN, to: Int.self) { sigaddset(&set, signal) }
    }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    // A reply to a connection that is gone is an error, not an end.
    Glibc.signal(SIGPIPE, SIG_IGN)
    self.set = set
  }

  /// Calls `body` with the first one that arrives, on another thread.
  func onArrival(_ body: @escaping @Sendable (Int32) -> Void) {
    let set = set
    PosixThread {
      var (set, signal) = (set, Int32(0))
      while sigwait(&set, &signal) != 0 {}
      body(signal)
    }?.detach()
  }

  /// For a mount that wasn't made.
  func release() {
    var set = set
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }
}
