import Testing

@testable import Bytes
@testable import Checkpoints

@Suite struct ZeroPartitionTests {
  private func group(_ sizes: [Int]) -> ParameterGroup {
    var first = 0
    let parameters = sizes.enumerated().map { index, size in
      let values = (first..<(first + size)).flatMap { value in
        withUnsafeBytes(of: Float(value + 1)) { Array($0) }
      }
      first += size
      let tensor = MemorySource(values).tensor([size], .float32)
      return Parameter(name: "p\(index)", tensor: tensor, master: tensor)
    }
    return ParameterGroup(parameters: parameters)
  }

  /// The parts in a row are the group and zeros behind it, of a length that is a multiple of 2 × DP.
  @Test(arguments: [1, 2, 3, 5, 8, 64])
  func partsMakeUpTheGroup(dp: Int) throws {
    let group = group([7, 1, 30, 12])
    let parts = (0..<dp).map { ZeroPartition(group, dp: $0, of: dp) }
    #expect(Set(parts.map(\.count)).count == 1)
    #expect((parts[0].count * dp).isMultiple(of: 2 * dp))
    let bytes = try parts.flatMap { try $0.master.bytes() }
    let floats = bytes.withUnsafeBytes { Array($0.assumingMemoryBound(to: Float.self)) }
    #expect(Array(floats.prefix(50)) == (1...50).map(Float.init))
    #expect(floats.dropFirst(50).allSatisfy { $0 == 0 })
    #expect(parts.reduce(0) { $0 + $1.padding } == floats.count - 50)
    var covered: [String: Int] = [:]
    for part in parts {
      for fragment in part.fragments { covered[fragment.name, default: 0] += fragment.count }
      #expect(part.fragments.reduce(0) { $0 + $1.count } + part.padding == part.count)
    }
    #expect(covered == ["p0": 7, "p1": 1, "p2": 30, "p3": 12])
  }

  @Test func fragmentsStartWithinThePart() {
    let part = ZeroPartition(group([7, 1, 30, 12]), dp: 1, of: 5)
    #expect(part.count == 10)
    #expect(part.fragments.map(\.name) == ["p2"])
    #expect(part.fragments.map(\.start) == [0])
  }
}
