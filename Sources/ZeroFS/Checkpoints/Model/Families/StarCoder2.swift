import HuggingFace

extension ModelFamily {
  /// transformers `models/starcoder2/modeling_starcoder2.py`: LayerNorm, an MLP without a gate, biases, a window.
  static let starCoder2 = ModelFamily(
    "starcoder2", models: "StarCoder2",
    keys: ConfigurationKeys(
      [.normEps: ["norm_epsilon"], .attentionBias: ["use_bias"], .mlpBias: ["use_bias"]], hiddenSize: 3072,
      intermediateSize: 12288, layers: 30, heads: 24, keyValueHeads: 2, vocabSize: 49152,
      maxPositionEmbeddings: 4096, normEps: 1e-05, tieWordEmbeddings: true, hiddenAct: "gelu_pytorch_tanh",
      attentionBias: true, mlpBias: true, windows: .everyLayer),
    normalization: .layerNorm,
    layer: decoderLayer(
      attentionBias: .attentionBias, outputBias: .attentionBias,
      mlp: [Module("mlp.c_fc", .up, bias: .mlpBias), Module("mlp.c_proj", .down, bias: .mlpBias)],
      normBias: .always),
    head: layerNormHead)
}
