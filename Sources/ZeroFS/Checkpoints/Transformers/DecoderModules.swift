/// The modules of transformers' decoder families in the order in which they are registered, which is that of
/// `named_parameters()` (transformers `models/<family>/modeling_<family>.py`: `<Family>ForCausalLM`).
struct DecoderModules: Sendable {
  /// A module with a weight.
  struct Module: Sendable {
    let name: String
    let bias: Bias

    enum Bias: Sendable {
      case none
      case always
      /// As the configuration has it: where the source has one.
      case optional
    }

    /// An `nn.LayerNorm` whose name doesn't say so: GPT-2's.
    var isLayerNorm: Bool { name.split(separator: ".").last?.hasPrefix("ln_") == true }

    /// The weight, then the bias, as `nn.Linear`, `nn.LayerNorm` and `Conv1D` register them.
    var parameters: [(name: String, isOptional: Bool)] {
      [(name + ".weight", false)] + (bias == .none ? [] : [(name + ".bias", bias == .optional)])
    }
  }

  private let before: [Module]
  /// Of one layer, without `layerPrefix` and its number.
  private let layer: [Module]
  private let layerPrefix: String
  private let after: [Module]
  let isTiedByDefault: Bool

  /// The parameter that a tied output layer shares.
  var embedding: String { before[0].name + ".weight" }

  /// `nil` for a family whose order isn't known here.
  init?(modelType: String) {
    func module(_ name: String) -> Module { Module(name: name, bias: .none) }
    func biased(_ name: String) -> Module { Module(name: name, bias: .always) }
    func optional(_ name: String) -> Module { Module(name: name, bias: .optional) }
    let norms = [module("input_layernorm"), module("post_attention_layernorm")]
    let attention: [Module]
    switch modelType {
    case "llama":
      attention = ["q", "k", "v", "o"].map { optional("self_attn.\($0)_proj") }
    case "mistral":
      attention = ["q", "k", "v", "o"].map { module("self_attn.\($0)_proj") }
    case "qwen2":
      attention = ["q", "k", "v"].map { biased("self_attn.\($0)_proj") } + [module("self_attn.o_proj")]
    case "qwen3":
      attention =
        ["q", "k", "v", "o"].map { optional("self_attn.\($0)_proj") }
        + [module("self_attn.q_norm"), module("self_attn.k_norm")]
    case "gpt2":
      before = [module("transformer.wte"), module("transformer.wpe")]
      layer = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"].map(biased)
      (layerPrefix, after, isTiedByDefault) = ("transformer.h.", [biased("transformer.ln_f")], true)
      return
    default:
      return nil
    }
    before = [module("model.embed_tokens")]
    layer = attention + ["gate", "up", "down"].map { optional("mlp.\($0)_proj") } + norms
    (layerPrefix, after, isTiedByDefault) = ("model.layers.", [module("model.norm")], false)
  }

  /// All but the output layer, which comes last.
  func modules(layers: Int) -> [Module] {
    before
      + (0..<layers).flatMap { index in
        layer.map { Module(name: "\(layerPrefix)\(index).\($0.name)", bias: $0.bias) }
      } + after
  }
}
