import Bytes
import Torch

/// `optimizer_state_dict` of an optimizer states file, at stage 0 `optimizer` of a model states file: the fp32 masters of
/// DeepSpeed's wrapper, and what of `TrainingState` is the inner optimizer's.
struct OptimizerState: Sendable {
  let layout: ParallelLayout
  let settings: OptimizerSettings
  let groups: [ParameterGroup]
  /// Of all groups in turn, as `zero` numbers them.
  let parameters: [Parameter]
  private let masters: [TensorExpression]
  private let zero: ZeroLayout

  init(_ groups: [ParameterGroup], layout: ParallelLayout, settings: OptimizerSettings) {
    (self.layout, self.settings, self.groups) = (layout, settings, groups)
    parameters = groups.flatMap(\.parameters)
    masters = parameters.map(\.master)
    zero = ZeroLayout(groups, layout, settings)
  }

  private var flats: Range<Int> { 0..<zero.flatCount }
  /// One of the tensors that the inner optimizer updates, of what of each parameter: masters, or a state.
  private typealias Updated = (_ values: [TensorExpression]) -> TensorExpression

  private func flatTensors(dp: Int) -> [[Updated]] {
    flats.map { flat in [{ [zero] in zero.flat(flat, rank: dp, of: $0) }] }
  }
  /// The parameters themselves.
  private var parameterTensors: [[Updated]] {
    groupRanges.map { group in group.map { index in { $0[index] } } }
  }
  /// The numbers of each group's parameters.
  private var groupRanges: [Range<Int>] {
    var end = 0
    return groups.map { group in
      end += group.parameters.count
      return (end - group.parameters.count)..<end
    }
  }

  /// Names and shapes by parameter group, at stage 3 by sub-group (DeepSpeed `runtime/engine.py`:
  /// `DeepSpeedEngine._get_zero_param_shapes`).
  var parameterShapes: PickleValue {
    .list(
      flats.map { flat in
        .orderedDict(parameters[zero.parameters(of: flat)].map { ($0.name, .size($0.tensor.shape)) })
      })
  }

  /// `optimizer.state_dict()` as data-parallel rank `dp` saves it.
  func value(dp: Int) -> PickleValue {
    switch settings.wrapper {
    case .zero: stages1And2(dp: dp)
    case .zeroStage3: stage3(dp: dp)
    case .bf16: bf16(dp: dp)
    case .fp16Unfused: fp16Unfused()
    case .fp16Fused: fp16Fused()
    case .none: inner(parameterTensors)
    }
  }

  /// DeepSpeed `runtime/zero/stage_1_and_2.py`: `DeepSpeedZeroOptimizer.state_dict`.
  private func stages1And2(dp: Int) -> PickleValue {
    let alignment: [(String, PickleValue)] =
      settings.deepSpeedVersion.hasAlignmentPaddings
      ? [("param_alignment_paddings", .list(groups.map { .ints($0.parameters.map { _ in 0 }) }))] : []
    return .dict(
      [
        ("loss_scaler", lossScaler),
        ("dynamic_loss_scale", .bool(layout.dtype == .float16)),
        ("overflow", .bool(false)),
        ("clip_grad", .float(settings.clipGrad)),
        ("base_optimizer_state", inner(flatTensors(dp: dp))),
        // `_get_groups_without_padding`
        (
          "single_partition_of_fp32_groups",
          .list(
            flats.map { flat in
              let real = zero.count(of: flat) - zero.padding(of: flat, rank: dp)
              return .tensor(zero.flat(flat, rank: dp, of: masters).rows(0..<real), requiresGrad: true)
            })
        ),
        ("zero_stage", zeroStage),
        ("group_paddings", .ints(flats.map { zero.padding(of: $0, rank: dp) })),
      ] + alignment + [
        ("partition_count", .ints(groups.map { _ in layout.zeroRanks })),
        ("ds_version", .string("\(settings.deepSpeedVersion)")),
        ("param_slice_mappings", sliceMappings(dp: dp)),
      ])
  }

  /// DeepSpeed `runtime/zero/stage3.py`: `DeepSpeedZeroOptimizer_Stage3._rigid_state_dict`.
  private func stage3(dp: Int) -> PickleValue {
    // Sub-groups by optimizer group.
    let updated = groupRanges.map { group in
      flats.filter { group.contains(zero.parameters(of: $0).lowerBound) }.map { flat -> Updated in
        { [zero] in zero.flat(flat, rank: dp, of: $0) }
      }
    }
    return .dict([
      "zero_stage": zeroStage,
      "loss_scaler": lossScaler,
      "dynamic_loss_scale": .bool(layout.dtype == .float16),
      "overflow": .bool(false),
      "partition_count": .int(layout.zeroRanks),
      "optimizer_state_dict": inner(updated),
      "fp32_flat_groups": .list(
        flats.map { .tensor(zero.flat($0, rank: dp, of: masters), requiresGrad: true) }),
    ])
  }

  /// DeepSpeed `runtime/bf16_optimizer.py`: `BF16_Optimizer.state_dict`.
  private func bf16(dp: Int) -> PickleValue {
    .dict([
      "clip_grad": .float(settings.clipGrad),
      "base_optimizer_state": inner(flatTensors(dp: dp)),
      "single_partition_of_fp32_groups": .list(
        flats.map { .tensor(zero.flat($0, rank: dp, of: masters), requiresGrad: true) }),
      "group_paddings": .ints(flats.map { zero.padding(of: $0, rank: dp) }),
      "partition_count": .ints(groups.map { _ in layout.zeroRanks }),
      "ds_version": .string("\(settings.deepSpeedVersion)"),
      "param_slice_mappings": sliceMappings(dp: dp),
    ])
  }

