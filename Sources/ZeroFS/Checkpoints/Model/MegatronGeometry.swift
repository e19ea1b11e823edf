import Bytes
import HuggingFace

/// The parameters of each rank of a run: names, shapes and how they are cut, for one layout. No sources.
package struct MegatronGeometry: Sendable {
  let table: ParameterTable
  package let layout: ParallelLayout
  package let vocabulary: PaddedVocabulary
  /// Whether the output layer shares the embedding's parameter (no `--untie-embeddings-and-output-weights`).
  package let isTied: Bool

  var configuration: ModelConfiguration { table.configuration }
  var partition: PipelinePartition { PipelinePartition(layers: configuration.layers, stages: layout.pp) }
  var parallelism: TensorParallelism {
    TensorParallelism(size: layout.tp, keyValueHeads: configuration.keyValueHeads, vocabulary: vocabulary)
  }

  /// - Throws: `LayoutError` where the model can't be cut so.
  init(_ table: ParameterTable, layout: ParallelLayout, vocabulary: PaddedVocabulary, isTied: Bool)
    throws(LayoutError)
  {
    (self.table, self.layout, self.vocabulary, self.isTied) = (table, layout, vocabulary, isTied)
    let units = table.units
    for unit in units where !unit.count.isMultiple(of: layout.tp) {
      let allowed = (1...table.configuration.keyValueHeads).filter { size in
        units.allSatisfy { $0.count.isMultiple(of: size) }
      }
      throw .tensorParallel(tp: layout.tp, what: unit.name, count: unit.count, allowed: allowed)
    }
    if table.architecture.spec.hasHeadBias {
      if isTied { throw .tiedHeadBias }
      if layout.zeroStage == 3 { throw .headBiasAtStage3 }
    }
    if layout.sp > 1 && layout.modelParallelSize > 1 { throw .sequenceParallel(sp: layout.sp) }
    let layers = table.configuration.layers
    guard layout.pp <= layers else { throw .pipelineParallel(pp: layout.pp, layers: layers) }
  }

  /// The modules of a stage, each with its entries of the table.
  func modules(of pp: Int) -> [MegatronModule] { partition.modules(of: pp, tied: isTied) }

  /// Of all stages.
  var allModules: [MegatronModule] {
    PipelinePartition(layers: configuration.layers, stages: 1).modules(of: 0, tied: isTied)
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

  /// What stands in front of the names of a module's parameters in `named_parameters()` of the engine's model.
  func prefix(of module: MegatronModule) -> String {
    switch (layout.engine, module) {
    case (.pipeline, .embedding) where isTied: "tied_modules.embed."
    case (.pipeline, _): "\(pipelineIndex(module))."
    case (.noPipeline, .embedding): "language_model.embedding."
    case (.noPipeline, .layer(let index)): "language_model.encoder.layers.\(index)."
    case (.noPipeline, .finalNorm): "language_model.encoder.final_layernorm."
    case (.noPipeline, .outputLayer): "language_model."
    }
  }

  /// The name of a parameter, relative to the engine's model.
  func qualifiedName(_ module: MegatronModule, _ name: String) -> String {
    // GPTModelPipe calls the module lm_head, TransformerLanguageModel output_layer.
    let isRenamed = layout.engine == .noPipeline && module == .outputLayer
    return prefix(of: module) + (isRenamed ? name.replacing("lm_head.", with: "output_layer.") : name)
  }

  /// Names, as in `named_parameters()`, and shapes of one rank, in order.
  func parameters(tp: Int, pp: Int) -> [(name: String, shape: [Int])] {
    modules(of: pp).flatMap { module in
      table.entries(of: module).map { (qualifiedName(module, $0.name), $0.sharding.shape(parallelism)) }
    }
  }
}
