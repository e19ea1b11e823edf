import HuggingFace

extension ModelFamily {
  /// transformers `models/phi3/modeling_phi3.py`: Llama with fused projections and partly rotated heads; Phi-3, Phi-4 and Phi-4-mini.
  static let phi3 = ModelFamily(
    "phi3", models: "Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini",
    keys: ConfigurationKeys(
      [.attentionBias: [], .mlpBias: []], hiddenSize: 3072, intermediateSize: 8192, vocabSize: 32064,
      maxPositionEmbeddings: 4096, normEps: 1e-05, windows: .everyLayer, rope: .phi3),
    layer: [
      Module("self_attn.o_proj", .dense), Module("self_attn.qkv_proj", .fusedQueryKeyValue),
      Module("mlp.gate_up_proj", .fusedGateUp), Module("mlp.down_proj", .down),
      Module("input_layernorm", .inputNorm), Module("post_attention_layernorm", .postAttentionNorm),
    ])
}
