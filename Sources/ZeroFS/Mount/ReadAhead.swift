import Bytes

/// Which windows are composed before they are asked for: for a reader in order the next one, in the buffer of its last read, while
/// there is a processor for it. Hands out the buffers of all reads, so that a window that is there already is found in its own.
final class ReadAhead: Sendable {
  /// A buffer for a window, until `giveBack` or `end`.
  struct Loan {
    let buffer: GatherBuffer
    /// Whether it holds the window; its sources are to be verified again.
    var isComposed = false
  }

  /// A window that is being composed before it is asked for, or has been.
  private struct Window {
    let handle: FileHandle
    let bytes: Range<Int>
    let buffer: GatherBuffer
    /// `State.reads` when it was begun.
    let begun: Int
    var isComposed = false
    /// Asked for meanwhile, and answered by the thread that composes it.
    var waiting: ReadRequest?
  }

  private struct State {
    var idle: IdleBuffers
    /// At most one of a handle; the oldest first.
    var windows: [Window] = []
    var reads = 0
    /// Buffers that threads have.
    var lent = 0
    /// Whose the last reads were.
    var recent: [ObjectIdentifier] = []
    // Not a set: nothing else of what is done behind the lock makes memory.
    var readers: Int { recent.indices.count { recent.firstIndex(of: recent[$0]) == $0 } }

    mutating func note(_ handle: FileHandle) {
      reads += 1
      if recent.count == ReadAhead.maxRecent { recent.removeFirst() }
      recent.append(ObjectIdentifier(handle))
    }
  }

  /// The longest window, in bytes.
  let capacity: Int
  private let maxKept: Int
  private let processors: Int
  /// A handle counts as a reader while it is among the last so many reads.
  private static let maxRecent = 16
  /// A window that is as many reads old, of all handles, makes room for another: its reader has stopped or gone elsewhere.
  private static let maxAge = 1000
  private let state: LockedValue<State>

  /// - Parameter maxKept: windows that are composed ahead, and as many buffers for further reads.
  init(capacity: Int, maxKept: Int, processors: Int = Workers.cores) {
    self.capacity = capacity
    self.maxKept = maxKept
    self.processors = processors
    state = LockedValue(State(idle: IdleBuffers(maxCount: maxKept)))
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
      if let index = state.windows.firstIndex(where: { $0.handle === handle }) {
        let ahead = state.windows[index]
        if ahead.isComposed {
          state.windows.remove(at: index)
          state.lent += 1
          return .loan(Loan(buffer: ahead.buffer, isComposed: ahead.bytes == window))
        }
        if ahead.bytes == window && ahead.waiting == nil {
          state.windows[index].waiting = request
          return .waits
        }
      }
      state.lent += 1
      return state.idle.take().map { .loan(Loan(buffer: $0)) } ?? .nothing
    }
    switch found {
    case .loan(let loan): return loan
    case .waits: return nil
    // Not while others wait for the lock: the kernel makes memory for it.
    case .nothing: return Loan(buffer: GatherBuffer(capacity: capacity))
    }
  }

  func giveBack(_ buffer: GatherBuffer) {
    state.withLock { state in
      state.lent -= 1
      state.idle.keep(buffer)
    }
  }

  /// Announces that the caller composes `window` in `buffer`, to be followed by `end`. False where it should not:
  ///
  /// - There is no processor for it. Each reader needs one to take in what it gets, and each thread that has a buffer another.
  /// - A window of the handle is there already.
  /// - There are `maxKept`, and none is older than `maxAge`.
  func begin(_ window: Range<Int>, of handle: FileHandle, in buffer: GatherBuffer) -> Bool {
    state.withLock { state in
      guard state.lent + state.readers <= processors,
        !state.windows.contains(where: { $0.handle === handle })
      else { return false }
      if state.windows.count == maxKept {
        let stale = state.windows.firstIndex {
          $0.isComposed && state.reads - $0.begun > ReadAhead.maxAge
        }
        guard let stale else { return false }
        state.windows.remove(at: stale)
      }
      state.windows.append(Window(handle: handle, bytes: window, buffer: buffer, begun: state.reads))
      return true
    }
  }

  /// The window of `begin` is composed, or can't be. Returns the request for it, if there is one already: the caller answers it,
  /// and has the buffer until then.
  func end(_ buffer: GatherBuffer, isComposed: Bool) -> ReadRequest? {
    state.withLock { state in
      state.lent -= 1
      // Not there any more if the handle was released.
      guard let index = state.windows.firstIndex(where: { $0.buffer === buffer }) else {
        state.idle.keep(buffer)
        return nil
      }
      if let waiting = state.windows[index].waiting {
        state.windows.remove(at: index)
        state.lent += 1
        return waiting
      }
      if isComposed {
        state.windows[index].isComposed = true
      } else {
        state.windows.remove(at: index)
        state.idle.keep(buffer)
      }
      return nil
    }
  }

  /// Nobody will ask for a window of `handle` any more.
  func forget(_ handle: FileHandle) {
    state.withLock { state in
      state.recent.removeAll { $0 == ObjectIdentifier(handle) }
      guard let index = state.windows.firstIndex(where: { $0.handle === handle }) else { return }
      let ahead = state.windows.remove(at: index)
      if ahead.isComposed { state.idle.keep(ahead.buffer) }
    }
  }
}
