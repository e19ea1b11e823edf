import HuggingFace

extension ModelFamily {
  /// transformers `models/gpt2/modeling_gpt2.py`: `GPT2LMHeadModel`, whose linear layers are `Conv1D`.
  static let gpt2 = ModelFamily(
    "gpt2",
    embeddings: [Module("transformer.wte", .wordEmbeddings), Module("transformer.wpe", .positionEmbeddings)],
    layers: "transformer.h.",
    layer: [
      Module("ln_1", .inputNorm, bias: .always),
      Module("attn.c_attn", .fusedQueryKeyValue, bias: .always, isTransposed: true),
      Module("attn.c_proj", .dense, bias: .always, isTransposed: true),
      Module("ln_2", .postAttentionNorm, bias: .always),
      Module("mlp.c_fc", .up, bias: .always, isTransposed: true),
      Module("mlp.c_proj", .down, bias: .always, isTransposed: true),
    ],
    head: [Module("transformer.ln_f", .finalNorm, bias: .always), Module("lm_head", .outputLayer)],
    architecture: { c throws(Refusal) in
      throw Refusal("GPT-2", "zerofs doesn't lay this family out for MDS yet. --flavor hf serves the model.")
    })
}
