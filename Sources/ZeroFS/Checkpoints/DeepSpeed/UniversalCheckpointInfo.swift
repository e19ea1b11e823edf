import Bytes
import Torch

/// `universal_checkpoint_info`: what DeepSpeed's `ds_to_universal` must know of a model (MDS `megatron/model/gpt_model.py`:
/// `UniversalCheckpointInfo` of `GPTModel` and `GPTModelPipe`). Patterns are regular expressions over parameter names.
struct UniversalCheckpointInfo: Sendable {
  private let model: MegatronModel
  private let version: DeepSpeedVersion

  init(_ model: MegatronModel, version: DeepSpeedVersion) { (self.model, self.version) = (model, version) }

  private var isPipeline: Bool { model.layout.engine == .pipeline }

  var value: PickleValue {
    func strings(_ texts: [String]) -> PickleValue { .list(texts.map { .string($0) }) }
    var members: [(String, PickleValue)] = [
      ("universal_checkpoint_version", .float(version.universalCheckpointVersion)),
      ("original_vocab_size", .int(model.vocabulary.size)),
      ("padded_vocab_size", .int(model.vocabulary.padded)),
      ("vocabulary_parameter_patterns", strings(vocabulary)),
    ]
    if isPipeline {
      members.append(
        ("pipeline_replicated_parameter_patterns", strings(model.isTied ? vocabulary + positions : [])))
    }
    if model.layout.tp > 1 {
      members += [
        ("tp_replicated_parameter_patterns", strings(replicated)),
        // In the order of MDS's list.
        ("parameter_with_row_parallelism_patterns", strings(layer { $0.isCutByColumns }.reversed())),
      ]
    }
    members.append(("parameter_with_2_sub_params_cat_dim_0", strings(layer { $0.hasSubParameters })))
    return .dict(members)
  }

  /// Patterns of a layer's parameters that are cut so.
  ///
  /// - Parameter added: whether those of the extension are meant, and not MDS's own.
  private func layer(added: Bool = false, _ isMeant: (Sharding) -> Bool) -> [String] {
    let prefix = isPipeline ? "\\d+." : "language_model.encoder.layers.\\d+."
    return model.table.entries(of: .layer(0)).filter { $0.isAdded == added && isMeant($0.sharding) }.map {
      prefix + $0.name
    }
  }

  private func patterns(of module: MegatronModule, _ isMeant: (Sharding) -> Bool) -> [String] {
    let prefix =
      isPipeline && !(module == .embedding && model.isTied) ? "\\d+." : model.geometry.prefix(of: module)
    return model.table.entries(of: module).filter { isMeant($0.sharding) }.map { entry in
      isPipeline ? prefix + entry.name : model.geometry.qualifiedName(module, entry.name)
    }
  }

  private var vocabulary: [String] {
    let modules: [MegatronModule] = model.isTied ? [.embedding] : [.embedding, .outputLayer]
    return modules.flatMap { patterns(of: $0) { !$0.isReplicated && !$0.isVocabularyVector } }
  }

  /// MDS names the table of a tied embedding, whether it is tied or not.
  private var positions: [String] {
    model.table.entries(of: .embedding).filter(\.sharding.isReplicated).map {
      (isPipeline ? "tied_modules.embed." : model.geometry.prefix(of: .embedding)) + $0.name
    }
  }

  /// In MDS's order: norms' weights, the final norm, positions, linear layers' biases, norms' biases; then the extension's norms
  /// (zerofs_megatron/universal.py).
  private var replicated: [String] {
    let ofLayer = layer { $0.isReplicated }
    let biases = ofLayer.filter { $0.hasSuffix(".bias") }
    let isNorm = { (name: String) in name.hasSuffix("layernorm.bias") }
    return ofLayer.filter { $0.hasSuffix(".weight") } + patterns(of: .finalNorm) { $0.isReplicated }
      + positions
      + biases.filter { !isNorm($0) } + biases.filter(isNorm) + layer(added: true) { $0.isReplicated }
  }
}

extension Sharding {
  var isReplicated: Bool { if case .replicated = self { true } else { false } }
  fileprivate var isCutByColumns: Bool { if case .columns = self { true } else { false } }
  /// Several tensors in one, each cut by itself.
  fileprivate var hasSubParameters: Bool {
    if case .rows(let parts, _) = self { parts.count == 2 } else { false }
  }
}
