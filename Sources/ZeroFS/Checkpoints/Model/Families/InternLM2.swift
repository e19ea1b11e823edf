import HuggingFace

extension ModelFamily {
  /// `modeling_internlm2.py` of internlm's directories: Llama whose queries, keys and values are as MDS has them.
  static let internLM2 = ModelFamily(
    "internlm2", models: "InternLM2, InternLM2.5",
    keys: ConfigurationKeys(
      [.headDim: [], .attentionBias: ["bias"], .mlpBias: []], vocabSize: 103168, attentionBias: true),
    isRemoteCode: true, embeddings: [Module("model.tok_embeddings", .wordEmbeddings)],
    layer: [
      Module("attention.wqkv", .groupedQueryKeyValue, bias: .attentionBias),
      Module("attention.wo", .dense, bias: .attentionBias),
      Module("feed_forward.w1", .gate), Module("feed_forward.w3", .up), Module("feed_forward.w2", .down),
      Module("attention_norm", .inputNorm), Module("ffn_norm", .postAttentionNorm),
    ],
    head: [Module("model.norm", .finalNorm), Module("output", .outputLayer)])
}
