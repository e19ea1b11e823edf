import Glibc

/// A value behind a plain `pthread_mutex_t`, for what every read takes: `Synchronization.Mutex` hands itself over to who waits
/// longest (`FUTEX_LOCK_PI`), and with more threads than processors every unlock becomes a context switch from then on.
package final class LockedValue<Value>: @unchecked Sendable {
  // Unchecked: the lock orders all access.
  private var value: Value
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  package init(_ value: sending Value) {
    self.value = value
    pthread_mutex_init(lock, nil)
  }

  deinit {
    pthread_mutex_destroy(lock)
    lock.deallocate()
  }

  package func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return body(&value)
  }
}
