import Bytes
import Run
import Torch

/// The entries of a model states file that are MDS's own: its arguments, the learning rate schedule, the generators' states
/// (`megatron/checkpointing.py`: `save_checkpoint`).
struct MegatronEntries: Sendable {
  let model: MegatronModel
  let run: RunArguments
  let training: TrainingState

  /// `OptimizerParamScheduler.state_dict()`. Of a run that isn't known: nothing that a run could go on with by mistake. With
  /// `--override-opt_param-scheduler` MDS reads none of it; with `--use-checkpoint-opt_param-scheduler` it stops at the style,
  /// which it prints (`megatron/optimizer_param_scheduler.py`: `get_lr`); without either at the first value.
  var learningRateScheduler: PickleValue {
    if let schedule = training.schedule { return schedule }
    if let schedule = run.schedule { return .dict(schedule.entries.map { ($0.key, $0.value.pickle) }) }
    return .dict([
      "max_lr": .float(0), "lr_warmup_steps": .int(0), "lr_warmup_tokens": .none, "num_steps": .int(0),
      "num_tokens": .int(0), "lr_decay_style": .string(MegatronEntries.unknownSchedule),
      "lr_decay_steps": .int(1),
      "lr_decay_tokens": .none, "min_lr": .float(0), "start_wd": .float(run.double("weight_decay") ?? 0),
      "end_wd": .float(run.double("weight_decay") ?? 0), "wd_incr_style": .string("constant"),
      "wd_incr_steps": .int(1),
    ])
  }

  /// Ends MDS's message: "… decay style is not supported."
  static let unknownSchedule =
    "This checkpoint was mounted without --train-args and has no learning rate schedule: run with "
    + "--override-opt_param-scheduler (ALCF's helpers.sh: OVERRIDE_CKPT_OPT_PARAM=1, too), or mount with --train-args. The unknown"

  /// The `argparse.Namespace` of a rank.
  func arguments(tp: Int, pp: Int, dp: Int, deepSpeedConfiguration: PickleValue) -> PickleValue {
    let arguments = run.completed(model, tp: tp, pp: pp, dp: dp, training)
    return .object(
      "argparse", "Namespace",
      arguments.attributes.filter { !model.flavor.missingArguments.contains($0.name) }.map { name, value in
        (name, object(name, deepSpeedConfiguration) ?? value.pickle)
      } + (guardObject.map { [(MegatronExtensionFiles.package, $0)] } ?? []))
  }

  /// What keeps a run without the extension, or with another spec, from loading the checkpoint (zerofs_megatron/guard.py).
  private var guardObject: PickleValue? {
    guard model.extensionUse == .guarded, model.table.architecture.extensionNeed == .always else {
      return nil
    }
    return .new(
      class: .global(module: "\(MegatronExtensionFiles.package).guard", name: "Required"),
      arguments: [.string(model.table.architecture.spec.guardText)])
  }

  /// Attributes that hold more than a word of a command line.
  private func object(_ name: String, _ deepSpeedConfiguration: PickleValue) -> PickleValue? {
    switch name {
    case "deepspeed_config_dict": deepSpeedConfiguration
    case "model_type":
      .reduce(callable: .global(module: "megatron.core.enums", name: "ModelType"), arguments: [.int(1)])
    // pretrain_gpt.py: model_provider keeps the causal mask [1, 1, s, s] and the rotary table [s, 1, 1, d]. A run makes its
    // own; the checkpoint's are never looked at, and s² bytes in each file would be dead weight.
    case "attn_mask", "rotary_pos_emb": PickleValue.none
    default: nil
    }
  }

  /// The list of generators' states; one entry, as without `--data-parallel-random-init`.
  func randomState(tp: Int, pp: Int, dp: Int, parameters: [Parameter]) -> PickleValue {
    if let state = training.randomState(model.layout, tp: tp, pp: pp, seed: run.seed) { return state }
    let draws = parameters.filter { $0.tensor.shape.count > 1 }.reduce(0) {
      $0 + RandomState.initializationDraws(elementCount: $1.tensor.count, dtype: model.layout.dtype)
    }
    let state: RandomState
    do { state = try run.randomState(model, tp: tp, pp: pp, dp: dp, trackerDraws: draws) } catch {
      preconditionFailure("RunArguments.init checks the seeds of all ranks: \(error)")
    }
    func tensor(_ bytes: [UInt8]) -> PickleValue { .literalTensor(bytes, .uint8, shape: [bytes.count]) }
    return .list([
      .dict([
        "random_rng_state": .tuple([.int(3), .tuple(state.python.map { .int(Int($0)) }), .none]),
        "np_rng_state": .tuple([
          .string("MT19937"), numpyArray(state.numpyKey), .int(state.numpyPosition), .int(0), .float(0),
        ]),
        "torch_rng_state": tensor(state.torchState),
        "cuda_rng_state": tensor(state.deviceState),
        "rng_tracker_states": .dict(["model-parallel-rng": tensor(state.tracker)]),
      ])
    ])
  }

  /// A 1-D `numpy.ndarray` of uint32 (numpy `_core/src/multiarray/methods.c`: `array_reduce`). The module has its name of before
  /// numpy 2, which both know.
  private func numpyArray(_ words: [UInt32]) -> PickleValue {
    let multiarray = "numpy.core.multiarray"
    let bytes = words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
    return .build(
      .reduce(
        callable: .global(module: multiarray, name: "_reconstruct"),
        arguments: [
          .global(module: "numpy", name: "ndarray"), .tuple([.int(0)]), .bytes([UInt8(ascii: "b")]),
        ]),
      state: .tuple([
        .int(1), .tuple([.int(words.count)]),
        .build(
          .reduce(
            callable: .global(module: "numpy", name: "dtype"),
            arguments: [.string("u4"), .bool(false), .bool(true)]),
          state: .tuple([.int(3), .string("<"), .none, .none, .none, .int(-1), .int(-1), .int(0)])),
        .bool(false), .bytes(bytes),
      ]))
  }
}

extension ArgumentValue {
  var pickle: PickleValue {
    switch self {
    case .none, .object: .none
    case .bool(let value): .bool(value)
    case .int(let value): .int(value)
    case .float(let value): .float(value)
    case .string(let value): .string(value)
    case .list(let values): .list(values.map(\.pickle))
    case .dtype(let dtype): .dtype(dtype)
    }
  }
}
