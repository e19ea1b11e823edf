import Bytes
import HuggingFace

extension ModelFamily {
  /// transformers `models/falcon/modeling_falcon.py`: attention and MLP side by side, on a LayerNorm each (40B, 180B) or on one
  /// (7B, 11B). Rows of the fused attention weight are as MDS has them, whatever the architecture.
  static let falcon: ModelFamily = falconFamily(
    [Module("input_layernorm", .inputNorm, bias: .always)], .parallelOneNorm
  ) { c in
    let isNew = c.flag("new_decoder_architecture", false)
    // `FalconAttention.__init__`: the older architecture has one key-value head, or as many as heads.
    if !isNew { c.keyValueHeads = c.flag("multi_query", true) ? 1 : c.heads }
    if isNew && c["num_ln_in_parallel_attn"]?.int ?? 2 == 2 {
      return falconFamily(
        [
          Module("ln_attn", .inputNorm, bias: .always), Module("ln_mlp", .postAttentionNorm, bias: .always),
        ], .parallel)
    }
    if isNew || c.flag("parallel_attn", true) { return falcon }
    return falconFamily(
      [
        Module("input_layernorm", .inputNorm, bias: .always),
        Module("post_attention_layernorm", .postAttentionNorm, bias: .always),
      ], nil)
  }

  private static func falconFamily(
    _ norms: [Module], _ block: ExtensionSpec.Block?,
    variant: (@Sendable (inout ModelConfiguration) -> ModelFamily)? = nil
  ) -> ModelFamily {
    ModelFamily(
      "falcon", models: "Falcon 7B, 11B, 40B, 180B", keys: .falcon, normalization: .layerNorm,
      embeddings: [Module("transformer.word_embeddings", .wordEmbeddings)], layers: "transformer.h.",
      layer: [
        Module("self_attention.query_key_value", .groupedQueryKeyValue, bias: .attentionBias),
        Module("self_attention.dense", .dense, bias: .attentionBias),
        Module("mlp.dense_h_to_4h", .up, bias: .mlpBias), Module("mlp.dense_4h_to_h", .down, bias: .mlpBias),
      ] + norms,
      head: [Module("transformer.ln_f", .finalNorm, bias: .always), Module("lm_head", .outputLayer)],
      variant: variant,
      refine: { c, architecture throws(Refusal) in
        if c.flag("alibi", false) {
          throw .lacks("alibi", "bias of attention by distance, nor has the extension")
        }
        architecture.spec.block = block
      })
  }
}
