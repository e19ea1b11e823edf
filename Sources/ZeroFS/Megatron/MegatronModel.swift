/// A parameter of one model-parallel rank.
public struct MegatronParameter: Sendable {
  /// As in `named_parameters()` of the engine's model: `3.mlp.dense_4h_to_h.weight`,
  /// `language_model.encoder.layers.1.mlp.dense_4h_to_h.weight`.
  public let name: String
  /// In the dtype that the run trains in.
  public let tensor: TensorExpression

  /// Exempt from weight decay (MDS `megatron/optimizer/__init__.py`: `get_param_groups`): biases and everything 1-D.
  var isWithoutWeightDecay: Bool { name.hasSuffix(".bias") || tensor.shape.count == 1 }
}

/// The model as a run with a given layout holds it.
public struct MegatronModel: Sendable {
  public let configuration: ModelConfiguration
  public let layout: ParallelLayout
  public let vocabulary: PaddedVocabulary
  /// Whether the output layer shares the embedding's parameter (no `--untie-embeddings-and-output-weights`).
  public let isTied: Bool
  let partition: PipelinePartition
  private let weights: LlamaWeights

  /// - Throws: `ModelError`, `LayoutError`, `SourceError`.
  public init(
    _ directory: HuggingFaceDirectory, layout: ParallelLayout, vocabularyDivisor: Int = 128,
    vocabularyFilling: PaddedVocabulary.Filling = .zero, untie: Bool = false
  ) throws {
    let c = directory.configuration
    guard let family = ModelFamily(modelType: c.modelType) else {
      throw ModelError.unknownModelType(c.modelType, path: directory.path)
    }
    try family.check(c, path: directory.path + "/config.json")
    guard vocabularyDivisor >= 1 && vocabularyDivisor < 1 << 24 else {
      throw LayoutError.vocabularyDivisor(vocabularyDivisor)
    }
    if untie && !c.tieWordEmbeddings { throw LayoutError.alreadyUntied }
    for (what, count) in [
      ("attention heads", c.heads), ("key-value heads", c.keyValueHeads), ("FFN columns", c.intermediateSize),
    ] where !count.isMultiple(of: layout.tp) {
      let allowed = (1...c.keyValueHeads).filter {
        c.heads.isMultiple(of: $0) && c.keyValueHeads.isMultiple(of: $0) && c.intermediateSize.isMultiple(of: $0)
      }
      throw LayoutError.tensorParallel(tp: layout.tp, what: what, count: count, allowed: allowed)
    }
    guard layout.pp <= c.layers else { throw LayoutError.pipelineParallel(pp: layout.pp, layers: c.layers) }
    configuration = c
    self.layout = layout
    vocabulary = PaddedVocabulary(
      size: c.vocabSize, divisor: vocabularyDivisor, tp: layout.tp, filling: vocabularyFilling)
    isTied = c.tieWordEmbeddings && !untie
    partition = PipelinePartition(layers: c.layers, stages: layout.pp)
    weights = try LlamaWeights(directory)
  }

  /// The parameters of `module`, relative to it, in `named_parameters()` order.
  func parameters(of module: MegatronModule, tp: Int) -> [MegatronParameter] {
    weights.parameters(of: module, tp: tp, size: layout.tp, vocabulary: vocabulary).map {
      MegatronParameter(name: $0.name, tensor: $0.tensor.cast(to: layout.dtype))
    }
  }

  /// The parameters of one rank, in `named_parameters()` order.
  public func parameters(tp: Int, pp: Int) -> [MegatronParameter] {
    partition.modules(of: pp, tied: isTied).flatMap { module in
      parameters(of: module, tp: tp).map {
        MegatronParameter(name: qualifiedName(module, $0.name), tensor: $0.tensor)
      }
    }
  }

  /// The number of a module in the pipeline engine's list of layers, which starts with `_to_float16`
  /// (MDS `megatron/model/gpt_model.py`: `GPTModelPipe.__init__`).
  func pipelineIndex(_ module: MegatronModule) -> Int {
    switch module {
    case .embedding: 1
    case .layer(let index): index + 2
    case .finalNorm: configuration.layers + 2
    case .outputLayer: configuration.layers + 3
    }
  }

  private func qualifiedName(_ module: MegatronModule, _ name: String) -> String {
    switch (layout.engine, module) {
    case (.pipeline, .embedding) where isTied: "tied_modules.embed." + name
    case (.pipeline, _): "\(pipelineIndex(module))." + name
    case (.noPipeline, .embedding): "language_model.embedding." + name
    case (.noPipeline, .layer(let index)): "language_model.encoder.layers.\(index)." + name
    case (.noPipeline, .finalNorm): "language_model.encoder.final_layernorm." + name
    // GPTModelPipe calls the module lm_head, TransformerLanguageModel output_layer.
    case (.noPipeline, .outputLayer): "language_model.output_layer.weight"
    }
  }
}
