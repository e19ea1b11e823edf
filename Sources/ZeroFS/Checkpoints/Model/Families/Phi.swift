import HuggingFace

extension ModelFamily {
  /// transformers `models/phi/modeling_phi.py`: attention and MLP side by side on one LayerNorm, an output layer with a bias;
  /// Phi-1, 1.5 and 2.
  static let phi = ModelFamily(
    "phi", models: "Phi-1, Phi-1.5, Phi-2", keys: .phi, normalization: .layerNorm,
    layer: [
      Module("self_attn.q_proj", .query, bias: .always), Module("self_attn.k_proj", .key, bias: .always),
      Module("self_attn.v_proj", .value, bias: .always), Module("self_attn.dense", .dense, bias: .always),
      Module("mlp.fc1", .up, bias: .always), Module("mlp.fc2", .down, bias: .always),
      Module("input_layernorm", .inputNorm, bias: .always),
    ],
    head: [
      Module("model.final_layernorm", .finalNorm, bias: .always),
      Module("lm_head", .outputLayer, bias: .always),
    ],
    refine: { c, architecture throws(Refusal) in
      if c.flag("qk_layernorm", false) {
        throw .lacks("qk_layernorm", "LayerNorm over the heads of queries and keys, nor has the extension")
      }
      architecture.spec.block = .parallelOneNorm
    })
}
