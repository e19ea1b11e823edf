/// The state of the wrapped optimizer before the first step: fp32 masters, no moments.
struct OptimizerState: Sendable {
  let wrapper: OptimizerWrapper
  let layout: ParallelLayout
  let groups: [ParameterGroup]
  let settings: OptimizerSettings

  init(_ parameters: [MegatronParameter], layout: ParallelLayout, settings: OptimizerSettings) {
    wrapper = OptimizerWrapper(layout)
    self.layout = layout
    groups = ParameterGroup.groups(of: parameters)
    self.settings = settings
  }

  /// `optimizer.state_dict()` as data-parallel rank `dp` saves it.
  func value(dp: Int) -> PickleValue {
    switch wrapper {
    case .zero: zero(dp: dp)
    case .bf16: bf16(dp: dp)
    case .fp16Unfused: fp16Unfused()
    case .none: inner(parametersPerGroup: groups.map(\.parameters.count))
    }
  }

  /// DeepSpeed `runtime/zero/stage_1_and_2.py`: `DeepSpeedZeroOptimizer.state_dict`.
  private func zero(dp: Int) -> PickleValue {
    let partitions = groups.map { ZeroPartition($0, dp: dp, of: layout.dp) }
    return .dict([
      "loss_scaler": lossScaler,
      "dynamic_loss_scale": .bool(layout.dtype == .float16),
      "overflow": .bool(false),
      "clip_grad": .float(settings.clipGrad),
      "base_optimizer_state": inner(parametersPerGroup: groups.map { _ in 1 }),
      // `_get_groups_without_padding`
      "single_partition_of_fp32_groups": .list(
        partitions.map { .tensor($0.master.rows(0..<($0.count - $0.padding)), requiresGrad: true) }),
      "zero_stage": .reduce(
        callable: .global(module: "deepspeed.runtime.zero.config", name: "ZeroStageEnum"),
        arguments: [.int(layout.zeroStage)]),
      "group_paddings": .ints(partitions.map(\.padding)),
      "param_alignment_paddings": .list(groups.map { .ints($0.parameters.map { _ in 0 }) }),
      "partition_count": .ints(groups.map { _ in layout.dp }),
      "ds_version": .string(settings.deepSpeedVersion),
      "param_slice_mappings": sliceMappings(partitions),
    ])
  }

  /// DeepSpeed `runtime/bf16_optimizer.py`: `BF16_Optimizer.state_dict`.
  private func bf16(dp: Int) -> PickleValue {
    let partitions = groups.map { ZeroPartition($0, dp: dp, of: layout.dp) }
    return .dict([
      "clip_grad": .float(settings.clipGrad),
      "base_optimizer_state": inner(parametersPerGroup: groups.map { _ in 1 }),
      "single_partition_of_fp32_groups": .list(partitions.map { .tensor($0.master, requiresGrad: true) }),
      "group_paddings": .ints(partitions.map(\.padding)),
      "partition_count": .ints(groups.map { _ in layout.dp }),
      "ds_version": .string(settings.deepSpeedVersion),
      "param_slice_mappings": sliceMappings(partitions),
    ])
  }

  /// DeepSpeed `runtime/fp16/unfused_optimizer.py`: `FP16_UnfusedOptimizer.state_dict`. Every rank holds all of it.
  private func fp16Unfused() -> PickleValue {
    let isDynamic = layout.dtype == .float16
    var members: [(String, PickleValue)] = [
      ("dynamic_loss_scale", .bool(isDynamic)),
      ("cur_scale", isDynamic ? .int((1 << settings.configuration.initialScalePower)) : .float(1)),
      ("cur_iter", .int(0)),
    ]
    if isDynamic {
      members += [
        ("last_overflow_iter", .int(-1)), ("scale_factor", .float(2)), ("scale_window", .int(settings.configuration.lossScaleWindow)),
      ]
    }
    members += [
      ("optimizer_state_dict", inner(parametersPerGroup: groups.map(\.parameters.count))),
      (
        "fp32_groups",
        .list(groups.map { .list($0.parameters.map { .tensor($0.tensor.cast(to: .float32), requiresGrad: true) }) })
      ),
    ]
    return .dict(members)
  }

  /// `torch.optim.Adam.state_dict()`; parameters are numbered through all groups.
  private func inner(parametersPerGroup counts: [Int]) -> PickleValue {
    var first = 0
    var entries: [PickleValue] = []
    for (group, count) in zip(groups, counts) {
      entries.append(
        .dict([
          "name": .string(group.name),
          "wd_mult": .float(group.weightDecayMultiplier),
          "lr_mult": .float(group.learningRateMultiplier),
          "lr": .float(settings.initialLearningRate),
          "betas": .tuple([.float(settings.betas.0), .float(settings.betas.1)]),
          "eps": .float(settings.eps),
          "weight_decay": .float(settings.weightDecay * group.weightDecayMultiplier),
          "amsgrad": .bool(false),
          "maximize": .bool(false),
          "foreach": .none,
          "capturable": .bool(false),
          "differentiable": .bool(false),
          "fused": .none,
          "decoupled_weight_decay": .bool(false),
          "params": .ints(first..<(first + count)),
        ]))
      first += count
    }
    return .dict(["state": .dict([:]), "param_groups": .list(entries)])
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
        ("cur_scale", .int((1 << settings.configuration.initialScalePower))),
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

  /// `deepspeed.utils.tensor_fragment.fragment_address(numel, start)` of each parameter that this rank holds a part of.
  private func sliceMappings(_ partitions: [ZeroPartition]) -> PickleValue {
    let address = PickleValue.global(module: "deepspeed.utils.tensor_fragment", name: "fragment_address")
    return .list(
      partitions.map { partition in
        .orderedDict(
          partition.fragments.map {
            (
              $0.name,
              .build(
                .new(class: address, arguments: []),
                state: .dict(["numel": .int($0.count), "start": .int($0.start)]))
            )
          })
      })
  }
}

/// What a run's command line says about the optimizer; the defaults are MDS's (`megatron/arguments.py`) and DeepSpeed's.
struct OptimizerSettings: Sendable {
  var initialLearningRate = 0.0
  var weightDecay = 0.01
  var betas = (0.9, 0.999)
  var eps = 1e-8
  var clipGrad = 1.0
  var configuration = DeepSpeedConfiguration()
  var deepSpeedVersion = "0.19.8"
}
