/// A script as DeepSpeed's client: `deepspeed.initialize(model=…, optimizer=torch.optim.AdamW(model.parameters()))` without a
/// scheduler, then `engine.save_checkpoint` without a client state.
struct TransformersClient: CheckpointClient {
  let model: HuggingFaceModel
  let step: Int
  let settings: OptimizerSettings

  var layout: ParallelLayout { model.layout }
  var layoutName: LayoutName { LayoutName(self) }

  var summary: ModelSummary {
    let file = model.configurationFile
    return ModelSummary(
      type: file.modelType, layers: file.layers, hiddenSize: file.hiddenSize,
      vocabularySize: file.vocabularySize, paddedVocabularySize: nil, isTied: !model.order.tied.isEmpty)
  }

  var loading: [String] {
    [
      "engine.load_checkpoint(MNT), with an optimizer of one group: torch.optim.AdamW(model.parameters())",
      "  its lr \(settings.initialLearningRate), weight_decay \(settings.initialWeightDecay), betas \(settings.betas) and eps "
        + "\(settings.eps) come from the checkpoint: where the run has others, set them in optimizer.param_groups after loading",
    ]
  }

  var warnings: [String] {
    let left =
      model.others == 0
      ? []
      : [
        "\(model.others) tensors of the model directory aren't in --parameter-order, and are left out as transformers leaves "
          + "them out."
      ]
    return left + stageZeroWarnings(weightsOnly: "load_module_only=True")
  }

  /// One group, as `torch.optim.AdamW(model.parameters())` makes it.
  func groups(tp: Int, pp: Int) -> [ParameterGroup] {
    [ParameterGroup(megatron: nil, parameters: model.parameters)]
  }

  /// `module` is the module's `state_dict()`; at stage 3 the parameters are elsewhere, and their tensors empty.
  func modelState(tp: Int, pp: Int, dp: Int) -> PickleValue {
    let buffers = model.order.buffers
    let kept = Set(buffers)
    let module = model.stateDict.map { name, tensor in
      let isElsewhere = layout.zeroStage == 3 && !kept.contains(name)
      return (name, PickleValue.tensor(isElsewhere ? .zeros([0], layout.dtype) : tensor, requiresGrad: false))
    }
    let tied = model.order.stateDict.compactMap { name in model.order.tied[name].map { (name, $0) } }
    return .dict(
      EngineState(
        layout: layout, settings: settings, groups: groups(tp: tp, pp: pp), dp: dp, step: step,
        module: .orderedDict(module), bufferNames: buffers, sharedParameters: tied,
        learningRateScheduler: .none
      ).members)
  }

  func layerFiles(tp: Int, pp: Int) -> [(name: String, contents: @Sendable () -> PickleValue)] { [] }

  func ownFiles(tag: String) -> [FileTree.Entry] { [] }
}
