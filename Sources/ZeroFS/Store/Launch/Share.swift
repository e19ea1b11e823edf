/// The part of a tree that one of several processes writes.
package struct Share: Sendable, Equatable {
  package let rank: Int
  package let world: Int

  package static let whole = Share(unchecked: 0, 1)

  /// More processes than any machine starts for one checkpoint.
  static let maxWorld = 1 << 20

  private init(unchecked rank: Int, _ world: Int) { (self.rank, self.world) = (rank, world) }

  /// - Throws: `TargetError.share` unless 0 ≤ rank < world ≤ `maxWorld`.
  package init(rank: Int, world: Int) throws(TargetError) {
    guard rank >= 0 && rank < world && world <= Share.maxWorld else {
      throw .share(rank: rank, world: world)
    }
    self.init(unchecked: rank, world)
  }

  /// The items of this share: each, from the largest on, goes to the process with the least so far, so that each process comes
  /// to the same answer without asking another.
  func items<Item>(of all: [Item], bytes: (Item) -> Int, name: (Item) -> String) -> [Item] {
    // More processes than items: those behind have none.
    var loads = Loads(count: min(world, all.count))
    return all.sorted { (-bytes($0), name($0)) < (-bytes($1), name($1)) }.filter { item in
      loads.addToLeast(bytes(item)) == rank
    }
  }
}

/// What each process has to write, as a heap: the one with the least, of equals the first, is on top.
private struct Loads {
  private var heap: [(bytes: Int, rank: Int)]

  init(count: Int) { heap = (0..<count).map { (0, $0) } }

  /// Returns the process that had the least.
  mutating func addToLeast(_ bytes: Int) -> Int {
    let rank = heap[0].rank
    heap[0].bytes += bytes
    var parent = 0
    while let child = [2 * parent + 1, 2 * parent + 2].filter({ $0 < heap.count }).min(by: {
      heap[$0] < heap[$1]
    }),
      heap[child] < heap[parent]
    {
      heap.swapAt(child, parent)
      parent = child
    }
    return rank
  }
}
