import Bytes
import HuggingFace
import Torch

/// A script as DeepSpeed's client: `deepspeed.initialize(model=…, optimizer=torch.optim.AdamW(model.parameters()))` without a
/// scheduler, then `engine.save_checkpoint` without a client state. Or HF Trainer.
struct TransformersClient: CheckpointClient {
  let model: HuggingFaceModel
  let trainer: Trainer?
  let step: Int
  let settings: OptimizerSettings

  var layout: ParallelLayout { model.layout }
  var layoutName: LayoutName { LayoutName(CheckpointOptions(layout, iteration: step)) }

  var summary: ModelSummary {
    let file = model.configurationFile
    return ModelSummary(
      type: file.modelType, layers: file.layers, hiddenSize: file.hiddenSize,
      vocabularySize: file.vocabularySize, paddedVocabularySize: nil, isTied: !model.order.tied.isEmpty)
  }

  var loading: [String] {
    let adam = settings.adam
    let trained = settings.training.groups.first
    let (rate, decay) = (
      trained?["lr"]?.number ?? adam.baseLearningRate ?? adam.learningRate,
      trained?["weight_decay"]?.number ?? adam.weightDecay
    )
    let rates =
      "  its lr \(rate), weight_decay \(decay), betas \(adam.betas), eps \(adam.eps) "
      + "and clip_grad \(settings.clipGrad) come from the checkpoint: where the run has others, "
    return trainer == nil
      ? [
        "engine.load_checkpoint(MNT), with an optimizer of one group: torch.optim.AdamW(model.parameters())",
        rates + "set them in optimizer.param_groups after loading",
      ]
      : ["trainer.train(resume_from_checkpoint=MNT)", rates + "give --train-args"]
  }

  var warnings: [String] {
    let left =
      model.others == 0
      ? []
      : [
        "\(model.others) tensors of the model directory aren't in --parameter-order, and are left out as transformers leaves "
          + "them out."
      ]
    return model.sourceWarnings + left + stageZeroWarnings(weightsOnly: "load_module_only=True")
  }

  /// Trainer's, or the one that `torch.optim.AdamW(model.parameters())` makes.
  func groups(tp: Int, pp: Int) -> [ParameterGroup] {
    trainer?.groups(model.parameters, withoutWeightDecay: model.order.withoutWeightDecay ?? [])
      ?? [ParameterGroup(parameters: model.parameters)]
  }

  /// `module` is the module's `state_dict()`; at stage 3 the parameters are elsewhere, and their tensors empty.
  func modelState(_ optimizer: OptimizerState, tp: Int, pp: Int, dp: Int) -> PickleValue {
    let buffers = model.order.buffers
    let kept = Set(buffers)
    let module = model.stateDict.map { name, tensor in
      let isElsewhere = layout.zeroStage == 3 && !kept.contains(name)
      return (name, PickleValue.tensor(isElsewhere ? .zeros([0], layout.dtype) : tensor, requiresGrad: false))
    }
    let tied = model.order.stateDict.compactMap { name in model.order.tied[name].map { (name, $0) } }
    return .dict(
      EngineState(
        optimizer: optimizer, dp: dp, module: .orderedDict(module), bufferNames: buffers,
        sharedParameters: tied,
        learningRateScheduler: settings.training.schedule ?? trainer?.engineSchedule ?? .none
      ).members)
  }

  func layerFiles(tp: Int, pp: Int) -> [(name: String, contents: @Sendable () -> PickleValue)] { [] }

  func ownFiles(tag: String) -> [FileTree.Entry] { trainer?.files ?? [] }
}
