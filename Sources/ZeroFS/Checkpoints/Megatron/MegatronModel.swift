import Bytes
import HuggingFace

/// The model as a run with a given layout holds it.
package struct MegatronModel: Sendable {
  package let configuration: ModelConfiguration
  package let layout: ParallelLayout
  package let vocabulary: PaddedVocabulary
  /// Whether the output layer shares the embedding's parameter (no `--untie-embeddings-and-output-weights`).
  package let isTied: Bool
  let partition: PipelinePartition
  /// The fork that saves it.
  package let flavor: MegatronFlavor
  private let masters: Parameter.Masters
  private let weights: LlamaWeights
  /// What the model directory says twice, or holds beside the model.
  let sourceWarnings: [String]

  /// - Throws: `ModelError`, `LayoutError`, `SourceError`.
  package init(
    _ directory: HuggingFaceDirectory, layout: ParallelLayout, vocabularyDivisor: Int = 128,
    vocabularyFilling: PaddedVocabulary.Filling = .zero, untie: Bool = false,
    masters: Parameter.Masters = .parameters, flavor: MegatronFlavor = .alcf
  ) throws {
    let c = try directory.configuration
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
    if flavor.splitsAttentionInThirds && c.heads != c.keyValueHeads {
      throw ModelError.unsupported(
        feature: "grouped-query attention (\(c.heads) heads, \(c.keyValueHeads) key-value heads)",
        why:
          "upstream's attention since FPDT (--flavor upstream-fpdt) cuts its fused weight in thirds, which fails. "
          + "Run upstream of before #441 (--flavor upstream), or the ALCF fork (--flavor alcf).",
        path: directory.path + "/config.json")
    }
    if layout.sp > 1 && layout.modelParallelSize > 1 { throw LayoutError.sequenceParallel(sp: layout.sp) }
    guard layout.pp <= c.layers else { throw LayoutError.pipelineParallel(pp: layout.pp, layers: c.layers) }
    configuration = c
    sourceWarnings = c.warnings + directory.warnings(servedAs: layout.dtype)
    self.layout = layout
    vocabulary = PaddedVocabulary(
      size: c.vocabSize, divisor: vocabularyDivisor, tp: layout.tp, filling: vocabularyFilling)
    isTied = c.tieWordEmbeddings && !untie
    partition = PipelinePartition(layers: c.layers, stages: layout.pp)
    self.masters = masters
    self.flavor = flavor
    weights = try LlamaWeights(directory, c, splitsAttentionInThirds: flavor.splitsAttentionInThirds)
  }

  /// Whether the files hold an output layer although the model is tied. It isn't served.
  var leavesOutOutputLayer: Bool { weights.leavesOutOutputLayer }

  /// The parameters of `module`, relative to it, in `named_parameters()` order.
  func parameters(of module: MegatronModule, tp: Int) -> [Parameter] {
    weights.parameters(of: module, tp: tp, size: layout.tp, vocabulary: vocabulary).map(parameter)
  }

  private func parameter(_ name: String, _ source: TensorExpression) -> Parameter {
    Parameter(name: name, source: source, dtype: layout.dtype, masters: masters)
  }

  /// Every parameter whole, over all tensor-parallel ranks and pipeline stages, without vocabulary padding.
  func wholeParameters() -> [Parameter] {
    PipelinePartition(layers: configuration.layers, stages: 1).modules(of: 0, tied: isTied).flatMap {
      module in
      weights.parameters(of: module, tp: 0, size: 1, vocabulary: PaddedVocabulary(unpadded: vocabulary.size))
        .map {
          parameter(qualifiedName(module, $0.name), $0.tensor)
        }
    }
  }

  /// The parameters of one rank, in `named_parameters()` order.
  package func parameters(tp: Int, pp: Int) -> [Parameter] {
    partition.modules(of: pp, tied: isTied).flatMap { module in
      parameters(of: module, tp: tp).map {
        Parameter(name: qualifiedName(module, $0.name), tensor: $0.tensor, master: $0.master)
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
