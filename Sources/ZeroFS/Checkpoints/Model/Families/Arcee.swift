import HuggingFace

extension ModelFamily {
  /// transformers `models/arcee/modeling_arcee.py`: Llama with squared ReLU and no gate.
  static let arcee = ModelFamily(
    "arcee", models: "AFM-4.5B",
    keys: ConfigurationKeys(
      hiddenSize: 2560, intermediateSize: 18432, maxPositionEmbeddings: 4096, normEps: 1e-05,
      hiddenAct: "relu2"),
    layer: decoderLayer(
      attentionBias: .attentionBias, outputBias: .attentionBias, mlp: mlpWithoutGate(.mlpBias)))
}
