import Synchronization

/// The parameters of the model-parallel ranks that were asked for. Each of a rank's files starts from them, one for each
/// data-parallel rank, and `ls -l` wants the sizes of all.
final class RankParameters: Sendable {
  private let known = Mutex<[Int: [Parameter]]>([:])

  /// What `make` returned for the rank at the first call.
  func parameters(of rank: Int, _ make: () -> [Parameter]) -> [Parameter] {
    // Not under the lock: two threads may make the same, but none waits for another's rank.
    if let parameters = known.withLock({ $0[rank] }) { return parameters }
    let parameters = make()
    known.withLock { $0[rank] = parameters }
    return parameters
  }
}
