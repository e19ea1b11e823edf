import Synchronization

/// Buffers for reads, a few of which are kept when a read is over: there may be as many as reads at a time
/// (`FuseServer.mostThreads`), of a megabyte each.
final class GatherPool: Sendable {
  // Unchecked: a lease is in the pool or with one read, never both, and the mutex orders the two.
  private final class Lease: @unchecked Sendable {
    var gather: Gather
    init(capacity: Int) { gather = Gather(capacity: capacity, for: .kernel) }
  }

  /// The longest window, in bytes.
  let capacity: Int
  private static let mostIdle = 10
  private let idle = Mutex<[Lease]>([])

  init(capacity: Int) { self.capacity = capacity }

  func withGather<Result, E: Error>(_ body: (inout Gather) throws(E) -> Result) throws(E) -> Result {
    let lease = idle.withLock { $0.popLast() } ?? Lease(capacity: capacity)
    defer { idle.withLock { if $0.count < GatherPool.mostIdle { $0.append(lease) } } }
    return try body(&lease.gather)
  }
}
