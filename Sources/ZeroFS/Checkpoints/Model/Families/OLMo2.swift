import HuggingFace

extension ModelFamily {
  /// transformers `models/olmo2/modeling_olmo2.py`: Llama with norms behind attention and MLP, and over all queries and all keys.
  static let olmo2 = ModelFamily(
    "olmo2", models: "OLMo 2", keys: .olmo2, layer: olmo2Layer, refine: olmo2Norms)

  /// transformers `models/olmo3/modeling_olmo3.py`: OLMo 2 with windows; rope is scaled in layers without one.
  static let olmo3 = ModelFamily(
    "olmo3", models: "OLMo 3", keys: .olmo3, layer: olmo2Layer, refine: olmo2Norms)

  private static let olmo2Layer = withPostNorms(
    withQueryKeyNorms(decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias)))

  private static let olmo2Norms: @Sendable (ModelConfiguration, inout Architecture) throws(Refusal) -> Void =
    {
      _, architecture in
      (architecture.spec.block, architecture.spec.qkNorm) = (.post, .width)
      architecture.spec.norm = .fp32Product
    }

  /// A Llama layer with norms behind attention and MLP, and none in front.
  static func withPostNorms(_ layer: [Module]) -> [Module] {
    layer.filter { ![.inputNorm, .postAttentionNorm].contains($0.role) } + [
      Module("post_attention_layernorm", .attentionOutputNorm),
      Module("post_feedforward_layernorm", .mlpOutputNorm),
    ]
  }
}
