import HuggingFace

extension ModelFamily {
  /// transformers `models/glm4/modeling_glm4.py`: GLM with norms behind attention and MLP, too.
  static let glm4 = ModelFamily(
    "glm4", models: "GLM-4-0414", keys: .glm4,
    layer: glm.layer + [
      Module("post_self_attn_layernorm", .attentionOutputNorm), Module("post_mlp_layernorm", .mlpOutputNorm),
    ],
    refine: { c, architecture in
      architecture.rotateInterleaved(c)
      architecture.spec.block = .sandwich
    })
}
