"""Universal checkpoints: which parameters every tensor-parallel rank has whole.

DeepSpeed joins what no pattern names along dimension 0, and stops on a pattern that no parameter matches.
"""


def changes(spec):
    """UniversalCheckpointInfo._get_tp_replicated_param_patterns."""
    block = spec.get("block")
    gone = {"post": ["input_layernorm", "post_attention_layernorm"],
            "parallel_one_norm": ["post_attention_layernorm"]}.get(block, [])
    new = []
    if spec.get("qk_norm") == "head":
        new += ["self_attention.q_layernorm.weight", "self_attention.k_layernorm.weight"]
    if block in ("post", "sandwich"):
        new += ["self_attention.output_layernorm.weight", "mlp.output_layernorm.weight"]
    if not gone and not new:
        return
    from megatron.model.gpt_model import UniversalCheckpointInfo

    def make(stock):
        def _get_tp_replicated_param_patterns(self):
            kept = [p for p in stock(self) if not any(f".{name}." in p for name in gone)]
            return kept + [self._layers_prefix() + r"\d+." + name for name in new]
        return _get_tp_replicated_param_patterns
    yield UniversalCheckpointInfo, "_get_tp_replicated_param_patterns", make
