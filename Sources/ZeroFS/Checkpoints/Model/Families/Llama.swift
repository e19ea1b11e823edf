import HuggingFace

extension ModelFamily {
  /// transformers `models/llama/modeling_llama.py`: `LlamaForCausalLM`.
  static let llama = ModelFamily(
    "llama",
    models: "Llama 2 and 3.0, CodeLlama, TinyLlama, SmolLM2, Falcon 3, Yi, DeepSeek LLM, R1 distills",
    keys: ConfigurationKeys(),
    layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias, mlpBias: .mlpBias))

  /// The modules of a Llama layer, which many families share.
  static func decoderLayer(
    attentionBias: Bias = .none, outputBias: Bias = .none, mlp: [Module]? = nil, mlpBias: Bias = .none,
    normBias: Bias = .none
  ) -> [Module] {
    [
      Module("self_attn.q_proj", .query, bias: attentionBias),
      Module("self_attn.k_proj", .key, bias: attentionBias),
      Module("self_attn.v_proj", .value, bias: attentionBias),
      Module("self_attn.o_proj", .dense, bias: outputBias),
    ]
      + (mlp ?? [Module("mlp.gate_proj", .gate, bias: mlpBias)] + mlpWithoutGate(mlpBias))
      + [
        Module("input_layernorm", .inputNorm, bias: normBias),
        Module("post_attention_layernorm", .postAttentionNorm, bias: normBias),
      ]
  }

  static func mlpWithoutGate(_ bias: Bias = .none) -> [Module] {
    [Module("mlp.up_proj", .up, bias: bias), Module("mlp.down_proj", .down, bias: bias)]
  }

  /// Behind the layers, with a LayerNorm.
  static let layerNormHead = [
    Module("model.norm", .finalNorm, bias: .always), Module("lm_head", .outputLayer),
  ]
}
