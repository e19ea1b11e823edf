import Glibc
import Synchronization

/// Threads that share a list of work. Not tasks: they block in reads and writes, which may be many more than there are cores.
public enum Workers {
  /// Processors that this process may use.
  public static var cores: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

  /// Calls `body` for each item, in order, at most `count` at a time. Returns when all calls have.
  ///
  /// - Throws: the first error; the items behind it are not started, and `progress` cancels those that run.
  static func run<Item: Sendable, Result: Sendable>(
    _ count: Int, _ items: [Item], _ progress: Progress, _ body: @escaping @Sendable (Item) throws -> Result
  ) throws -> [Result] {
    let state = Mutex(
      (next: 0, results: [Result?](repeating: nil, count: items.count), error: (any Error)?.none))
    onThreads(min(count, items.count)) {
      while let index = state.withLock({ state -> Int? in
        guard state.error == nil, state.next < items.count else { return nil }
        state.next += 1
        return state.next - 1
      }) {
        do {
          let result = try body(items[index])
          state.withLock { $0.results[index] = result }
        } catch {
          progress.cancel()
          state.withLock { if $0.error == nil || $0.error is CancellationError { $0.error = error } }
        }
      }
    }
    return try state.withLock { state in
      if let error = state.error { throw error }
      return state.results.compactMap { $0 }
    }
  }

  /// Runs `body` on `count` threads, of which the calling one is one.
  static func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    let threads = (1..<max(count, 1)).compactMap { _ in Thread(body) }
    body()
    for thread in threads { thread.join() }
  }
}
