import HuggingFace

extension ModelFamily {
  /// transformers `models/gpt2/modeling_gpt2.py`: `GPT2LMHeadModel`, whose linear layers are `Conv1D`.
  static let gpt2 = ModelFamily(
    "gpt2", models: "GPT-2, Cerebras-GPT",
    keys: gpt2Keys(hiddenAct: "gelu_new", keyValueHeads: .following(.heads)),
    normalization: .layerNorm, embeddings: gpt2Embeddings, layers: "transformer.h.",
    layer: gpt2Layer(.fusedQueryKeyValue, isTransposed: true), head: gpt2Head, refine: gpt2Attention)

  static func gpt2Keys(hiddenAct: String, keyValueHeads: ConfigurationKeys.Size) -> ConfigurationKeys {
    ConfigurationKeys(
      [
        .hiddenSize: ["n_embd", "hidden_size"], .intermediateSize: ["n_inner"],
        .layers: ["n_layer", "num_hidden_layers"], .heads: ["n_head", "num_attention_heads"],
        .keyValueHeads: [], .headDim: [],
        .maxPositionEmbeddings: ["n_positions", "max_position_embeddings"],
        .normEps: ["layer_norm_epsilon"], .hiddenAct: ["activation_function"], .attentionBias: [],
        .mlpBias: [],
      ], hiddenSize: 768, intermediateSize: .following(.fourHiddenSizes), layers: 12, heads: 12,
      keyValueHeads: keyValueHeads, vocabSize: 50257, maxPositionEmbeddings: 1024, normEps: 1e-05,
      tieWordEmbeddings: true, hiddenAct: hiddenAct, rope: .none)
  }

  static let gpt2Embeddings = [
    Module("transformer.wte", .wordEmbeddings), Module("transformer.wpe", .positionEmbeddings),
  ]
  static let gpt2Head = [
    Module("transformer.ln_f", .finalNorm, bias: .always), Module("lm_head", .outputLayer),
  ]

  static func gpt2Layer(_ attention: Role, isTransposed: Bool) -> [Module] {
    [
      Module("ln_1", .inputNorm, bias: .always),
      Module("attn.c_attn", attention, bias: .always, isTransposed: isTransposed),
      Module("attn.c_proj", .dense, bias: .always, isTransposed: isTransposed),
      Module("ln_2", .postAttentionNorm, bias: .always),
      Module("mlp.c_fc", .up, bias: .always, isTransposed: isTransposed),
      Module("mlp.c_proj", .down, bias: .always, isTransposed: isTransposed),
    ]
  }

  /// `scale_attn_weights`, `scale_attn_by_inverse_layer_idx`.
  static let gpt2Attention: @Sendable (ModelConfiguration, inout Architecture) throws(Refusal) -> Void = {
    c, _ throws(Refusal) in
    if !c.flag("scale_attn_weights", true) || c.flag("scale_attn_by_inverse_layer_idx", false) {
      throw .lacks("scale_attn_weights", "scale of attention other than 1/√head_dim")
    }
  }
}
