import HuggingFace

extension ModelFamily {
  /// transformers `models/llama/modeling_llama.py`: `LlamaForCausalLM`.
  static let llama = ModelFamily(
    "llama",
    embeddings: [Module("model.embed_tokens", .wordEmbeddings)],
    layer: decoderLayer(
      attentionBias: .configured { $0.attentionBias ? true : nil },
      mlpBias: .configured { $0.mlpBias ? true : nil }),
    head: [Module("model.norm", .finalNorm), Module("lm_head", .outputLayer)],
    architecture: { c throws(Refusal) in
      try c.requireSiLU()
      return Architecture(epsilon: c.normEps)
    })

  /// The modules of a Llama layer, which many families share.
  static func decoderLayer(attentionBias: Bias = .none, outputBias: Bias? = nil, mlpBias: Bias = .none)
    -> [Module]
  {
    [
      Module("self_attn.q_proj", .query, bias: attentionBias),
      Module("self_attn.k_proj", .key, bias: attentionBias),
      Module("self_attn.v_proj", .value, bias: attentionBias),
      Module("self_attn.o_proj", .dense, bias: outputBias ?? attentionBias),
      Module("mlp.gate_proj", .gate, bias: mlpBias), Module("mlp.up_proj", .up, bias: mlpBias),
      Module("mlp.down_proj", .down, bias: mlpBias),
      Module("input_layernorm", .inputNorm), Module("post_attention_layernorm", .postAttentionNorm),
    ]
  }
}
