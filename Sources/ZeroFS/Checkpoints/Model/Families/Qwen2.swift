import HuggingFace

extension ModelFamily {
  /// transformers `models/qwen2/modeling_qwen2.py`: Llama with biases of queries, keys and values. Qwen1.5, 2.5, QwQ and
  /// the distilled ones are of this family, too.
  static let qwen2 = ModelFamily(
    "qwen2", models: "Qwen1.5, Qwen2, Qwen2.5, QwQ, MiMo, R1 distills",
    keys: ConfigurationKeys(
      [.attentionBias: [], .mlpBias: []], intermediateSize: 22016,
      keyValueHeads: .init(.value(32), null: .heads), vocabSize: 151936, maxPositionEmbeddings: 32768,
      slidingWindow: 4096, windows: .switched, hasLayerTypes: true),
    layer: decoderLayer(attentionBias: .always))
}
