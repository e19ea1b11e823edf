/// `mp_rank_MM_model_states.pt`, and at ZeRO stage 3 `zero_pp_rank_D_mp_rank_MM_model_states.pt`: what the engine knows of a
/// rank (DeepSpeed `runtime/engine.py`:
/// `DeepSpeedEngine._save_checkpoint`), with MDS's own entries behind (`megatron/checkpointing.py`: `save_checkpoint`).
struct ModelState: Sendable {
  let tp: Int
  let pp: Int
  /// 0 where all data-parallel ranks share the file.
  let dp: Int
  let state: MegatronState
  let settings: OptimizerSettings

  private var model: MegatronModel { state.model }
  private var layout: ParallelLayout { model.layout }

  func value() -> PickleValue {
    let parameters = model.parameters(tp: tp, pp: pp)
    let usesZero = layout.zeroStage > 0
    let optimizer: PickleValue =
      usesZero ? .none : OptimizerState(parameters, layout: layout, settings: settings).value(dp: dp)
    let frozen: PickleValue = layout.zeroStage > 1 ? .orderedDict([]) : .none
    let configuration = settings.configuration.value(layout)
    return .dict(
      [
        ("module", layout.engine == .pipeline ? .none : module(parameters)),
        (
          "buffer_names",
          .list(layout.engine == .pipeline ? [] : [.string("language_model.rotary_pos_emb.inv_freq")])
        ),
        ("optimizer", optimizer),
        ("param_shapes", usesZero ? parameterShapes(parameters) : .none),
        ("frozen_param_shapes", frozen),
        ("shared_params", usesZero ? .dict([:]) : .none),
        ("frozen_param_fragments", frozen),
        ("lr_scheduler", state.learningRateScheduler),
        ("data_sampler", .none),
        ("random_ltd", .none),
        ("skipped_steps", .int(0)),
        ("global_steps", .int(state.iteration)),
        ("global_samples", .int(0)),
        ("dp_world_size", .int(layout.dp)),
        ("mp_world_size", .int(layout.modelParallelSize)),
        (
          "checkpoint_parallel_dimensions",
          .dict(["pp_degree": .int(layout.pp), "tp_degree": .int(layout.tp)])
        ),
        ("ds_config", configuration),
        ("ds_version", .string(settings.deepSpeedVersion)),
        ("universal_checkpoint_info", UniversalCheckpointInfo(model).value),
        ("args", state.arguments(tp: tp, pp: pp, dp: dp, deepSpeedConfiguration: configuration)),
        ("checkpoint_version", .float(3)),
        ("iteration", .int(state.iteration)),
        ("tokens", .int(0)),
        ("rng_state", state.randomState(tp: tp, pp: pp, dp: dp, parameters: parameters)),
      ])
  }

  /// Names and shapes by parameter group, at stage 3 by sub-group (`DeepSpeedEngine._get_zero_param_shapes`).
  private func parameterShapes(_ parameters: [MegatronParameter]) -> PickleValue {
    let groups =
      layout.zeroStage == 3
      ? ZeroStage3Partition(
        parameters, dp: dp, of: layout.dp, subGroupSize: settings.configuration.subGroupSize
      )
      .subGroups.map(\.parameters)
      : ParameterGroup.groups(of: parameters, zeroStage: layout.zeroStage).map(\.parameters)
    return .list(groups.map { .orderedDict($0.map { ($0.name, .size($0.tensor.shape)) }) })
  }

  /// The nested dictionaries of `GPTModel.state_dict_for_save_checkpoint` (MDS `megatron/model/language_model.py`:
  /// `TransformerLanguageModel.state_dict_for_save_checkpoint`). At stage 3 the parameters are elsewhere, and the tensors empty.
  private func module(_ parameters: [MegatronParameter]) -> PickleValue {
    var embedding: [(String, PickleValue)] = []
    var encoder: [(String, PickleValue)] = []
    var outputLayer: [(String, PickleValue)] = []
    for parameter in parameters {
      let tensor = PickleValue.tensor(
        layout.zeroStage == 3 ? .zeros([0], layout.dtype) : parameter.tensor, requiresGrad: false)
      if let name = parameter.name.dropping(prefix: "language_model.embedding.word_embeddings.") {
        embedding.append((name, tensor))
      } else if let name = parameter.name.dropping(prefix: "language_model.encoder.") {
        encoder.append((name, tensor))
      } else if let name = parameter.name.dropping(prefix: "language_model.output_layer.") {
        outputLayer.append((name, tensor))
      }
    }
    var languageModel: [(String, PickleValue)] = [
      ("embedding", .dict(["word_embeddings": .orderedDict(embedding)])),
      ("encoder", .orderedDict(encoder)),
    ]
    if !outputLayer.isEmpty { languageModel.append(("output_layer", .orderedDict(outputLayer))) }
    return .dict(["language_model": .dict(languageModel)])
  }
}

extension String {
  /// What follows `prefix`; `nil` if the string doesn't start with it.
  func dropping(prefix: String) -> String? {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
  }
}
