import Glibc

/// A fault for a sanitizer to find in a daemon (Tests/sanitizers/run.sh): if it doesn't, it finds nothing in the tests either.
enum Fault: String {
  case race, overflow

  func commit() {
    switch self {
    case .race: Fault.race()
    case .overflow: Fault.overflow()
    }
  }

  /// What two threads share: they start and end together, and nothing orders them in between.
  private struct Shared {
    var barrier = pthread_barrier_t()
    var number = 0
  }

  /// Two threads, one number, no lock.
  private static func race() {
    let shared = UnsafeMutablePointer<Shared>.allocate(capacity: 1)
    shared.initialize(to: Shared())
    pthread_barrier_init(&shared.pointee.barrier, nil, 2)
    var threads = [pthread_t(), pthread_t()]
    for index in threads.indices {
      pthread_create(
        &threads[index], nil,
        { argument in
          guard let shared = argument?.assumingMemoryBound(to: Shared.self) else { return nil }
          pthread_barrier_wait(&shared.pointee.barrier)
          shared.pointee.number += 1
          pthread_barrier_wait(&shared.pointee.barrier)
          return nil
        }, shared)
    }
    for thread in threads { pthread_join(thread, nil) }
    shared.deallocate()
  }

  /// A byte behind the end.
  private static func overflow() {
    let bytes = malloc(100)?.assumingMemoryBound(to: UInt8.self)
    bytes?[100] = 1
    free(bytes)
  }
}
