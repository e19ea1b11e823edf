import HuggingFace

/// A family of models: what transformers calls its modules, in which order it registers them, and what they are in MDS's GPT
/// model. A value in a file of its own (`Families/`), from which everything else follows: the tensors and their shapes, how
/// tensor-parallel ranks share them, MDS's arguments, the order of `--flavor hf`, and what is refused.
package struct ModelFamily: Sendable {
  /// A module with a weight (transformers `models/<family>/modeling_<family>.py`).
  struct Module: Sendable {
    /// As an attribute: `self_attn.q_proj`; of a layer without the layer's own name in front.
    let name: String
    let role: Role
    let bias: Bias
    /// Whether the weight is stored `[in, out]`, as transformers' `Conv1D` has it, and not `[out, in]`.
    let isTransposed: Bool
    /// In the files, where transformers renames it.
    fileprivate(set) var stored: String
    /// Rows in front of the table that are no positions.
    let unusedRows: Int

    init(
      _ name: String, _ role: Role, bias: Bias = .none, isTransposed: Bool = false, stored: String? = nil,
      unusedRows: Int = 0
    ) {
      (self.name, self.role, self.bias, self.isTransposed) = (name, role, bias, isTransposed)
      (self.stored, self.unusedRows) = (stored ?? name, unusedRows)
    }

    /// With `prefix` in front of its name.
    func within(_ prefix: String) -> Module {
      Module(
        prefix + name, role, bias: bias, isTransposed: isTransposed, stored: prefix + stored,
        unusedRows: unusedRows)
    }
  }

  /// Whether a module has a bias.
  enum Bias: Sendable {
    case none
    case always
    /// As a member of the configuration says; where it says no, as the files have it all the same.
    case configured(@Sendable (ModelConfiguration) -> Bool)

    var isAlways: Bool { if case .always = self { true } else { false } }

    /// Whether the configuration gives the module a bias.
    func isIn(_ configuration: ModelConfiguration) -> Bool {
      switch self {
      case .none: false
      case .always: true
      case .configured(let says): says(configuration)
      }
    }

    /// Whether the files may have a bias that the configuration doesn't give the module.
    func mayBeUnconfigured(in configuration: ModelConfiguration) -> Bool {
      if case .configured(let says) = self { !says(configuration) } else { false }
    }

    static let attentionBias = Bias.configured(\.attentionBias)
    static let mlpBias = Bias.configured(\.mlpBias)
  }

  /// `model_type` of `config.json`.
  let modelTypes: [String]
  /// Public models of the family, for people.
  let models: String
  /// What its configuration class reads.
  package let keys: ConfigurationKeys
  /// Whether the code is in model directories, and not in transformers: names and defaults are those of the published ones.
  let isRemoteCode: Bool
  let normalization: Architecture.Normalization
  /// Modules in front of the layers, in the order in which they are registered, which is that of `named_parameters()`.
  private(set) var embeddings: [Module]
  /// In front of a layer's number: `model.layers.`.
  let layers: String
  /// The modules of each layer.
  let layer: [Module]
  /// Behind the layers; the output layer comes last.
  let head: [Module]
  /// What MDS has to compute beside what follows from modules and configuration.
  ///
  /// - Throws: for a feature that MDS lacks.
  let refine: @Sendable (ModelConfiguration, inout Architecture) throws(Refusal) -> Void
  /// The family with the modules that a configuration has, where those differ; it may correct what of the configuration counts.
  private let variant: (@Sendable (inout ModelConfiguration) -> ModelFamily)?

  /// A feature of a model that can't be expressed, and what to do: the model's path is added by whoever knows it.
  package struct Refusal: Error {
    let feature: String
    let why: String
    init(_ feature: String, _ why: String) { (self.feature, self.why) = (feature, why) }

    /// A feature that MDS has no code for.
    static func lacks(_ feature: String, _ what: String) -> Refusal {
      Refusal(feature, "MDS has no \(what). --flavor hf trains the model as it is.")
    }
  }

  init(
    _ modelTypes: String..., models: String, keys: ConfigurationKeys, isRemoteCode: Bool = false,
    normalization: Architecture.Normalization = .rmsNorm,
    embeddings: [Module] = [Module("model.embed_tokens", .wordEmbeddings)], layers: String = "model.layers.",
    layer: [Module],
    head: [Module] = [Module("model.norm", .finalNorm), Module("lm_head", .outputLayer)],
    variant: (@Sendable (inout ModelConfiguration) -> ModelFamily)? = nil,
    refine: @escaping @Sendable (ModelConfiguration, inout Architecture) throws(Refusal) -> Void = { _, _ in }
  ) {
    self.variant = variant
    (self.modelTypes, self.models) = (modelTypes, models)
    (self.keys, self.isRemoteCode) = (keys, isRemoteCode)
    (self.normalization, self.embeddings, self.layers) = (normalization, embeddings, layers)
    (self.layer, self.head, self.refine) = (layer, head, refine)
  }

  /// The family of a `model_type`; `nil` where there is none.
  package init?(modelType: String) {
    guard let family = ModelFamily.all.first(where: { $0.modelTypes.contains(modelType) }) else { return nil }
    self = family
  }

  /// What the configuration class of a `model_type` reads, served or not; `nil` where that isn't known.
  package static func keys(of modelType: String) -> ConfigurationKeys? {
    ModelFamily(modelType: modelType)?.keys ?? ConfigurationKeys.of(modelType: modelType)
  }

  /// Whether the MLP multiplies by a gate.
  var isGated: Bool { layer.contains { $0.role.parts.contains(.gate) } }

  /// Whether transformers reads how much of each head is rotated.
  var rotatesPartially: Bool {
    switch keys.rope {
    case .standard(_, let factor): factor != nil
    case .phi3, .neox, .rotaryDim: true
    case .none, .perLayerType: false
    }
  }

  /// In the files.
  var outputLayer: String { (head.last?.stored ?? "lm_head") + ".weight" }
  var wordEmbeddings: String { embeddings[0].stored + ".weight" }

  /// The family, where the files hold the one tensor of tied embeddings as that of the output layer (transformers
  /// `modeling_utils.py`: `tie_weights` fills either from the other).
  func withEmbedding(isTied: Bool, holds: (_ tensor: String) -> Bool) -> ModelFamily {
    guard isTied, !holds(wordEmbeddings), holds(outputLayer) else { return self }
    var family = self
    family.embeddings[0].stored = head[head.count - 1].stored
    return family
  }

  /// Every module in the order in which transformers registers it, with its whole name; the output layer comes last.
  func modules(layers count: Int) -> [Module] {
    embeddings + (0..<count).flatMap { index in layer.map { $0.within("\(layers)\(index).") } } + head
  }

  /// What old checkpoints hold and every implementation computes: rotary frequencies, and causal masks of GPT-2's kin.
  fileprivate static func isComputed(_ tensor: String) -> Bool {
    [
      "rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
    ].contains(where: tensor.hasSuffix)
  }

  /// What MDS has to compute.
  ///
  /// - Parameters:
  ///   - isTied: whether the output layer is the embedding, in the run.
  ///   - sequenceLength: the run's, in tokens; `nil` where that isn't known.
  /// - Throws: for a feature that MDS and the extension lack.
  func architecture(of c: ModelConfiguration, isTied: Bool, sequenceLength: Int?) throws(Refusal)
    -> Architecture
  {
    var architecture = try Architecture(self, c, isTied: isTied)
    try refine(c, &architecture)
    architecture.spec.hasHeadBias = head.contains { $0.role == .outputLayer && $0.bias.isAlways }
    architecture.settle(c, sequenceLength: sequenceLength)
    return architecture
  }

  /// The configuration of a model of this family, and the family with the modules that the model has.
  ///
  /// - Throws: `SourceError` for a configuration that can't be read.
  func configured(by file: ConfigurationFile) throws(SourceError) -> (ModelFamily, ModelConfiguration) {
    var c = try ModelConfiguration(file, keys: keys)
    return (variant?(&c) ?? self, c)
  }
}

extension HuggingFaceDirectory {
  /// The tensors that a model has no place for: neither what every implementation computes, nor
  /// integers, which no run trains.
  func foreignTensors(besides known: Set<String>) -> [String] {
    tensorNames.filter { !known.contains($0) && !ModelFamily.isComputed($0) && holdsWeights($0) }
  }
}
