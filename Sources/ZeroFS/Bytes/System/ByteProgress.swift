import Synchronization

/// How far a long work is; shared by those who do it and who shows it.
package final class ByteProgress: Sendable {
  /// Bytes to go through, holes not counted.
  package let totalBytes: Int
  private let done = Atomic(0)
  private let cancelled = Atomic(false)

  package init(totalBytes: Int) { self.totalBytes = totalBytes }

  package var doneBytes: Int { done.load(ordering: .relaxed) }

  /// - Throws: `Cancelled` after `cancel`.
  package func advance(_ bytes: Int) throws(Cancelled) {
    done.add(bytes, ordering: .relaxed)
    if cancelled.load(ordering: .relaxed) { throw Cancelled() }
  }

  /// Those who work stop soon.
  package func cancel() { cancelled.store(true, ordering: .relaxed) }
}

/// Another worker failed, whose error is the one to tell.
package struct Cancelled: Error {
  package init() {}
}
