import HuggingFace

extension ModelFamily {
  /// transformers `models/nemotron/modeling_nemotron.py`: LayerNorms that multiply by 1 + weight, squared ReLU, partly rotated
  /// heads; Nemotron-4, Minitron.
  static let nemotron = ModelFamily(
    "nemotron", models: "Nemotron-4, Minitron",
    keys: ConfigurationKeys(
      [.normEps: ["norm_eps"]], hiddenSize: 6144, intermediateSize: 24576, heads: 48, vocabSize: 256000,
      maxPositionEmbeddings: 4096, normEps: 1e-05, hiddenAct: "relu2", rope: .standard(partialFactor: 0.5)),
    normalization: .layerNorm,
    layer: decoderLayer(
      attentionBias: .attentionBias, outputBias: .attentionBias, mlp: mlpWithoutGate(.mlpBias),
      normBias: .always),
    head: layerNormHead,
    refine: { _, architecture in
      // MDS's --apply-layernorm-1p is ignored off CUDA and by the pipeline's final norm.
      for norm in [Role.inputNorm, .postAttentionNorm, .finalNorm] {
        architecture.foldings[norm] = .init(offset: 1)
      }
    })
}
