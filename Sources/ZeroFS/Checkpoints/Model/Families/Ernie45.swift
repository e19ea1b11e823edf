import HuggingFace

extension ModelFamily {
  /// transformers `models/ernie4_5/modeling_ernie4_5.py`: Llama with interleaved rotation.
  static let ernie45 = ModelFamily(
    "ernie4_5", models: "ERNIE 4.5 0.3B",
    keys: ConfigurationKeys(
      [.attentionBias: ["use_bias"], .mlpBias: ["use_bias"]], hiddenSize: 1024, intermediateSize: 3072,
      layers: 18, heads: 16, keyValueHeads: .init(.value(2), null: .heads),
      headDim: .init(.value(128), null: .hiddenSizePerHead), vocabSize: 103424,
      maxPositionEmbeddings: 131072, normEps: 1e-05, tieWordEmbeddings: true,
      rope: .standard(theta: 500_000)),
    layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias, mlpBias: .mlpBias),
    refine: { c, architecture in architecture.rotateInterleaved(c) })
}
