import HuggingFace

extension ModelFamily {
  /// transformers `models/cohere/modeling_cohere.py`: attention and MLP side by side on one LayerNorm without a bias, interleaved
  /// rotation, scaled logits; Command-R, not Command-R+.
  static let cohere = ModelFamily(
    "cohere", models: "Command-R, Aya 23", keys: .cohere, normalization: .layerNorm, layer: cohereLayer,
    refine: { c, architecture throws(Refusal) in
      if c.flag("use_qk_norm", false) {
        throw .lacks("use_qk_norm", "LayerNorm over the heads of queries and keys, nor has the extension")
      }
      cohereBlock(c, &architecture)
    })

  /// transformers `models/cohere2/modeling_cohere2.py`: Cohere with windows; layers without one don't rotate. Command-R7B.
  static let cohere2 = ModelFamily(
    "cohere2", models: "Command-R7B", keys: .cohere2, normalization: .layerNorm, layer: cohereLayer,
    refine: { c, architecture in
      cohereBlock(c, &architecture)
      architecture.spec.nopeLayers = c.fullLayers
    })

  private static let cohereLayer = decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias)
    .filter { $0.role != .postAttentionNorm }

  private static func cohereBlock(_ c: ModelConfiguration, _ architecture: inout Architecture) {
    architecture.rotateInterleaved(c)
    architecture.spec.block = .parallelOneNorm
    architecture.spec.logitScale = c.number("logit_scale", 0.0625)
  }
}
