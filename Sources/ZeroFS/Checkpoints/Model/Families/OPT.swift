import Bytes
import HuggingFace

extension ModelFamily {
  /// transformers `models/opt/modeling_opt.py`: GPT-2 with ReLU. The first two rows of the positions' table are for padding
  /// (`OPTLearnedPositionalEmbedding`).
  static let opt = ModelFamily(
    "opt", models: "OPT", keys: .opt, normalization: .layerNorm,
    embeddings: [
      Module("model.decoder.embed_tokens", .wordEmbeddings),
      Module("model.decoder.embed_positions", .positionEmbeddings, unusedRows: 2),
      Module("model.decoder.final_layer_norm", .finalNorm, bias: .always),
    ], layers: "model.decoder.layers.",
    layer: [
      Module("self_attn.k_proj", .key, bias: .attentionBias),
      Module("self_attn.v_proj", .value, bias: .attentionBias),
      Module("self_attn.q_proj", .query, bias: .attentionBias),
      Module("self_attn.out_proj", .dense, bias: .attentionBias),
      Module("self_attn_layer_norm", .inputNorm, bias: .always), Module("fc1", .up, bias: .mlpBias),
      Module("fc2", .down, bias: .mlpBias), Module("final_layer_norm", .postAttentionNorm, bias: .always),
    ],
    head: [Module("lm_head", .outputLayer)],
    refine: { c, _ throws(Refusal) in
      if !c.flag("do_layer_norm_before", true) {
        throw .lacks("do_layer_norm_before false", "LayerNorm behind the residual, nor has the extension")
      }
      if c.flag("_remove_final_layer_norm", false) {
        throw .lacks("_remove_final_layer_norm", "model without a final norm")
      }
      if !c.flag("layer_norm_elementwise_affine", true) {
        throw .lacks("layer_norm_elementwise_affine false", "LayerNorm without parameters in this family")
      }
      if c["word_embed_proj_dim"]?.int ?? c.hiddenSize != c.hiddenSize {
        throw .lacks("word_embed_proj_dim", "embedding of another size than the layers'")
      }
    })
}
