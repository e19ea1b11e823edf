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

    init(_ name: String, _ role: Role, bias: Bias = .none, isTransposed: Bool = false) {
      (self.name, self.role, self.bias, self.isTransposed) = (name, role, bias, isTransposed)
    }
  }

  /// Whether a module has a bias.
  enum Bias: Sendable {
    case none
    case always
    /// As a member of the configuration says, or where that is missing, as the files have it.
    case configured(@Sendable (ModelConfiguration) -> Bool?)

    /// As the files have it.
    static let stored = Bias.configured { _ in nil }
  }

  /// `model_type` of `config.json`.
  let modelTypes: [String]
  /// Modules in front of the layers, in the order in which they are registered, which is that of `named_parameters()`.
  let embeddings: [Module]
  /// In front of a layer's number: `model.layers.`.
  var layers = "model.layers."
  /// The modules of each layer.
  let layer: [Module]
  /// Behind the layers; the output layer comes last.
  let head: [Module]
  /// What MDS has to compute.
  ///
  /// - Throws: `ModelError.unsupported` for a feature that MDS lacks.
  let architecture: @Sendable (ModelConfiguration) throws(Refusal) -> Architecture

  /// A feature of a model that can't be expressed, and what to do: the model's path is added by whoever knows it.
  package struct Refusal: Error {
    let feature: String
    let why: String
    init(_ feature: String, _ why: String) { (self.feature, self.why) = (feature, why) }
  }

  /// All families, in the order in which they are listed.
  static let all: [ModelFamily] = [.llama, .mistral, .qwen2, .qwen3, .gpt2]

  /// The family of a `model_type`; `nil` where there is none.
  init?(modelType: String) {
    guard let family = ModelFamily.all.first(where: { $0.modelTypes.contains(modelType) }) else { return nil }
    self = family
  }

  init(
    _ modelTypes: String..., embeddings: [Module], layers: String = "model.layers.", layer: [Module],
    head: [Module],
    architecture: @escaping @Sendable (ModelConfiguration) throws(Refusal) -> Architecture
  ) {
    (self.modelTypes, self.embeddings, self.layers, self.layer) = (modelTypes, embeddings, layers, layer)
    (self.head, self.architecture) = (head, architecture)
  }

  /// Every module in the order in which transformers registers it, with its whole name; the output layer comes last.
  func modules(layers count: Int) -> [Module] {
    embeddings
      + (0..<count).flatMap { index in
        layer.map {
          Module("\(layers)\(index).\($0.name)", $0.role, bias: $0.bias, isTransposed: $0.isTransposed)
        }
      } + head
  }
}
