import HuggingFace

/// The parameters of MDS's GPT model, by module, in `named_parameters()` order, and of which tensors of the files each is made:
/// geometry without sources, for every layout alike.
package struct ParameterTable: Sendable {
  /// A parameter, named relative to its module, as in a pipeline layer file.
  struct Entry: Sendable {
    let name: String
    let sharding: Sharding
    /// Whether the extension adds it.
    var isAdded = false
  }

  let configuration: ModelConfiguration
  let family: ModelFamily
  /// Whether the embedding is the output layer of the model in the files, too.
  var isTied: Bool
  /// Rows of embedding and output layer: the model's, or those of a vocabulary that has grown.
  var vocabularyRows: Int
  let architecture: Architecture
  /// Whether linear layers have biases: one switch for all (`--disable-bias-linear` turns it off).
  let hasLinearBias: Bool
  /// Biases of a layer that are in the files although the configuration says that there are none.
  let unconfiguredBiases: [String]
  /// Modules, as the family names them, that have a bias in the files.
  private let biased: Set<String>
  /// Of upstream since FPDT: a rank's rows of the fused attention weight are its queries, its keys, its values.
  private let splitsAttentionInThirds: Bool

  /// - Parameters:
  ///   - untie: whether a tied model is served untied.
  ///   - sequenceLength: the run's, in tokens; `nil` where that isn't known.
  ///   - holds: whether the files have a tensor of this name.
  /// - Throws: `ModelFamily.Refusal`.
  init(
    _ family: ModelFamily, _ configuration: ModelConfiguration, isTied: Bool,
    untie: Bool = false, splitsAttentionInThirds: Bool = false, sequenceLength: Int? = nil,
    holds: (_ tensor: String) -> Bool
  ) throws(ModelFamily.Refusal) {
    (self.family, self.configuration, self.isTied) = (family, configuration, isTied)
    self.splitsAttentionInThirds = splitsAttentionInThirds
    vocabularyRows = configuration.vocabSize
    architecture = try family.architecture(
      of: configuration, isTied: isTied && !untie, sequenceLength: sequenceLength)
    var unconfigured: [String] = []
    func hasBias(_ module: ModelFamily.Module, prefix: String) -> Bool {
      if module.bias.isIn(configuration) { return true }
      guard module.bias.mayBeUnconfigured(in: configuration), holds("\(prefix)\(module.stored).bias") else {
        return false
      }
      unconfigured.append("\(module.name).bias")
      return true
    }
    // Layers are alike: the first one tells.
    let ofLayer = family.layer.filter { hasBias($0, prefix: "\(family.layers)0.") }
    biased = Set(
      ofLayer.map(\.name) + (family.embeddings + family.head).filter { hasBias($0, prefix: "") }.map(\.name))
    hasLinearBias = ofLayer.contains { $0.role.isLinearOfLayer }
    unconfiguredBiases = unconfigured
  }

  func entries(of module: MegatronModule) -> [Entry] {
    switch module {
    case .embedding:
      [
        Entry(
          name: "word_embeddings.weight",
          sharding: .vocabulary(content(.wordEmbeddings, "weight", in: module)))
      ]
        + (architecture.positions == .learned
          ? [
            Entry(
              name: "position_embeddings.weight",
              sharding: .replicated(content(.positionEmbeddings, "weight", in: module)))
          ] : [])
    case .layer: attention(in: module) + mlp(in: module)
    case .finalNorm: norm("", .finalNorm, in: module)
    case .outputLayer:
      [Entry(name: "lm_head.weight", sharding: .vocabulary(content(.outputLayer, "weight", in: module)))]
        + (spec.hasHeadBias
          ? [
            Entry(
              name: "lm_head.bias", sharding: .vocabulary(content(.outputLayer, "bias", in: module)),
              isAdded: true)
          ] : [])
    }
  }

  private var spec: ExtensionSpec { architecture.spec }

  /// Every tensor of the files that a parameter is made of.
  var tensors: [HFTensor] {
    PipelinePartition(layers: configuration.layers, stages: 1).modules(of: 0, tied: isTied).flatMap(entries)
      .flatMap(\.sharding.contents).compactMap { if case .stored(let tensor) = $0 { tensor } else { nil } }
  }

  /// What TP must divide, of the whole model; each once.
  var units: [Sharding.Unit] {
    var units: [Sharding.Unit] = [heads]
    for unit in entries(of: .layer(0)).flatMap({
      $0.sharding.units(keyValueHeads: configuration.keyValueHeads)
    })
    where !units.contains(unit) { units.append(unit) }
    return units
  }

  // MARK: - Of a layer

  private func attention(in module: MegatronModule) -> [Entry] {
    (spec.block == .post ? [] : norm("input_layernorm.", .inputNorm, in: module))
      + linear("self_attention.query_key_value.") { attention($0, in: module) }
      + linear("self_attention.dense.") { rowParallel(.dense, $0, of: heads, in: module) }
      + queryKeyNorms(in: module)
      + outputNorm("self_attention.output_layernorm.weight", .attentionOutputNorm, in: module)
  }

  private func mlp(in module: MegatronModule) -> [Entry] {
    let hasNorm = spec.block != .post && spec.block != .parallelOneNorm
    return (hasNorm ? norm("post_attention_layernorm.", .postAttentionNorm, in: module) : [])
      + linear("mlp.dense_h_to_4h.") { .rows(projectionsUp($0, in: module), of: ffnColumns) }
      + linear("mlp.dense_4h_to_h.") { rowParallel(.down, $0, of: ffnColumns, in: module) }
      + outputNorm("mlp.output_layernorm.weight", .mlpOutputNorm, in: module)
  }

  /// zerofs_megatron/qk_norm.py: a norm of each head is the same on all ranks, one over all heads is cut like these.
  private func queryKeyNorms(in module: MegatronModule) -> [Entry] {
    guard let kind = spec.qkNorm else { return [] }
    return [("q", Role.queryNorm, heads), ("k", .keyNorm, keyValueHeads)].map { letter, role, unit in
      let content = content(role, "weight", in: module)
      return Entry(
        name: "self_attention.\(letter)_layernorm.weight",
        sharding: kind == .head ? .replicated(content) : .rows([content], of: unit), isAdded: true)
    }
  }

  /// zerofs_megatron/block.py.
  private func outputNorm(_ name: String, _ role: Role, in module: MegatronModule) -> [Entry] {
    guard spec.block == .post || spec.block == .sandwich else { return [] }
    return [Entry(name: name, sharding: .replicated(content(role, "weight", in: module)), isAdded: true)]
  }

  private func norm(_ name: String, _ role: Role, in module: MegatronModule) -> [Entry] {
    let suffixes = architecture.normalization == .layerNorm ? ["weight", "bias"] : ["weight"]
    return suffixes.map { Entry(name: name + $0, sharding: .replicated(content(role, $0, in: module))) }
  }

  private func linear(_ name: String, _ sharding: (_ suffix: String) -> Sharding) -> [Entry] {
    (hasLinearBias ? ["weight", "bias"] : ["weight"]).map { Entry(name: name + $0, sharding: sharding($0)) }
  }

  /// `RowParallelLinear`: each rank adds the whole bias to the sum over all (MDS `core/tensor_parallel/layers.py`).
  private func rowParallel(_ role: Role, _ suffix: String, of unit: Sharding.Unit, in module: MegatronModule)
    -> Sharding
  {
    let content = content(role, suffix, in: module)
    return suffix == "bias" ? .replicated(content) : .columns(content, of: unit)
  }

  private func attention(_ suffix: String, in module: MegatronModule) -> Sharding {
    if has(.groupedQueryKeyValue) {
      return .rows([content(.groupedQueryKeyValue, suffix, in: module)], of: keyValueHeads)
    }
    let parts = [Role.query, .key, .value].map { content($0, suffix, in: module) }
    return splitsAttentionInThirds
      ? .rows(parts, of: keyValueHeads) : .groups(query: parts[0], key: parts[1], value: parts[2])
  }

  private func projectionsUp(_ suffix: String, in module: MegatronModule) -> [Sharding.Content] {
    (family.isGated ? [Role.gate, .up] : [.up]).map { content($0, suffix, in: module) }
  }

  // MARK: - Contents

  private var queryRows: Int { configuration.heads * configuration.headDim }
  private var keyRows: Int { configuration.keyValueHeads * configuration.headDim }
  private var ffn: Int { configuration.intermediateSize }
  private var heads: Sharding.Unit { .init(name: "attention heads", count: configuration.heads) }
  private var keyValueHeads: Sharding.Unit {
    .init(name: "key-value heads", count: configuration.keyValueHeads)
  }
  private var ffnColumns: Sharding.Unit { .init(name: "FFN columns", count: ffn) }

  private func has(_ role: Role) -> Bool { family.layer.contains { $0.role == role } }

  /// `[out, in]` of a module's weight.
  private func shape(_ role: Role) -> [Int] {
    let hidden = configuration.hiddenSize
    return switch role {
    case .wordEmbeddings, .outputLayer: [vocabularyRows, hidden]
    case .positionEmbeddings: [configuration.maxPositionEmbeddings, hidden]
    case .finalNorm, .inputNorm, .postAttentionNorm, .attentionOutputNorm, .mlpOutputNorm: [hidden]
    case .query: [queryRows, hidden]
    case .key, .value: [keyRows, hidden]
    case .fusedQueryKeyValue, .groupedQueryKeyValue: [queryRows + 2 * keyRows, hidden]
    case .dense: [hidden, queryRows]
    case .gate, .up: [ffn, hidden]
    case .fusedGateUp: [2 * ffn, hidden]
    case .down: [hidden, ffn]
    case .queryNorm: [spec.qkNorm == .width ? queryRows : configuration.headDim]
    case .keyNorm: [spec.qkNorm == .width ? keyRows : configuration.headDim]
    }
  }

  /// The module that has the rows of `role`, and which of its own these are.
  private func place(of role: Role) -> (module: ModelFamily.Module, rows: Range<Int>)? {
    for module in family.embeddings + family.layer + family.head {
      if module.role == role { return (module, 0..<shape(role)[0]) }
      guard let index = module.role.parts.firstIndex(of: role) else { continue }
      let start = module.role.parts.prefix(index).reduce(0) { $0 + shape($1)[0] }
      return (module, start..<(start + shape(role)[0]))
    }
    return nil
  }

  /// The tensor of a module's `weight` or `bias`, or of a part of it; where transformers has none, what is equal to none.
  private func content(_ role: Role, _ suffix: String, in place: MegatronModule) -> Sharding.Content {
    let isBias = suffix == "bias"
    let stored = role == .outputLayer && isTied && !isBias ? .wordEmbeddings : role
    guard let (module, rows) = self.place(of: stored), !isBias || biased.contains(module.name) else {
      // A norm without a weight multiplies by 1.
      let shape = shape(role)
      return isBias ? .constant(0, shape: [shape[0]]) : .constant(1, shape: shape)
    }
    let prefix = if case .layer(let index) = place { "\(family.layers)\(index)." } else { "" }
    var folding = architecture.foldings[role] ?? .init()
    if isBias { folding.offset = 0 }
    var shape = shape(module.role)
    shape[0] += module.unusedRows
    return .stored(
      HFTensor(
        "\(prefix)\(module.stored).\(suffix)", shape: isBias ? [shape[0]] : shape,
        isTransposed: module.isTransposed,
        rows: (rows.lowerBound + module.unusedRows)..<(rows.upperBound + module.unusedRows),
        rotary: role.isRotated ? architecture.rotary : nil,
        folding: folding))
  }
}
