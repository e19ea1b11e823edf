import HuggingFace

extension ModelFamily {
  /// transformers `models/qwen2/modeling_qwen2.py`: Llama with biases of queries, keys and values. Qwen1.5, 2.5, QwQ and
  /// the distilled ones are of this family, too.
  static let qwen2 = ModelFamily(
    "qwen2",
    embeddings: [Module("model.embed_tokens", .wordEmbeddings)],
    layer: decoderLayer(attentionBias: .always, outputBias: Bias.none),
    head: [Module("model.norm", .finalNorm), Module("lm_head", .outputLayer)],
    architecture: { c throws(Refusal) in
      try c.requireSiLU()
      try c.requireFullAttention()
      return Architecture(epsilon: c.normEps)
    })
}
