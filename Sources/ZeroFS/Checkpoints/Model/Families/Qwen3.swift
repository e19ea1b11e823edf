import HuggingFace

extension ModelFamily {
  /// transformers `models/qwen3/modeling_qwen3.py`: Llama with norms over each head of queries and keys.
  static let qwen3 = ModelFamily(
    "qwen3", models: "Qwen3",
    keys: ConfigurationKeys(
      [.mlpBias: []], intermediateSize: 22016, keyValueHeads: .init(.value(32), null: .heads), headDim: 128,
      vocabSize: 151936, maxPositionEmbeddings: 32768, slidingWindow: 4096, windows: .switched,
      hasLayerTypes: true),
    layer: withQueryKeyNorms(decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias)),
    refine: { _, architecture in architecture.spec.qkNorm = .head })
}
