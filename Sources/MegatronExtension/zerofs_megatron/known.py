"""The functions of MDS that are replaced or built on, each with the digests (changes.py) of its known forms.

First argonne-lcf/Megatron-DeepSpeed at ffa3456, then deepspeedai/Megatron-DeepSpeed at 6acc370 where it differs.
`python3 Tests/megatron/known.py CHECKOUT…` writes the table anew.
"""

KNOWN = {
    "megatron.model.rotary_pos_embedding.RotaryEmbedding.__init__": ("1a62ad783217334a",),
    "megatron.model.rotary_pos_embedding.RotaryEmbedding.forward": ("00f918d304095b6c",),
    "megatron.model.rotary_pos_embedding.apply_rotary_pos_emb": ("b1e0dc8dd65bb451",),
    "megatron.model.fused_softmax.FusedScaleMaskSoftmax.forward": ("0c33e5974360272b",),
    "megatron.model.fused_softmax.FusedScaleMaskSoftmax.forward_torch_softmax": ("345099e95f790f7c",),
    "megatron.model.transformer.ParallelMLP.__init__": ("d35af91e89990d59",),
    "megatron.model.transformer.ParallelMLP.forward": ("4e9e8b599a4f5f35",),
    "megatron.model.transformer.CoreAttention.forward": ("34464070fe22308d",),
    "megatron.model.transformer.FlashSelfAttention.forward": ("6c8c30d0a491a4bf",),
    "megatron.model.transformer.ParallelAttention.__init__": ("f3516dd87a8e80cd",),
    "megatron.model.transformer.ParallelAttention.repeat_kv": ("c452867ff04778e5",),
    "megatron.model.transformer.ParallelAttention.split_tensor": ("0267c0ce7a7bbb12",),
    "megatron.model.transformer.ParallelAttention.forward": ("5436204d3dc2b74a",),
    "megatron.model.transformer.ParallelTransformerLayer.__init__": ("1191477a03ed0eb1",),
    "megatron.model.transformer.ParallelTransformerLayer.forward": ("5041281051f7ecf9",),
    "megatron.model.transformer.ParallelTransformer.__init__": ("4808639f66719d47",),
    "megatron.model.transformer.LMHeadPipe.__init__": ("1a4b51dc183a7ccb",),
    "megatron.model.transformer.LMHeadPipe.forward": ("597c06da4c5ad84a",),
    "megatron.model.language_model.Embedding.forward": ("437fdbac1a33926f",),
    "megatron.model.language_model.EmbeddingPipe.forward": ("97df63b3852407c6",),
    "megatron.model.language_model.parallel_lm_logits": ("24f1b729873fbcf5",),
    "megatron.model.language_model.TransformerLanguageModel.__init__": ("0e18662d803a8994", "9d0934979810e7ce"),
    "megatron.model.gpt_model.post_language_model_processing": ("1019690fb9b23a5a",),
    "megatron.model.gpt_model.UniversalCheckpointInfo._get_tp_replicated_param_patterns": ("2de4083264190595",),
    "megatron.model.gpt_model.GPTModelPipe.__init__": ("af71d99d42380086",),
}
