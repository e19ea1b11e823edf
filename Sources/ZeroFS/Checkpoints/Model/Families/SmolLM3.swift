import HuggingFace

extension ModelFamily {
  /// transformers `models/smollm3/modeling_smollm3.py`: Llama with some layers that don't rotate.
  static let smollm3 = ModelFamily(
    "smollm3", models: "SmolLM3", keys: .smollm3,
    layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias, mlpBias: .mlpBias),
    refine: { c, architecture in architecture.spec.nopeLayers = c.layersWithoutRope })
}
