import Testing

@testable import Bytes
@testable import Checkpoints

/// The rule against itself backwards, and against DeepSpeed's steps done one element at a time.
@Suite struct ZeroLayoutTests {
  private static let groups = [[7, 1, 30, 12], [5, 5], [3]]

  /// Masters whose elements count from 1 through all groups.
  private static func masters() -> [TensorExpression] {
    var first = 0
    return groups.joined().map { size in
      let values = (first..<(first + size)).flatMap { value in
        withUnsafeBytes(of: Float(value + 1)) { Array($0) }
      }
      first += size
      return MemorySource(values).tensor([size], .float32)
    }
  }

  private static func floats(_ tensor: TensorExpression) throws -> [Float] {
    let bytes = try tensor.bytes()
    return bytes.withUnsafeBytes { Array($0.assumingMemoryBound(to: Float.self)) }
  }

  private static func numbers(_ count: Int, _ next: inout Float, multipleOf multiple: Int) -> [Float] {
    var values: [Float] = []
    for _ in 0..<count {
      values.append(next)
      next += 1
    }
    while !values.count.isMultiple(of: multiple) { values.append(0) }
    return values
  }

  private static func parts(_ values: [Float], _ ranks: Int) -> [[Float]] {
    let count = values.count / ranks
    return (0..<ranks).map { Array(values[($0 * count)..<(($0 + 1) * count)]) }
  }

  /// By flat tensor and rank. `flatten_dense_tensors_aligned`, then equal parts; or `_partition_param`, then sub-groups.
  private static func expected(_ rule: ZeroLayout.Rule, ranks: Int) -> [[[Float]]] {
    var next = Float(1)
    guard case .slicedParameters(let subGroupSize) = rule else {
      return groups.map { parts(numbers($0.reduce(0, +), &next, multipleOf: 2 * ranks), ranks) }
    }
    var flats: [[[Float]]] = []
    for group in groups {
      var current = [[Float]](repeating: [], count: ranks)
      for (index, size) in group.enumerated() {
        let slices = parts(numbers(size, &next, multipleOf: ranks), ranks)
        for rank in 0..<ranks { current[rank] += slices[rank] }
        if current[0].count >= subGroupSize || index == group.count - 1 {
          flats.append(current)
          current = [[Float]](repeating: [], count: ranks)
        }
      }
    }
    return flats
  }

  @Test(
    arguments: [1, 2, 3, 5, 8, 64], [ZeroLayout.Rule.flattenedGroups, .slicedParameters(subGroupSize: 9)])
  func bothWays(ranks: Int, rule: ZeroLayout.Rule) throws {
    let layout = ZeroLayout(Self.groups, ranks: ranks, rule: rule)
    let masters = Self.masters()
    let expected = Self.expected(rule, ranks: ranks)
    #expect(layout.flatCount == expected.count)
    for flat in 0..<layout.flatCount {
      for rank in 0..<ranks {
        let found = try Self.floats(layout.flat(flat, rank: rank, of: masters))
        #expect(found == expected[flat][rank], "flat \(flat), rank \(rank)")
        #expect(found.count == layout.count(of: flat))
      }
    }
    for (index, master) in masters.enumerated() {
      let whole = layout.whole(index) { flat, rank in layout.flat(flat, rank: rank, of: masters) }
      #expect(try Self.floats(whole) == Self.floats(master))
    }
  }

  /// Fragments tile each parameter, and are where the flat tensors have them.
  @Test(arguments: [1, 3, 16], [ZeroLayout.Rule.flattenedGroups, .slicedParameters(subGroupSize: 4)])
  func fragmentsTile(ranks: Int, rule: ZeroLayout.Rule) {
    let layout = ZeroLayout(Self.groups, ranks: ranks, rule: rule)
    for (index, count) in Self.groups.joined().enumerated() {
      var end = 0
      for fragment in layout.fragments(of: index) {
        #expect(fragment.elements.lowerBound == end)
        end = fragment.elements.upperBound
        #expect(layout.fragments(of: fragment.flat, rank: fragment.rank).contains(fragment))
      }
      #expect(end == count)
    }
  }

  @Test func paddingIsOnTheLastRanks() {
    let layout = ZeroLayout([[7, 1, 30, 12]], ranks: 16, rule: .flattenedGroups)
    #expect(layout.count(of: 0) == 4)
    #expect(
      (0..<16).map { layout.padding(of: 0, rank: $0) } == [Int](repeating: 0, count: 12) + [2, 4, 4, 4])
    #expect(layout.fragment(of: 2, rank: 2)?.start == 0)
  }
}
