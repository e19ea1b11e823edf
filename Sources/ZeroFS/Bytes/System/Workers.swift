import FoundationEssentials

/// Threads that share a list of work. Not tasks: they block in reads and writes, which may be many more than there are cores.
package enum Workers {
  /// Processors that this process may use: those that a launcher bound it to, not all that there are.
  package static var cores: Int {
    cores((try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? "")
  }

  /// The same by proc_pid_status(5): `Cpus_allowed` is a mask in hexadecimal digits.
  package static func cores(_ status: String) -> Int {
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed:") } ?? ""
    return max(1, line.drop { $0 != ":" }.reduce(0) { $0 + ($1.hexDigitValue ?? 0).nonzeroBitCount })
  }

  /// How many threads a user may ask for.
  package static let allowed = 1...1024

  /// Calls `body` for each item, in order, at most `count` at a time. Returns when all calls have.
  ///
  /// - Parameter context: makes what one thread uses for all its calls.
  /// - Throws: the first error; the items behind it are not started, and `progress` cancels those that run.
  package static func run<Context, Item: Sendable, Result: Sendable, Failure: Error>(
    _ count: Int, _ items: [Item], _ progress: ByteProgress = ByteProgress(totalBytes: 0),
    context: @escaping @Sendable () -> Context,
    _ body: @escaping @Sendable (Context, Item) throws(Failure) -> Result
  ) throws(Failure) -> [Result] {
    let state = LockedValue(
      (next: 0, results: [Result?](repeating: nil, count: items.count), error: Failure?.none))
    onThreads(min(count, items.count)) {
      let context = context()
      while let index = state.withLock({ state -> Int? in
        guard state.error == nil, state.next < items.count else { return nil }
        state.next += 1
        return state.next - 1
      }) {
        do throws(Failure) {
          let result = try body(context, items[index])
          state.withLock { $0.results[index] = result }
        } catch {
          progress.cancel()
          state.withLock { if $0.error == nil || $0.error is Cancelled { $0.error = error } }
        }
      }
    }
    let (_, results, error) = state.withLock { $0 }
    if let error { throw error }
    return results.compactMap { $0 }
  }

  /// Likewise, where a thread needs nothing of its own.
  package static func run<Item: Sendable, Result: Sendable, Failure: Error>(
    _ count: Int, _ items: [Item], _ progress: ByteProgress = ByteProgress(totalBytes: 0),
    _ body: @escaping @Sendable (Item) throws(Failure) -> Result
  ) throws(Failure) -> [Result] {
    try run(count, items, progress, context: {}, { _, item throws(Failure) in try body(item) })
  }

  /// Runs `body` on `count` threads, of which the calling one is one.
  private static func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    let threads = (1..<max(count, 1)).compactMap { _ in PosixThread(body) }
    body()
    for thread in threads { thread.join() }
  }
}
