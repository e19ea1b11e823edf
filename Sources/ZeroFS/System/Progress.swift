import Synchronization

/// How far a long work is; shared by those who do it and who shows it.
public final class Progress: Sendable {
  /// Bytes to go through, holes not counted.
  public let totalBytes: Int
  private let done = Atomic(0)
  private let cancelled = Atomic(false)

  public init(totalBytes: Int) { self.totalBytes = totalBytes }

  public var doneBytes: Int { done.load(ordering: .relaxed) }

  /// - Throws: `CancellationError` after `cancel`.
  func advance(_ bytes: Int) throws(CancellationError) {
    done.add(bytes, ordering: .relaxed)
    if cancelled.load(ordering: .relaxed) { throw CancellationError() }
  }

  /// Those who work stop soon.
  func cancel() { cancelled.store(true, ordering: .relaxed) }
}

/// Another worker failed, whose error is the one to tell.
struct CancellationError: Error {}
