import Bytes
import HuggingFace
import Torch

/// Megatron-DeepSpeed as DeepSpeed's client (MDS `megatron/checkpointing.py`: `save_checkpoint`).
struct MegatronClient: CheckpointClient {
  let state: MegatronEntries
  let settings: OptimizerSettings
  let isUniversal: Bool

  var model: MegatronModel { state.model }
  var run: RunArguments { state.run }
  var layout: ParallelLayout { model.layout }
  var step: Int { state.training.globalSteps }
  var layoutName: LayoutName {
    var options = CheckpointOptions(layout, iteration: step)
    options.makeVocabSizeDivisibleBy = model.vocabulary.divisor
    options.vocabPadding = model.vocabulary.filling
    // The option exists for models with tied embeddings only.
    options.untieEmbeddingsAndOutputWeights = model.table.isTied ? !model.isTied : nil
    options.universalCheckpoint = isUniversal
    return LayoutName(options)
  }

  var summary: ModelSummary {
    let c = model.configuration
    return ModelSummary(
      type: c.modelType, layers: c.layers, hiddenSize: c.hiddenSize,
      vocabularySize: model.vocabulary.size, paddedVocabularySize: model.vocabulary.padded,
      isTied: model.isTied)
  }

  func groups(tp: Int, pp: Int) -> [ParameterGroup] {
    ParameterGroup.megatron(model.parameters(tp: tp, pp: pp), zeroStage: layout.zeroStage)
  }

  func modelState(_ optimizer: OptimizerState, tp: Int, pp: Int, dp: Int) -> PickleValue {
    ModelStatesFile(tp: tp, pp: pp, dp: dp, state: state, optimizer: optimizer).value()
  }

  /// DeepSpeed `runtime/pipe/module.py`: `ckpt_layer_path`. A tied embedding is in the first stage's file only; the last stage
  /// gets it by a broadcast after loading.
  func layerFiles(tp: Int, pp: Int) -> [(name: String, contents: @Sendable () -> PickleValue)] {
    guard layout.engine == .pipeline else { return [] }
    return model.geometry.modules(of: pp).filter { $0 != .embedding || pp == 0 }.map {
      module in
      (
        CheckpointNames.layer(model.geometry.pipelineIndex(module), tp: tp),
        {
          .orderedDict(
            model.parameters(of: module, tp: tp).map { ($0.name, .tensor($0.tensor, requiresGrad: false)) })
        }
      )
    }
  }

  var companions: [FileTree.Entry] {
    MegatronExtensionFiles(
      spec: model.table.architecture.spec, isGuarded: model.extensionUse == .guarded,
      facts: ArgumentFact.ofLauncher(model)
    ).entries
  }

  var needsCompanions: Bool { model.table.architecture.extensionNeed == .always }

  private var learningRateFile: FileTree.Entry {
    FileTree.Entry("lr_state_dict.yaml") { [state] in
      VirtualFile(
        "iteration: \(state.training.iteration)\nlr: \(state.run.double("lr").map { "\($0)" } ?? "null")\n")
    }
  }

  func ownFiles(tag: String) -> [FileTree.Entry] {
    [
      FileTree.Entry("latest_checkpointed_iteration.txt") { [state] in
        VirtualFile("\(state.training.iteration)")
      }
    ]
      + (model.flavor.hasLearningRateFile ? [learningRateFile] : [])
      + (isUniversal
        ? UniversalCheckpoint(state: state, settings: settings, tag: tag + "_universal").entries() : [])
  }
}
