/// The cursors of those who went on to a file that is read next: whoever opens that file, by a handle of its own, goes on from there.
/// A rank that loads layer after layer is one reader in order.
package final class PrefetchCursors: Sendable {
  package typealias Shared = LockedValue<PrefetchCursor>

  /// The newest last.
  private let recent = LockedValue<[Shared]>([])
  /// Those of twelve ranks, with some that have stopped.
  private static let maxCount = 64

  package init() {}

  /// A cursor for a reader of `file`: from where another has got to, if one came this way a moment ago.
  package func cursor(for file: VirtualFile, of entry: FileTree.Entry?) -> Shared {
    if let entry {
      for left in recent.withLock({ $0 }).reversed() {
        if let cursor = left.withLock({ $0.continued(in: file, of: entry) }) { return Shared(cursor) }
      }
    }
    return Shared(PrefetchCursor(file, of: entry))
  }

  /// Moves `cursor` to `position` of its file.
  ///
  /// - Returns: whether its reader may have to wait there.
  package func advance(_ cursor: Shared, to position: Int, _ prefetcher: Prefetcher) -> Bool {
    let (isCold, isNew) = cursor.withLock { cursor in
      let wasAhead = cursor.isAhead
      let isCold = cursor.advance(to: position, prefetcher)
      return (isCold, cursor.isAhead && !wasAhead)
    }
    if isNew {
      recent.withLock { recent in
        if recent.count == PrefetchCursors.maxCount { recent.removeFirst() }
        recent.append(cursor)
      }
    }
    return isCold
  }
}
