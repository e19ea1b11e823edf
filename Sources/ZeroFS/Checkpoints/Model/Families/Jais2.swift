import HuggingFace

extension ModelFamily {
  /// transformers `models/jais2/modeling_jais2.py`: Llama with LayerNorm, biases, squared ReLU and no gate.
  static let jais2 = ModelFamily(
    "jais2", models: "Jais 2",
    keys: ConfigurationKeys(
      [.normEps: ["layer_norm_eps"]], hiddenSize: 3328, intermediateSize: 26624, heads: 26,
      vocabSize: 150272, maxPositionEmbeddings: 8192, normEps: 1e-05, hiddenAct: "relu2",
      attentionBias: true, mlpBias: true),
    normalization: .layerNorm,
    layer: decoderLayer(
      attentionBias: .attentionBias, outputBias: .attentionBias, mlp: mlpWithoutGate(.mlpBias),
      normBias: .always),
    head: layerNormHead)
}
