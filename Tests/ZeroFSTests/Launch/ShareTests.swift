import Testing

@testable import Store

@Suite struct ShareTests {
  private struct Item: Hashable {
    let name: String
    let bytes: Int
  }

  /// Each item belongs to one process, in whatever order they are listed; no two loads are further apart than one item.
  @Test(arguments: [1, 2, 3, 4, 7, 64], [UInt64(1), 2, 3])
  func partition(world: Int, seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let items = (0..<Int.random(in: 0..<200, using: &generator)).map {
      Item(name: "file \($0)", bytes: Int.random(in: 0..<[10, 1 << 40][Int($0 % 2)], using: &generator))
    }
    let shares = try (0..<world).map { rank in
      try Share(rank: rank, world: world).items(
        of: items.shuffled(using: &generator), bytes: \.bytes, name: \.name)
    }
    #expect(shares.reduce(0) { $0 + $1.count } == items.count)
    #expect(Set(shares.joined()) == Set(items), "seed \(seed)")
    for share in shares { #expect(share.map(\.bytes) == share.map(\.bytes).sorted(by: >)) }
    let loads = shares.map { $0.reduce(0) { $0 + $1.bytes } }
    #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= items.map(\.bytes).max() ?? 0, "seed \(seed)")
  }

  @Test func one() {
    #expect(Share.whole.items(of: ["b", "a"], bytes: { _ in 1 }, name: { $0 }) == ["a", "b"])
  }

  @Test(arguments: [(-1, 2), (2, 2), (0, 0), (0, -1), (0, Int.max), (0, Share.maxWorld + 1)])
  func outside(rank: Int, world: Int) {
    #expect(throws: TargetError.share(rank: rank, world: world)) { try Share(rank: rank, world: world) }
  }

  /// As many processes as there may be share 10,000 items in no time, of which the last ones get nothing.
  @Test func manyProcesses() throws {
    let items = Array(0..<10_000)
    let count = try [0, 9_999, 10_000, Share.maxWorld - 1].map { rank in
      try Share(rank: rank, world: Share.maxWorld).items(of: items, bytes: { $0 }, name: { "\($0)" }).count
    }
    #expect(count == [1, 1, 0, 0])
  }
}
