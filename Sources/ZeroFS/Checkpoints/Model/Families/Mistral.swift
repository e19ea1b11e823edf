import HuggingFace

extension ModelFamily {
  /// transformers `models/mistral/modeling_mistral.py`: Llama without biases, with a window of attention.
  static let mistral = ModelFamily(
    "mistral",
    embeddings: [Module("model.embed_tokens", .wordEmbeddings)],
    layer: decoderLayer(),
    head: [Module("model.norm", .finalNorm), Module("lm_head", .outputLayer)],
    architecture: { c throws(Refusal) in
      try c.requireSiLU()
      try c.requireFullAttention()
      return Architecture(epsilon: c.normEps)
    })
}
