import Glibc

// A fault of each kind, for the sanitizers to find: if they don't, they find nothing in the tests either.
// Built and run by run.sh; `canary race`, `canary overflow`.

/// What two threads share: they start and end together, and nothing orders them in between.
struct Shared {
  var barrier = pthread_barrier_t()
  var number = 0
}

/// Two threads, one number, no lock.
func race() {
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
  print(shared.pointee.number)
}

/// A byte behind the end.
func overflow() {
  let bytes = malloc(100)?.assumingMemoryBound(to: UInt8.self)
  bytes?[CommandLine.arguments.count + 98] = 1
  print(bytes?[0] ?? 0)
}

switch CommandLine.arguments.dropFirst().first {
case "race": race()
case "overflow": overflow()
default: exit(64)
}
