import HuggingFace

extension ModelFamily {
  /// transformers `models/glm/modeling_glm.py`: Llama with a fused gate, biases of queries, keys and values, and interleaved
  /// rotation of half of each head.
  static let glm = ModelFamily(
    "glm", models: "GLM-4-9B, GLM-Edge",
    keys: ConfigurationKeys(
      [.mlpBias: []], intermediateSize: 13696, layers: 40, keyValueHeads: .init(.value(2), null: .heads),
      headDim: .init(.value(128), null: .hiddenSizePerHead), vocabSize: 151552,
      maxPositionEmbeddings: 131072, normEps: 1.5625e-07, attentionBias: true,
      rope: .standard(partialFactor: 0.5)),
    layer: decoderLayer(
      attentionBias: .attentionBias,
      mlp: [Module("mlp.gate_up_proj", .fusedGateUp), Module("mlp.down_proj", .down)]),
    refine: { c, architecture in architecture.rotateInterleaved(c) })
}
