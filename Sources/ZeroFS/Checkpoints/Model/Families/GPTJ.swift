import HuggingFace

extension ModelFamily {
  /// transformers `models/gptj/modeling_gptj.py`: attention and MLP side by side on one LayerNorm, interleaved rotation, biases in
  /// the MLP and the output layer only.
  static let gptj = ModelFamily(
    "gptj", models: "GPT-J", keys: .gptj, normalization: .layerNorm,
    embeddings: [Module("transformer.wte", .wordEmbeddings)], layers: "transformer.h.",
    layer: [
      Module("ln_1", .inputNorm, bias: .always), Module("attn.k_proj", .key), Module("attn.v_proj", .value),
      Module("attn.q_proj", .query), Module("attn.out_proj", .dense), Module("mlp.fc_in", .up, bias: .always),
      Module("mlp.fc_out", .down, bias: .always),
    ],
    head: [
      Module("transformer.ln_f", .finalNorm, bias: .always), Module("lm_head", .outputLayer, bias: .always),
    ],
    refine: { c, architecture in
      architecture.rotateInterleaved(c)
      architecture.spec.block = .parallelOneNorm
    })
}
