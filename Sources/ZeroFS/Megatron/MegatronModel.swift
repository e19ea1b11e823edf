/// A parameter of one model-parallel rank.
public struct MegatronParameter: Sendable {
  /// As in `named_parameters()` of the engine's model: `3.mlp.dense_4h_to_h.weight`,
  /// `language_model.encoder.layers.1.mlp.dense_4h_to_h.weight`.
  public let name: String
  /// In the dtype that the run trains in.
  public let tensor: TensorExpression
  /// The fp32 weight that the optimizer updates, of the same shape.
  public let master: TensorExpression

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
  private let masters: Masters
  private let weights: LlamaWeights

  /// Where the optimizer's fp32 weights come from.
  public enum Masters: String, Sendable, CaseIterable {
    /// The parameters, rounded to the run's dtype and widened again: what DeepSpeed makes of a model when it starts.
    case parameters
    /// The source, in all its precision: of use for an fp32 model in a bf16 or fp16 run.
    case source
  }

  /// - Throws: `ModelError`, `LayoutError`, `SourceError`.
  public init(
    _ directory: HuggingFaceDirectory, layout: ParallelLayout, vocabularyDivisor: Int = 128,
    vocabularyFilling: PaddedVocabulary.Filling = .zero, untie: Bool = false,
    masters: Masters = .parameters
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
        c.heads.isMultiple(of: $0) && c.keyValueHeads.isMultiple(of: $0)
          && c.intermediateSize.isMultiple(of: $0)
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
    self.masters = masters
    weights = try LlamaWeights(directory)
  }

  /// The parameters of `module`, relative to it, in `named_parameters()` order.
  func parameters(of module: MegatronModule, tp: Int) -> [MegatronParameter] {
    weights.parameters(of: module, tp: tp, size: layout.tp, vocabulary: vocabulary).map(parameter)
  }

  private func parameter(_ name: String, _ source: TensorExpression) -> MegatronParameter {
    let tensor = source.cast(to: layout.dtype)
    return MegatronParameter(
      name: name, tensor: tensor, master: (masters == .source ? source : tensor).cast(to: .float32))
  }

  /// Every parameter whole, over all tensor-parallel ranks and pipeline stages, without vocabulary padding.
  func wholeParameters() -> [MegatronParameter] {
    PipelinePartition(layers: configuration.layers, stages: 1).modules(of: 0, tied: isTied).flatMap {
      module in
      weights.parameters(of: module, tp: 0, size: 1, vocabulary: PaddedVocabulary(unpadded: vocabulary.size))
        .map {
          parameter(qualifiedName(module, $0.name), $0.tensor)
        }
    }
  }

  /// The parameters of one rank, in `named_parameters()` order.
  public func parameters(tp: Int, pp: Int) -> [MegatronParameter] {
    partition.modules(of: pp, tied: isTied).flatMap { module in
      parameters(of: module, tp: tp).map {
        MegatronParameter(name: qualifiedName(module, $0.name), tensor: $0.tensor, master: $0.master)
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
