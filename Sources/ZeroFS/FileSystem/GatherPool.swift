import Synchronization

/// Buffers for reads, kept when a read is over. There are never more than reads at a time, of which libfuse's loop runs ten
/// (`fuse_loop_cfg_create`: max_threads).
final class GatherPool: Sendable {
  // Unchecked: a lease is in the pool or with one read, never both, and the mutex orders the two.
  private final class Lease: @unchecked Sendable {
    var gather: Gather
    init(capacity: Int) { gather = Gather(capacity: capacity, for: .kernel) }
  }

  /// The longest window, in bytes.
  let capacity: Int
  private let idle = Mutex<[Lease]>([])

  init(capacity: Int) { self.capacity = capacity }

  func withGather<Result, E: Error>(_ body: (inout Gather) throws(E) -> Result) throws(E) -> Result {
    let lease = idle.withLock { $0.popLast() } ?? Lease(capacity: capacity)
    defer { idle.withLock { $0.append(lease) } }
    return try body(&lease.gather)
  }
}
