import HuggingFace

extension ModelFamily {
  /// `modeling_minicpm.py` of openbmb's directories: Llama with three scalars, which are folded into weights.
  static let miniCPM = ModelFamily(
    "minicpm", models: "MiniCPM-1B, MiniCPM-2B",
    keys: ConfigurationKeys([.headDim: [], .mlpBias: []], tieWordEmbeddings: true),
    isRemoteCode: true, layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias),
    refine: { c, architecture throws(Refusal) in
      if c.number("num_experts", 0) > 1 {
        throw .lacks("num_experts", "experts that DeepSpeed 0.19.8 can save")
      }
      try architecture.fold(
        embedding: c.number("scale_emb", 1),
        residual: c.number("scale_depth", 1) / Double(c.layers).squareRoot(),
        logits: Double(c.hiddenSize) / c.number("dim_model_base", 1))
    })
}
