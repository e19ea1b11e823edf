import Glibc
import HuggingFace

extension ModelFamily {
  /// transformers `models/gemma/modeling_gemma.py`: Llama with GeGLU, norms that multiply by 1 + weight, and a scaled embedding.
  static let gemma = ModelFamily(
    "gemma", models: "Gemma 2B and 7B, CodeGemma", keys: .gemma,
    layer: decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias),
    refine: gemmaBasics)

  /// transformers `models/gemma2/modeling_gemma2.py`: Gemma with norms behind attention and MLP, soft caps and windows.
  static let gemma2 = ModelFamily(
    "gemma2", models: "Gemma 2", keys: .gemma2,
    layer: withSandwichNorms(decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias)),
    refine: { c, architecture throws(Refusal) in
      try gemmaBasics(c, &architecture)
      sandwich(c, softcaps: (attention: 50, logits: 30), &architecture)
    })

  /// transformers `models/gemma3/modeling_gemma3.py`: Gemma 2 with norms over each head of queries and keys, and another theta in
  /// layers with windows.
  static let gemma3 = ModelFamily(
    "gemma3_text", models: "Gemma 3 270M and 1B", keys: .gemma3Text,
    layer: withSandwichNorms(
      withQueryKeyNorms(decoderLayer(attentionBias: .attentionBias, outputBias: .attentionBias))),
    refine: { c, architecture throws(Refusal) in
      try gemmaBasics(c, &architecture)
      sandwich(c, softcaps: (attention: nil, logits: nil), &architecture)
      architecture.spec.qkNorm = .head
    })

  private static let gemmaBasics: @Sendable (ModelConfiguration, inout Architecture) throws(Refusal) -> Void =
    {
      c, architecture throws(Refusal) in
      if c.flag("use_bidirectional_attention", false) {
        throw .lacks("use_bidirectional_attention", "attention to later tokens")
      }
      architecture.spec.norm = .plusOne
      architecture.spec.embeddingScale = Double(c.hiddenSize).squareRoot()
    }

  private static func sandwich(
    _ c: ModelConfiguration, softcaps: (attention: Double?, logits: Double?),
    _ architecture: inout Architecture
  ) {
    architecture.spec.block = .sandwich
    architecture.spec.attentionSoftcap = c.optionalNumber(
      "attn_logit_softcapping", missing: softcaps.attention)
    architecture.spec.logitSoftcap = c.optionalNumber("final_logit_softcapping", missing: softcaps.logits)
    let scalar = c.number("query_pre_attn_scalar", 256)
    if scalar != Double(c.headDim) { architecture.spec.attentionScale = pow(scalar, -0.5) }
  }

  /// A Llama layer whose post_attention_layernorm is behind attention, with one in front of the MLP and one behind.
  private static func withSandwichNorms(_ layer: [Module]) -> [Module] {
    layer.map { $0.role == .postAttentionNorm ? Module($0.name, .attentionOutputNorm) : $0 } + [
      Module("pre_feedforward_layernorm", .postAttentionNorm),
      Module("post_feedforward_layernorm", .mlpOutputNorm),
    ]
  }

  /// A Llama layer with norms over queries and keys, which attention registers last.
  static func withQueryKeyNorms(_ layer: [Module]) -> [Module] {
    layer.prefix(4) + [Module("self_attn.q_norm", .queryNorm), Module("self_attn.k_norm", .keyNorm)]
      + layer.dropFirst(4)
  }
}
