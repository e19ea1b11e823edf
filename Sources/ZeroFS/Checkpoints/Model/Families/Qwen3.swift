import HuggingFace

extension ModelFamily {
  /// transformers `models/qwen3/modeling_qwen3.py`: Llama with norms over each head of queries and keys.
  static let qwen3 = ModelFamily(
    "qwen3",
    embeddings: [Module("model.embed_tokens", .wordEmbeddings)],
    layer: {
      var layer = decoderLayer(attentionBias: .configured { $0.attentionBias }, mlpBias: .none)
      layer.insert(
        contentsOf: [Module("self_attn.q_norm", .queryNorm), Module("self_attn.k_norm", .keyNorm)], at: 4)
      return layer
    }(),
    head: [Module("model.norm", .finalNorm), Module("lm_head", .outputLayer)],
    architecture: { c throws(Refusal) in
      throw Refusal(
        "q_norm and k_norm",
        "MDS has no norm over the heads of queries and keys. --flavor hf serves the model.")
    })
}
