import Bytes

/// Buffers for reads, a few of which are kept when a read is over: there may be as many as reads at a time
/// (`FuseServer.mostThreads`), of a megabyte each. What is kept may hold a window that a reader in order will ask for next,
/// composed while there was a processor for it.
final class GatherPool: Sendable {
  // Unchecked: a lease is in the pool or with one thread, never both, and the mutex orders the two.
  final class Lease: @unchecked Sendable {
    var gather: Gather
    fileprivate init(capacity: Int) { gather = Gather(capacity: capacity) }
  }

  struct Loan {
    let lease: Lease
    /// Whether it holds the window; its sources are to be verified again.
    var isComposed = false
  }

  /// A window that is composed before it is asked for, or has been.
  private struct Ahead {
    let handle: FileHandle
    let window: Range<Int>
    let lease: Lease
    /// `State.reads` when it was begun.
    let begun: Int
    var isComposed = false
    /// Asked for meanwhile, and answered by the thread that composes it.
    var waiting: ReadRequest?
  }

  private struct State {
    var idle: [Lease] = []
    /// At most one of a handle; the oldest first.
    var ahead: [Ahead] = []
    var reads = 0
    /// Leases that threads have.
    var lent = 0
    /// Whose the last reads were.
    var recent: [ObjectIdentifier] = []
    var readers: Int { Set(recent).count }

    mutating func note(_ handle: FileHandle) {
      reads += 1
      if recent.count == GatherPool.mostRecent { recent.removeFirst() }
      recent.append(ObjectIdentifier(handle))
    }

    mutating func keep(_ lease: Lease) {
      if idle.count < GatherPool.mostKept { idle.append(lease) }
    }
  }

  /// The longest window, in bytes.
  let capacity: Int
  private let processors: Int
  /// Of each kind: idle, and with a window.
  private static let mostKept = 10
  private static let mostRecent = 16
  /// Reads of others after which nobody is expected any more to ask for a window.
  private static let patience = 1000
  private let state = LockedValue(State())

  init(capacity: Int, processors: Int = Workers.cores) {
    self.capacity = capacity
    self.processors = processors
  }

  /// A buffer for `window`; `nil` when another thread is composing it, and will answer `request`.
  func lend(_ window: Range<Int>, of handle: FileHandle, to request: ReadRequest) -> Loan? {
    enum Found {
      case loan(Loan)
      case waits
      case nothing
    }
    let found = state.withLock { state -> Found in
      state.note(handle)
      if let index = state.ahead.firstIndex(where: { $0.handle === handle }) {
        let ahead = state.ahead[index]
        if ahead.isComposed {
          state.ahead.remove(at: index)
          state.lent += 1
          return .loan(Loan(lease: ahead.lease, isComposed: ahead.window == window))
        }
        if ahead.window == window && ahead.waiting == nil {
          state.ahead[index].waiting = request
          return .waits
        }
      }
      state.lent += 1
      return state.idle.popLast().map { .loan(Loan(lease: $0)) } ?? .nothing
    }
    switch found {
    case .loan(let loan): return loan
    case .waits: return nil
    // Not while others wait for the lock: the kernel makes memory for it.
    case .nothing: return Loan(lease: Lease(capacity: capacity))
    }
  }

  func giveBack(_ lease: Lease) {
    state.withLock { state in
      state.lent -= 1
      state.keep(lease)
    }
  }

  /// Announces that the caller composes `window` in `lease`, to be followed by `end`. False if there is no processor for it,
  /// counting one for each reader and for each thread with a lease, or no room, which who has asked for nothing for long makes.
  func begin(_ window: Range<Int>, of handle: FileHandle, in lease: Lease) -> Bool {
    state.withLock { state in
      guard state.lent + state.readers <= processors,
        !state.ahead.contains(where: { $0.handle === handle })
      else { return false }
      if state.ahead.count == GatherPool.mostKept {
        let stale = state.ahead.firstIndex {
          $0.isComposed && state.reads - $0.begun > GatherPool.patience
        }
        guard let stale else { return false }
        state.ahead.remove(at: stale)
      }
      state.ahead.append(Ahead(handle: handle, window: window, lease: lease, begun: state.reads))
      return true
    }
  }

  /// The window of `begin` is composed, or can't be. The request for it, if there is one already: the caller answers it, and
  /// has the lease until then.
  func end(_ lease: Lease, isComposed: Bool) -> ReadRequest? {
    state.withLock { state in
      state.lent -= 1
      // Not there any more if the handle was released.
      guard let index = state.ahead.firstIndex(where: { $0.lease === lease }) else {
        state.keep(lease)
        return nil
      }
      if let waiting = state.ahead[index].waiting {
        state.ahead.remove(at: index)
        state.lent += 1
        return waiting
      }
      if isComposed {
        state.ahead[index].isComposed = true
      } else {
        state.ahead.remove(at: index)
        state.keep(lease)
      }
      return nil
    }
  }

  /// Nobody will ask for a window of `handle` any more.
  func forget(_ handle: FileHandle) {
    state.withLock { state in
      state.recent.removeAll { $0 == ObjectIdentifier(handle) }
      guard let index = state.ahead.firstIndex(where: { $0.handle === handle }) else { return }
      let ahead = state.ahead.remove(at: index)
      if ahead.isComposed { state.keep(ahead.lease) }
    }
  }
}
