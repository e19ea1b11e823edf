import Glibc

/// A thread of the system's, until it is joined.
package struct PosixThread {
  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  private let thread: pthread_t

  /// `nil` where the system has no more of them.
  package init?(_ run: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let body = Unmanaged.passRetained(Body(run))
    let code = pthread_create(
      &thread, nil,
      { body in
        if let body { Unmanaged<Body>.fromOpaque(body).takeRetainedValue().run() }
        return nil
      }, body.toOpaque())
    guard code == 0 else {
      body.release()
      return nil
    }
    self.thread = thread
  }

  /// It ends by itself, and nobody waits for it.
  package func detach() { pthread_detach(thread) }

  package func join() { pthread_join(thread, nil) }
}
