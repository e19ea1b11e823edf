import Bytes
import Torch

/// The state of the wrapped optimizer before the first step: fp32 masters, and moments where asked for.
struct OptimizerState: Sendable {
  let layout: ParallelLayout
  let settings: OptimizerSettings
  let groups: [ParameterGroup]
  /// Of all groups in turn, as `zero` numbers them.
  private let parameters: [Parameter]
  private let masters: [TensorExpression]
  private let zero: ZeroLayout

  init(_ groups: [ParameterGroup], layout: ParallelLayout, settings: OptimizerSettings) {
    (self.layout, self.settings, self.groups) = (layout, settings, groups)
    parameters = groups.flatMap(\.parameters)
    masters = parameters.map(\.master)
    zero = ZeroLayout(groups, layout, settings)
  }

  private var flats: Range<Int> { 0..<zero.flatCount }
  private var flatShapes: [[[Int]]] { flats.map { [[zero.count(of: $0)]] } }
  /// The numbers of each group's parameters.
  private var groupRanges: [Range<Int>] {
    var end = 0
    return groups.map { group in
      end += group.parameters.count
      return (end - group.parameters.count)..<end
    }
  }

  /// `optimizer.state_dict()` as data-parallel rank `dp` saves it.
  func value(dp: Int) -> PickleValue {
    switch settings.wrapper {
    case .zero: stages1And2(dp: dp)
    case .zeroStage3: stage3(dp: dp)
    case .bf16: bf16(dp: dp)
    case .fp16Unfused: fp16Unfused()
    case .fp16Fused: fp16Fused()
    case .none: inner(groups.map { $0.parameters.map(\.tensor.shape) })
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
        ("base_optimizer_state", inner(flatShapes)),
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
    let shapes = groupRanges.map { group in
      flats.filter { group.contains(zero.parameters(of: $0).lowerBound) }.map { [zero.count(of: $0)] }
    }
    return .dict([
      "zero_stage": zeroStage,
      "loss_scaler": lossScaler,
      "dynamic_loss_scale": .bool(layout.dtype == .float16),
      "overflow": .bool(false),
      "partition_count": .int(layout.zeroRanks),
      "optimizer_state_dict": inner(shapes),
      "fp32_flat_groups": .list(
        flats.map { .tensor(zero.flat($0, rank: dp, of: masters), requiresGrad: true) }),
    ])
  }

  /// DeepSpeed `runtime/bf16_optimizer.py`: `BF16_Optimizer.state_dict`.
  private func bf16(dp: Int) -> PickleValue {
    .dict([
      "clip_grad": .float(settings.clipGrad),
      "base_optimizer_state": inner(flatShapes),
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
        ("optimizer_state_dict", inner(groups.map { $0.parameters.map(\.tensor.shape) })),
        (
          "fp32_groups",
          .list(groups.map { .list($0.parameters.map { .tensor($0.master, requiresGrad: true) }) })
        ),
      ])
  }

  /// DeepSpeed `runtime/fp16/fused_optimizer.py`: `FP16_Optimizer.state_dict`.
  private func fp16Fused() -> PickleValue {
    let flat = groups.map { TensorExpression.concatenating($0.parameters.map { $0.master.flattened() }) }
    return .dict(
      lossScale + [
        ("optimizer_state_dict", inner(flat.map { [$0.shape] })),
        ("fp32_groups_flat", .list(flat.map { .tensor($0, requiresGrad: true) })),
        ("clip_grad", .float(settings.clipGrad)),
      ])
  }

  /// `state_dict()` of the inner optimizer, whose groups hold tensors of these shapes; they are numbered through all groups.
  private func inner(_ shapes: [[[Int]]]) -> PickleValue {
    var first = 0
    var entries: [PickleValue] = []
    for (group, shapes) in zip(groups, shapes) {
      entries.append(settings.adam.inner.group(group, settings, parameters: first..<(first + shapes.count)))
      first += shapes.count
    }
    let state: [(key: PickleValue, value: PickleValue)] =
      settings.moments == .none
      ? []
      : shapes.joined().enumerated().map { (.int($0.offset), settings.adam.inner.zeroMoments($0.element)) }
    return .dict(["state": .dict(items: state), "param_groups": .list(entries)])
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
      [
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
      ])
  }

  /// The same as members of the optimizers of stage 0.
  private var lossScale: [(String, PickleValue)] {
    guard layout.dtype == .float16 else {
      return [("dynamic_loss_scale", .bool(false)), ("cur_scale", .float(1)), ("cur_iter", .int(0))]
    }
    return [
      ("dynamic_loss_scale", .bool(true)),
      ("cur_scale", .int(1 << settings.configuration.initialScalePower)),
      ("cur_iter", .int(0)),
      ("last_overflow_iter", .int(-1)),
      ("scale_factor", .float(2)),
      ("scale_window", .int(settings.configuration.lossScaleWindow)),
    ]
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
