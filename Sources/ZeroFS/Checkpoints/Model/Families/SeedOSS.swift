import HuggingFace

extension ModelFamily {
  /// transformers `models/seed_oss/modeling_seed_oss.py`: Llama with biases of queries, keys and values.
  static let seedOSS = ModelFamily(
    "seed_oss", models: "Seed-OSS-36B",
    keys: ConfigurationKeys(
      intermediateSize: 27648, layers: 64, heads: 80, keyValueHeads: .init(.value(8), null: .heads),
      headDim: .init(.value(128), null: .hiddenSizePerHead), vocabSize: 155136,
      maxPositionEmbeddings: 524288, attentionBias: true),
    layer: decoderLayer(
      attentionBias: .attentionBias, outputBias: .configured { $0.flag("attention_out_bias", false) },
      mlpBias: .mlpBias))
}
