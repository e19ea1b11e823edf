import HuggingFace

extension ModelFamily {
  /// transformers `models/stablelm/modeling_stablelm.py`: Llama with LayerNorm and partly rotated heads; not StableLM 2 12B.
  static let stableLM = ModelFamily(
    "stablelm", models: "StableLM 3B, StableLM 2 1.6B",
    keys: ConfigurationKeys(
      [.headDim: [], .normEps: ["layer_norm_eps"], .attentionBias: ["use_qkv_bias"], .mlpBias: []],
      hiddenSize: 2560, intermediateSize: 6912, keyValueHeads: 32, vocabSize: 50304,
      maxPositionEmbeddings: 4096, normEps: 1e-05, rope: .standard(partialFactor: 0.25)),
    normalization: .layerNorm, layer: decoderLayer(attentionBias: .attentionBias, normBias: .always),
    head: layerNormHead,
    refine: { c, _ throws(Refusal) in
      if c.flag("use_parallel_residual", false) {
        throw .lacks("use_parallel_residual", "block whose attention and MLP read the same residual")
      }
      if c.flag("qk_layernorm", false) {
        throw .lacks("qk_layernorm", "norm over the heads of queries and keys")
      }
    })
}
