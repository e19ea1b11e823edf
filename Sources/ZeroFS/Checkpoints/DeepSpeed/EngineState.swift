import Bytes
import Torch

/// The entries of a model states file that DeepSpeed's engine writes, whoever its client is (DeepSpeed `runtime/engine.py`:
/// `DeepSpeedEngine._common_checkpoint_state`, up to 0.18 `_save_checkpoint`).
struct EngineState: Sendable {
  /// Of this model-parallel rank.
  let optimizer: OptimizerState
  let dp: Int
  /// `engine.module_state_dict()`.
  let module: PickleValue
  /// Persistent buffers of the module.
  let bufferNames: [String]
  /// Tied names, each with the one that holds the parameter (`_get_shared_params`; the first rank alone looks for them).
  let sharedParameters: [(name: String, holder: String)]
  /// `lr_scheduler.state_dict()`.
  let learningRateScheduler: PickleValue

  private var layout: ParallelLayout { optimizer.layout }
  private var settings: OptimizerSettings { optimizer.settings }

  /// Keys and values in the engine's order.
  var members: [(String, PickleValue)] {
    // `zero_optimizer_state`
    let usesZero =
      layout.zeroStage > 0
      || layout.dtype == .bfloat16 && settings.deepSpeedVersion.countsBFloat16AsZero
    let frozen: PickleValue = layout.zeroStage > 1 ? .orderedDict([]) : .none
    let shared = dp == 0 ? sharedParameters : []
    return [
      ("module", module),
      ("buffer_names", .list(bufferNames.map { .string($0) })),
      ("optimizer", usesZero ? .none : optimizer.value(dp: dp)),
      ("param_shapes", usesZero ? optimizer.parameterShapes : .none),
      ("frozen_param_shapes", frozen),
      ("shared_params", usesZero ? .dict(shared.map { ($0.name, .string($0.holder)) }) : .none),
      ("frozen_param_fragments", frozen),
      ("lr_scheduler", learningRateScheduler),
      ("data_sampler", .none),
      ("random_ltd", .none),
    ] + (settings.deepSpeedVersion.listsSparseModules ? [("sparse_tensor_module_names", .set([]))] : [])
      + counters
  }

  /// How far the run is and how it is spread, with the configuration.
  private var counters: [(String, PickleValue)] {
    let dimensions = PickleValue.dict(["pp_degree": .int(layout.pp), "tp_degree": .int(layout.tp)])
    let version = settings.deepSpeedVersion
    return [
      ("skipped_steps", .int(settings.training.skippedSteps)),
      ("global_steps", .int(settings.training.globalSteps)),
      ("global_samples", .int(settings.training.globalSamples)),
      ("dp_world_size", .int(layout.zeroRanks)),
      ("mp_world_size", .int(layout.modelParallelSize)),
    ] + (version.hasParallelDimensions ? [("checkpoint_parallel_dimensions", dimensions)] : []) + [
      ("ds_config", settings.configuration.value(layout)),
      ("ds_version", .string("\(version)")),
    ]
  }
}
