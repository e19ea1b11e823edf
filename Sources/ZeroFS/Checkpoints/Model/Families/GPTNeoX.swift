import HuggingFace

extension ModelFamily {
  /// transformers `models/gpt_neox/modeling_gpt_neox.py`: attention and MLP side by side, a LayerNorm each (Pythia), or one behind
  /// the other (RedPajama-INCITE, StableLM-alpha).
  static let gptNeoX = ModelFamily(
    "gpt_neox", models: "Pythia, GPT-NeoX-20B, RedPajama-INCITE, StableLM-alpha",
    keys: ConfigurationKeys(
      [.keyValueHeads: [], .headDim: [], .normEps: ["layer_norm_eps"], .mlpBias: []], hiddenSize: 6144,
      intermediateSize: 24576, layers: 44, heads: 64, vocabSize: 50432, normEps: 1e-05, hiddenAct: "gelu",
      attentionBias: true, rope: .neox),
    normalization: .layerNorm, embeddings: [Module("gpt_neox.embed_in", .wordEmbeddings)],
    layers: "gpt_neox.layers.",
    layer: [
      Module("input_layernorm", .inputNorm, bias: .always),
      Module("post_attention_layernorm", .postAttentionNorm, bias: .always),
      Module("attention.query_key_value", .groupedQueryKeyValue, bias: .attentionBias),
      Module("attention.dense", .dense, bias: .attentionBias),
      Module("mlp.dense_h_to_4h", .up, bias: .always), Module("mlp.dense_4h_to_h", .down, bias: .always),
    ],
    head: [
      Module("gpt_neox.final_layer_norm", .finalNorm, bias: .always),
      Module("lm_head", .outputLayer, stored: "embed_out"),
    ],
    refine: { c, architecture in
      if c.flag("use_parallel_residual", true) { architecture.spec.block = .parallel }
    })
}
