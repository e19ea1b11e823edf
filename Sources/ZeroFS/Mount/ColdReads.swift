import Bytes
import CFuse
import Glibc

/// The reads that may have to wait for a source. A source that stalls holds up its own readers only:
///
/// - At most `maxPerSource` threads read a source; further reads of it wait here, without a thread.
/// - A reader that is interrupted is answered at once, by the thread that the interrupt comes to; what was read for it is dropped.
final class ColdReads: Sendable {
  static let maxPerSource = 64
  typealias Work = @Sendable () -> Void

  private struct Line {
    var running = 0
    var waiting: ArraySlice<Work> = []
  }

  private struct State {
    var unanswered: Set<UInt> = []
    var lines: [ObjectIdentifier: Line] = [:]
  }

  private let state = LockedValue(State())

  /// Has `request` answered with EINTR when its reader is interrupted. False if it has been already.
  func begin(_ request: fuse_req_t?) -> Bool {
    fuse_req_interrupt_func(
      request,
      { request, _ in
        if FuseServer.serving(request).coldReads.claim(request) { fail(request, EINTR) }
      }, nil)
    let key = UInt(bitPattern: request)
    // An interrupt that came before is not told again. One that comes now has to wait for the lock: until then the request is there.
    let isInterrupted = state.withLock { state in
      if fuse_req_interrupted(request) != 0 { return true }
      state.unanswered.insert(key)
      return false
    }
    if isInterrupted { fail(request, EINTR) }
    return !isInterrupted
  }

  /// Whether the caller is to answer `request`: once, for who asks first.
  func claim(_ request: fuse_req_t?) -> Bool {
    state.withLock { $0.unanswered.remove(UInt(bitPattern: request)) != nil }
  }

  /// Runs `work`, which reads `source`, now or when another work has ended; there is no thread that waits.
  func run(reading source: SourceFile, _ work: @escaping Work) {
    let key = ObjectIdentifier(source)
    let starts = state.withLock { state in
      var line = state.lines[key] ?? Line()
      defer { state.lines[key] = line }
      if line.running < ColdReads.maxPerSource {
        line.running += 1
        return true
      }
      line.waiting.append(work)
      return false
    }
    if !starts { return }
    var next: Work? = work
    while let work = next {
      work()
      next = state.withLock { state in
        if let first = state.lines[key]?.waiting.popFirst() { return first }
        state.lines[key]?.running -= 1
        if state.lines[key]?.running == 0 { state.lines[key] = nil }
        return nil
      }
    }
  }
}
