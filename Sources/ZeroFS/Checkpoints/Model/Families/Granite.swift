import HuggingFace

extension ModelFamily {
  /// transformers `models/granite/modeling_granite.py`: Llama with four scalars, which are folded into weights.
  static let granite = ModelFamily(
    "granite", models: "Granite 3", keys: ConfigurationKeys(),
    layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias, mlpBias: .mlpBias),
    refine: { c, architecture throws(Refusal) in
      let attention = c.number("attention_multiplier", 1)
      architecture.foldings[.query] = .init(scale: Float(attention * Double(c.headDim).squareRoot()))
      try architecture.fold(
        embedding: c.number("embedding_multiplier", 1), residual: c.number("residual_multiplier", 1),
        logits: c.number("logits_scaling", 1))
    })
}
