import HuggingFace

extension ModelFamily {
  /// `modeling_baichuan.py` of baichuan-inc's Baichuan-7B: Llama with one projection for queries, keys and values.
  static let baichuan = ModelFamily(
    "baichuan", models: "Baichuan-7B",
    keys: ConfigurationKeys(
      [.keyValueHeads: [], .headDim: [], .attentionBias: [], .mlpBias: []], vocabSize: 64000,
      maxPositionEmbeddings: 4096),
    isRemoteCode: true,
    layer: [
      Module("self_attn.W_pack", .fusedQueryKeyValue), Module("self_attn.o_proj", .dense),
      Module("mlp.gate_proj", .gate), Module("mlp.down_proj", .down), Module("mlp.up_proj", .up),
      Module("input_layernorm", .inputNorm), Module("post_attention_layernorm", .postAttentionNorm),
    ],
    refine: { c, _ throws(Refusal) in
      // Baichuan-13B has ALiBi, Baichuan 2 has both that and a norm, by the size.
      if c["model_max_length"] != nil && c.hiddenSize > 4096 {
        throw .lacks("ALiBi", "bias of attention by distance")
      }
      if c.architectures.first != "BaiChuanForCausalLM" {
        throw .lacks("NormHead", "output layer whose rows are normalized")
      }
    })
}
