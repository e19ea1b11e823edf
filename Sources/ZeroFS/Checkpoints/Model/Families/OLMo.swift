import HuggingFace

extension ModelFamily {
  /// transformers `models/olmo/modeling_olmo.py`: Llama with LayerNorms that have no parameters.
  static let olmo = ModelFamily(
    "olmo", models: "OLMo 1B and 7B",
    keys: ConfigurationKeys(
      [.normEps: [], .mlpBias: []], vocabSize: 50304, normEps: 1e-05),
    normalization: .layerNorm,
    layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias).filter {
      ![.inputNorm, .postAttentionNorm].contains($0.role)
    },
    head: [Module("lm_head", .outputLayer)],
    refine: { c, _ throws(Refusal) in
      if c.number("clip_qkv", .infinity) < .infinity {
        throw .lacks("clip_qkv", "bound of queries, keys and values")
      }
    })
}
