import HuggingFace

extension ModelFamily {
  /// transformers `models/gpt_neo/modeling_gpt_neo.py`: GPT-2 with windows in every other layer, and scores that aren't divided
  /// by √head_dim.
  static let gptNeo = ModelFamily(
    "gpt_neo", models: "GPT-Neo, TinyStories",
    keys: ConfigurationKeys(
      [
        .layers: ["num_layers", "num_hidden_layers"], .heads: ["num_heads", "num_attention_heads"],
        .keyValueHeads: [], .headDim: [], .normEps: ["layer_norm_epsilon"],
        .hiddenAct: ["activation_function"], .attentionBias: [], .mlpBias: [],
        .slidingWindow: ["window_size"],
      ], hiddenSize: 2048, intermediateSize: .following(.fourHiddenSizes), layers: 24, heads: 16,
      vocabSize: 50257, normEps: 1e-05, tieWordEmbeddings: true, hiddenAct: "gelu_new", slidingWindow: 256,
      windows: .attentionTypes, rope: .none),
    normalization: .layerNorm, embeddings: gpt2Embeddings, layers: "transformer.h.",
    layer: [
      Module("ln_1", .inputNorm, bias: .always), Module("attn.attention.k_proj", .key),
      Module("attn.attention.v_proj", .value), Module("attn.attention.q_proj", .query),
      Module("attn.attention.out_proj", .dense, bias: .always),
      Module("ln_2", .postAttentionNorm, bias: .always), Module("mlp.c_fc", .up, bias: .always),
      Module("mlp.c_proj", .down, bias: .always),
    ], head: gpt2Head,
    refine: { c, architecture in
      architecture.foldings[.query] = .init(scale: Float(Double(c.headDim).squareRoot()))
    })
}
