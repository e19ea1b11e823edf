import HuggingFace

extension ModelFamily {
  /// transformers `models/helium/modeling_helium.py`: Llama with interleaved rotation.
  static let helium = ModelFamily(
    "helium", models: "Helium 1",
    keys: ConfigurationKeys(
      hiddenSize: 2560, intermediateSize: 7040, layers: 24, heads: 20, keyValueHeads: 20, headDim: 128,
      vocabSize: 48000, maxPositionEmbeddings: 4096, normEps: 1e-08, rope: .standard(theta: 100_000)),
    layer: decoderLayer(attentionBias: .attentionBias, mlpBias: .mlpBias),
    refine: { c, architecture in architecture.rotateInterleaved(c) })
}
