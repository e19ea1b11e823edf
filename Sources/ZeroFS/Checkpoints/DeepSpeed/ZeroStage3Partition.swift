import Bytes

/// What data-parallel rank `dp` of `size` owns at ZeRO stage 3: a slice of each parameter, flattened and padded with zeros to a
/// multiple of the ranks; slices are joined into sub-groups (DeepSpeed `runtime/zero/partition_parameters.py`:
/// `Init._partition_param`; `runtime/zero/stage3.py`: `_create_fp16_sub_groups`).
struct ZeroStage3Partition: Sendable {
  struct SubGroup: Sendable {
    let parameters: [Parameter]
    /// The fp32 masters of the rank's slices in a row.
    let master: TensorExpression
  }

  let subGroups: [SubGroup]

  /// One for each of the optimizer's groups.
  static func partitions(of groups: [ParameterGroup], dp: Int, of size: Int, subGroupSize: Int)
    -> [ZeroStage3Partition]
  {
    groups.map { ZeroStage3Partition($0.parameters, dp: dp, of: size, subGroupSize: subGroupSize) }
  }

  /// - Parameter subGroupSize: a sub-group is closed once it holds this many of the rank's elements.
  init(_ parameters: [Parameter], dp: Int, of size: Int, subGroupSize: Int) {
    var subGroups: [SubGroup] = []
    var members: [Parameter] = []
    var slices: [TensorExpression] = []
    var count = 0
    for (index, parameter) in parameters.enumerated() {
      let slice = (parameter.master.count + size - 1) / size
      members.append(parameter)
      slices.append(
        parameter.master.flattened().paddingRows(to: slice * size).rows((dp * slice)..<((dp + 1) * slice)))
      count += slice
      if count >= subGroupSize || index == parameters.count - 1 {
        subGroups.append(SubGroup(parameters: members, master: .concatenating(slices)))
        (members, slices, count) = ([], [], 0)
      }
    }
    self.subGroups = subGroups
  }
}
