import HuggingFace

extension ModelFamily {
  /// transformers `models/mistral/modeling_mistral.py`: Llama without biases, with a window of attention.
  static let mistral = ModelFamily(
    "mistral", models: "Mistral 7B, Mistral Large, Mistral Nemo",
    keys: ConfigurationKeys(
      [.attentionBias: [], .mlpBias: []], intermediateSize: 14336, keyValueHeads: 8,
      maxPositionEmbeddings: 131072, slidingWindow: 4096, windows: .everyLayer),
    layer: decoderLayer())

  /// transformers `models/ministral/modeling_ministral.py`: Mistral with windows in some layers.
  static let ministral = ModelFamily(
    "ministral", models: "Mistral with windows in some layers",
    keys: ConfigurationKeys(
      [.attentionBias: [], .mlpBias: []], intermediateSize: 14336, keyValueHeads: 8,
      maxPositionEmbeddings: 131072, slidingWindow: 4096, windows: .everyLayer, hasLayerTypes: true),
    layer: decoderLayer())
}
