import Bytes
import HuggingFace
import Torch

/// `mp_rank_MM_model_states.pt`, and at ZeRO stage 3 `zero_pp_rank_D_mp_rank_MM_model_states.pt`, of an MDS run: `EngineState`
/// with `MegatronEntries` behind (MDS `megatron/checkpointing.py`: `save_checkpoint`).
struct ModelStatesFile: Sendable {
  let tp: Int
  let pp: Int
  /// 0 where all data-parallel ranks share the file.
  let dp: Int
  let state: MegatronEntries
  let optimizer: OptimizerState

  private var model: MegatronModel { state.model }
  private var layout: ParallelLayout { model.layout }

  func value() -> PickleValue {
    let settings = optimizer.settings
    let isPipeline = layout.engine == .pipeline
    let engine = EngineState(
      optimizer: optimizer, dp: dp,
      module: isPipeline ? .none : module(),
      bufferNames: hasRotaryFrequencies ? ["language_model.rotary_pos_emb.inv_freq"] : [],
      sharedParameters: [],
      learningRateScheduler: state.learningRateScheduler)
    let configuration = settings.configuration.value(layout)
    return .dict(
      engine.members + [
        (
          "universal_checkpoint_info",
          UniversalCheckpointInfo(model, version: settings.deepSpeedVersion).value
        ),
        ("args", state.arguments(tp: tp, pp: pp, dp: dp, deepSpeedConfiguration: configuration)),
        ("checkpoint_version", .float(3)),
        ("iteration", .int(state.training.iteration)),
        ("tokens", .int(state.training.tokens)),
        ("rng_state", state.randomState(tp: tp, pp: pp, dp: dp, parameters: optimizer.parameters)),
      ])
  }

  private var hasRotaryFrequencies: Bool {
    layout.engine == .noPipeline && model.flavor.registersRotaryFrequencies
      && model.table.architecture.positions != .learned
  }

  /// The nested dictionaries of `GPTModel.state_dict_for_save_checkpoint` (MDS `megatron/model/language_model.py`:
  /// `TransformerLanguageModel.state_dict_for_save_checkpoint`). At stage 3 the parameters are elsewhere, and the tensors empty.
  private func module() -> PickleValue {
    func tensors(_ module: MegatronModule, prefix: String = "") -> [(String, PickleValue)] {
      model.parameters(of: module, tp: tp).map { parameter in
        let tensor = layout.zeroStage == 3 ? TensorExpression.zeros([0], layout.dtype) : parameter.tensor
        return (prefix + parameter.name, .tensor(tensor, requiresGrad: false))
      }
    }
    /// `word_embeddings.weight` as `weight` in a dictionary of the embedding's own.
    let embeddings = tensors(.embedding).map { name, tensor in
      let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
      return (parts[0], PickleValue.orderedDict([(parts[1], tensor)]))
    }
    let encoder =
      (0..<model.configuration.layers).flatMap { tensors(.layer($0), prefix: "layers.\($0).") }
      + tensors(.finalNorm, prefix: "final_layernorm.")
    var languageModel: [(String, PickleValue)] = [
      ("embedding", .dict(embeddings)),
      ("encoder", .orderedDict(encoder)),
    ]
    if !model.isTied {
      let head = tensors(.outputLayer).map { ($0.dropping(prefix: "lm_head.") ?? $0, $1) }
      languageModel.append(("output_layer", .orderedDict(head)))
    }
    return .dict(["language_model": .dict(languageModel)])
  }
}
