import Glibc

/// Lets threads through one at a time, in the order of their numbers from 0 on, whoever comes first.
// Unchecked: `lock` orders all access.
package final class Turnstile<State>: @unchecked Sendable {
  private var state: State
  private var turn = 0
  private var isClosed = false
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let turned = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  package init(_ state: sending State) {
    self.state = state
    pthread_mutex_init(lock, nil)
    pthread_cond_init(turned, nil)
  }

  deinit {
    pthread_cond_destroy(turned)
    pthread_mutex_destroy(lock)
    turned.deallocate()
    lock.deallocate()
  }

  /// Waits until everyone in front of `number` is through, then runs `body`. If that fails, nobody behind it comes through.
  ///
  /// - Throws: what `body` throws; `Cancelled` once the turnstile is closed.
  package func pass<Result>(_ number: Int, _ body: (inout State) throws -> Result) throws -> Result {
    pthread_mutex_lock(lock)
    defer {
      pthread_cond_broadcast(turned)
      pthread_mutex_unlock(lock)
    }
    while turn != number && !isClosed { pthread_cond_wait(turned, lock) }
    guard !isClosed else { throw Cancelled() }
    do {
      let result = try body(&state)
      turn += 1
      return result
    } catch {
      isClosed = true
      throw error
    }
  }

  /// Nobody waits any longer: someone whose turn would have come doesn't come.
  package func close() {
    pthread_mutex_lock(lock)
    isClosed = true
    pthread_cond_broadcast(turned)
    pthread_mutex_unlock(lock)
  }
}