  /// DeepSpeed `runtime/fp16/unfused_optimizer.py`: `FP16_UnfusedOptimizer.state_dict`. Every rank holds all of it.
  ///
  /// DeepSpeed itself makes a step with zero gradients when it starts, so that its own moments are those of the weight decay
  /// alone; an empty state loads and trains too.
  private func fp16Unfused() -> PickleValue {
    .dict(
      lossScale + [
        ("optimizer_state_dict", inner(parameterTensors)),
        (
          "fp32_groups",
          .list(groups.map { .list($0.parameters.map { .tensor($0.master, requiresGrad: true) }) })
        ),
      ])
  }

  /// DeepSpeed `runtime/fp16/fused_optimizer.py`: `FP16_Optimizer.state_dict`.
  private func fp16Fused() -> PickleValue {
    let updated = groupRanges.map { group -> [Updated] in
      [{ values in .concatenating(values[group].map { $0.flattened() }) }]
    }
    return .dict(
      lossScale + [
        ("optimizer_state_dict", inner(updated)),
        ("fp32_groups_flat", .list(updated.map { .tensor($0[0](masters), requiresGrad: true) })),
        ("clip_grad", .float(settings.clipGrad)),
      ])
  }

  /// `state_dict()` of the inner optimizer, whose groups hold these tensors; they are numbered through all groups.
  private func inner(_ updated: [[Updated]]) -> PickleValue {
    var first = 0
    var entries: [PickleValue] = []
    for (group, tensors) in zip(groups, updated) {
      entries.append(settings.adam.inner.group(group, settings, parameters: first..<(first + tensors.count)))
      first += tensors.count
    }
    let members = settings.training.members
    let values = Dictionary(
      uniqueKeysWithValues: settings.training.elementwise.map { name in
        (name, parameters.map { $0.state(name) })
      })
    let state: [(key: PickleValue, value: PickleValue)] =
      members.isEmpty
      ? []
      : updated.joined().enumerated().map { index, tensor in
        // Each tensor with a storage of its own, because the optimizer updates them in place.
        (.int(index), .dict(members.map { ($0.name, value($0, tensor, values[$0.name] ?? [])) }))
      }
    return .dict(["state": .dict(items: state), "param_groups": .list(entries)])
  }

  private func value(_ member: TrainingState.Member, _ tensor: Updated, _ values: [TensorExpression])
    -> PickleValue
  {
    switch member.kind {
    case .elementwise: .tensor(tensor(values), requiresGrad: false)
    case .step(let count): settings.adam.inner.step(count)
    case .constant(let value): value
    }
  }

  private var zeroStage: PickleValue {
    .reduce(
      callable: .global(module: "deepspeed.runtime.zero.config", name: "ZeroStageEnum"),
      arguments: [.int(layout.zeroStage)])
  }

  /// DeepSpeed `runtime/fp16/loss_scaler.py`: `LossScaler`, `DynamicLossScaler`.
  private var lossScaler: PickleValue {
    let module = "deepspeed.runtime.fp16.loss_scaler"
    guard layout.dtype == .float16 else {
      return .object(module, "LossScaler", [("cur_scale", .float(1)), ("dynamic", .bool(false))])
    }
    return .object(
      module, "DynamicLossScaler",
      trained([
        ("cur_scale", .int(1 << settings.configuration.initialScalePower)),
        ("dynamic", .bool(true)),
        ("cur_iter", .int(0)),
        ("last_overflow_iter", .int(-1)),
        ("scale_factor", .float(2)),
        ("scale_window", .int(settings.configuration.lossScaleWindow)),
        ("min_scale", .int(1)),
        ("delayed_shift", .int(2)),
        ("cur_hysteresis", .int(2)),
        ("consecutive_hysteresis", .bool(false)),
        ("raise_error_at_min_scale", .bool(true)),
        ("dtype", .dtype(.float16)),
      ]))
  }

  /// Members of a loss scale as the run has left them.
  private func trained(_ members: [(String, PickleValue)]) -> [(String, PickleValue)] {
    members.map { name, value in (name, settings.training.lossScale?[name] ?? value) }
  }

  /// The same as members of the optimizers of stage 0.
  private var lossScale: [(String, PickleValue)] {
    guard layout.dtype == .float16 else {
      return [("dynamic_loss_scale", .bool(false)), ("cur_scale", .float(1)), ("cur_iter", .int(0))]
    }
    return trained([
      ("dynamic_loss_scale", .bool(true)),
      ("cur_scale", .int(1 << settings.configuration.initialScalePower)),
      ("cur_iter", .int(0)),
      ("last_overflow_iter", .int(-1)),
      ("scale_factor", .float(2)),
      ("scale_window", .int(settings.configuration.lossScaleWindow)),
    ])
  }

  /// `deepspeed.utils.tensor_fragment.fragment_address(numel, start)` of each parameter that this rank holds a part of.
  private func sliceMappings(dp: Int) -> PickleValue {
    .list(
      flats.map { flat in
        .orderedDict(
          zero.fragments(of: flat, rank: dp).map {
            (
              parameters[$0.parameter].name,
              .object(
                "deepspeed.utils.tensor_fragment", "fragment_address",
                [("numel", .int($0.elements.count)), ("start", .int($0.start))])
            )
          })
      })
  }
}
