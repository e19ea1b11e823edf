import Bytes

/// Which elements of which parameter stand where in the flat fp32 tensors of the data-parallel ranks, at ZeRO stages 1 to 3: the
/// one place of this rule, read forwards (`flat`) and backwards (`whole`).
package struct ZeroLayout: Sendable {
  /// How parameters become flat tensors.
  enum Rule: Sendable, Equatable {
    /// Each group's parameters one behind the other, padded, and cut in equal parts, a part for each rank: stages 1 and 2
    /// (DeepSpeed `runtime/zero/stage_1_and_2.py`: `DeepSpeedZeroOptimizer.__init__`, `flatten_dense_tensors_aligned`;
    /// `runtime/bf16_optimizer.py` partitions alike).
    case flattenedGroups
    /// Each parameter padded and cut by itself; a rank's slices one behind the other until there are `subGroupSize` elements of
    /// the rank: stage 3 (DeepSpeed `runtime/zero/partition_parameters.py`: `Init._partition_param`;
    /// `runtime/zero/stage3.py`: `_create_fp16_sub_groups`).
    case slicedParameters(subGroupSize: Int)
  }

  /// A run of one parameter's elements in a flat tensor of one rank.
  struct Fragment: Sendable, Equatable {
    let parameter: Int
    /// Of the flattened parameter.
    let elements: Range<Int>
    let rank: Int
    /// Which of the rank's flat tensors.
    let flat: Int
    /// Where the run starts in it, in elements.
    let start: Int
  }

  /// One of the flat tensors that each rank has.
  private struct Flat {
    let parameters: Range<Int>
    /// Where each parameter starts: in the flattened group, or in the rank's slices.
    let starts: [Int]
    /// Elements on each rank, padding included.
    let count: Int
  }

  let rule: Rule
  /// `dp_world_size`.
  let ranks: Int
  /// Elements of each parameter, of all groups in turn.
  private let counts: [Int]
  private let flats: [Flat]
  /// The flat tensor that each parameter is in.
  private let flatOfParameter: [Int]

  /// A flattened group's length is a multiple of this times the number of ranks (`nccl_start_alignment_factor`).
  private static let alignmentFactor = 2

  /// - Parameter groups: the elements of each parameter, by optimizer group.
  init(_ groups: [[Int]], ranks: Int, rule: Rule) {
    (self.ranks, self.rule, counts) = (ranks, rule, groups.flatMap { $0 })
    var flats: [Flat] = []
    var first = 0
    for group in groups {
      switch rule {
      case .flattenedGroups:
        let multiple = ZeroLayout.alignmentFactor * ranks
        let (starts, total) = ZeroLayout.starts(group)
        flats.append(
          Flat(
            parameters: first..<(first + group.count), starts: starts,
            count: (total + multiple - 1) / multiple * multiple / ranks))
      case .slicedParameters(let subGroupSize):
        flats += ZeroLayout.subGroups(
          group.map { ($0 + ranks - 1) / ranks }, first: first, size: subGroupSize)
      }
      first += group.count
    }
    self.flats = flats
    flatOfParameter = flats.enumerated().flatMap { index, flat in flat.parameters.map { _ in index } }
  }

  private static func starts(_ counts: [Int]) -> (starts: [Int], total: Int) {
    var (starts, total): ([Int], Int) = ([], 0)
    for count in counts {
      starts.append(total)
      total += count
    }
    return (starts, total)
  }

  /// A sub-group is closed once it holds `size` of the rank's elements.
  private static func subGroups(_ slices: [Int], first: Int, size: Int) -> [Flat] {
    var flats: [Flat] = []
    var start = 0
    var count = 0
    for (index, slice) in slices.enumerated() {
      count += slice
      guard count >= size || index == slices.count - 1 else { continue }
      flats.append(
        Flat(
          parameters: (first + start)..<(first + index + 1),
          starts: starts(Array(slices[start...index])).starts,
          count: count))
      (start, count) = (index + 1, 0)
    }
    return flats
  }

  // MARK: - Sizes

  var flatCount: Int { flats.count }

  /// Elements of a flat tensor on each rank, padding included.
  func count(of flat: Int) -> Int { flats[flat].count }

  /// The parameters that have a part in a flat tensor, by their numbers.
  func parameters(of flat: Int) -> Range<Int> { flats[flat].parameters }

  /// Elements at the end of a flattened group's part that are padding: behind the last parameter, so on the last ranks only.
  func padding(of flat: Int, rank: Int) -> Int {
    let flat = flats[flat]
    let end = (rank + 1) * flat.count
    let real = flat.parameters.reduce(0) { $0 + counts[$1] }
    return min(flat.count, max(0, end - real))
  }

  // MARK: - The rule

  /// The part of a parameter that a rank has; `nil` where it has none.
  func fragment(of parameter: Int, rank: Int) -> Fragment? {
    let index = flatOfParameter[parameter]
    let flat = flats[index]
    let start = flat.starts[parameter - flat.parameters.lowerBound]
    let count = counts[parameter]
    switch rule {
    case .flattenedGroups:
      let window = (rank * flat.count)..<((rank + 1) * flat.count)
      let range = (start..<(start + count)).clamped(to: window)
      if range.isEmpty { return nil }
      return Fragment(
        parameter: parameter, elements: (range.lowerBound - start)..<(range.upperBound - start), rank: rank,
        flat: index, start: range.lowerBound - window.lowerBound)
    case .slicedParameters:
      let slice = (count + ranks - 1) / ranks
      let range = min(rank * slice, count)..<min((rank + 1) * slice, count)
      if range.isEmpty { return nil }
      return Fragment(parameter: parameter, elements: range, rank: rank, flat: index, start: start)
    }
  }

  /// What stands in a rank's flat tensor, in its order.
  func fragments(of flat: Int, rank: Int) -> [Fragment] {
    flats[flat].parameters.compactMap { fragment(of: $0, rank: rank) }
  }

  /// Where the elements of a parameter are, in their order.
  func fragments(of parameter: Int) -> [Fragment] {
    (0..<ranks).compactMap { fragment(of: parameter, rank: $0) }
  }

  // MARK: - Both ways

  /// `[count]`: a rank's flat tensor of the parameters' `states`, padded with zeros.
  func flat(_ flat: Int, rank: Int, of states: [TensorExpression]) -> TensorExpression {
    var pieces: [TensorExpression] = []
    var end = 0
    func pad(to start: Int) {
      if start > end { pieces.append(.zeros([start - end], .float32)) }
      end = start
    }
    for fragment in fragments(of: flat, rank: rank) {
      pad(to: fragment.start)
      pieces.append(states[fragment.parameter].flattened().rows(fragment.elements))
      end += fragment.elements.count
    }
    pad(to: flats[flat].count)
    return pieces.isEmpty ? .zeros([0], .float32) : .concatenating(pieces)
  }

  /// `[elements]`: a flattened parameter, put together from the ranks' flat tensors.
  func whole(_ parameter: Int, from flats: (_ flat: Int, _ rank: Int) -> TensorExpression) -> TensorExpression
  {
    let pieces = fragments(of: parameter).map { fragment in
      flats(fragment.flat, fragment.rank).rows(fragment.start..<(fragment.start + fragment.elements.count))
    }
    return pieces.isEmpty ? .zeros([0], .float32) : .concatenating(pieces)
  }
}

extension ZeroLayout {
  /// That of a run's optimizer, whose groups' parameters are numbered through.
  init(_ groups: [ParameterGroup], _ layout: ParallelLayout, _ settings: OptimizerSettings) {
    self.init(
      groups.map { $0.parameters.map(\.tensor.count) }, ranks: layout.zeroRanks,
      rule: layout.zeroStage == 3
        ? .slicedParameters(subGroupSize: settings.configuration.subGroupSize) : .flattenedGroups)
  }
}
