import Bytes

/// The part of one flattened parameter group that data-parallel rank `dp` of `size` owns at ZeRO stages 1 and 2
/// (DeepSpeed `runtime/zero/stage_1_and_2.py`: `DeepSpeedZeroOptimizer.__init__`, `flatten_dense_tensors_aligned`;
/// `runtime/bf16_optimizer.py` partitions alike).
struct ZeroPartition: Sendable {
  /// Elements of the group on this rank, padding included; equal on all ranks.
  let count: Int
  /// Elements of `count` that are padding: behind the last parameter, so on the last ranks only.
  let padding: Int
  /// The fp32 master weights, `[count]`.
  let master: TensorExpression
  /// Which elements of this part belong to which parameter (`param_slice_mappings`): `start` counts from the part's first.
  let fragments: [(name: String, start: Int, count: Int)]

  /// The flat group's length is a multiple of this times the number of ranks (`nccl_start_alignment_factor`).
  private static let alignmentFactor = 2

  init(_ group: ParameterGroup, dp: Int, of size: Int) {
    let real = group.parameters.reduce(0) { $0 + $1.tensor.count }
    let multiple = ZeroPartition.alignmentFactor * size
    count = (real + multiple - 1) / multiple * multiple / size
    let window = (dp * count)..<((dp + 1) * count)
    padding = max(0, window.upperBound - max(real, window.lowerBound))

    var fragments: [(name: String, start: Int, count: Int)] = []
    var parts: [TensorExpression] = []
    var start = 0
    for parameter in group.parameters {
      let range = (start..<(start + parameter.tensor.count)).clamped(to: window)
      if !range.isEmpty {
        fragments.append((parameter.name, range.lowerBound - window.lowerBound, range.count))
        parts.append(
          parameter.master.flattened().rows((range.lowerBound - start)..<(range.upperBound - start)))
      }
      start += parameter.tensor.count
    }
    self.fragments = fragments
    master = (parts.isEmpty ? TensorExpression.zeros([0], .float32) : .concatenating(parts)).paddingRows(
      to: count)
  }
}
