"""attention_scale, attention_softcap, window, one_kv_head: the scores of q and k.

Fused softmax kernels know no window, so layers with one take MDS's unfused path. FlashAttention 2 has both as arguments.
"""
import functools

import torch

from zerofs_megatron.changes import after_layer

WITHOUT_FLASH = "leave it out (unfused attention), or use --use-flash-attn-v2"


def changes(spec):
    cap, window, scale = spec.get("attention_softcap"), spec.get("window"), spec.get("attention_scale")
    if cap or window or scale:
        from megatron.model.transformer import CoreAttention, FlashSelfAttention
        yield after_layer(functools.partial(adjust, cap=cap, window=window, scale=scale))
        yield CoreAttention, "forward", None
        yield FlashSelfAttention, "forward", None
    if cap or window:
        yield from softmax_of(cap)
    if spec.get("one_kv_head"):
        yield from contiguous_heads()


def refusals(spec, args):
    if spec.get("one_kv_head") and args.tensor_model_parallel_size > 1:
        yield "one key-value head can't be cut: --tensor-model-parallel-size has to be 1 (copies of it would train apart)"
    for key in ("window", "attention_softcap", "attention_scale"):
        for flag in ("use_flash_attn_v1", "use_flash_attn_triton", "use_flash_attn_builder"):
            if spec.get(key) and getattr(args, flag, False) and not (key == "attention_scale" and flag != "use_flash_attn_triton"):
                yield f"--{flag.replace('_', '-')} knows no {key}: {WITHOUT_FLASH}"


def adjust(layer, index, cap, window, scale):
    """One layer's attention; modules() also finds it within DeepSpeed's DistributedAttention."""
    from megatron.model.fused_softmax import FusedScaleMaskSoftmax
    from megatron.model.transformer import CoreAttention, FlashSelfAttention
    inside = window and (window.get("layers") is None or index in window["layers"])
    size = window["size"] if inside else None
    for module in layer.self_attention.modules():
        if isinstance(module, CoreAttention) and scale:
            module.norm_factor = (module.layer_number if module.apply_query_key_layer_scaling else 1) / scale
        if isinstance(module, FusedScaleMaskSoftmax):
            module.window = size
        if isinstance(module, FlashSelfAttention):
            module.softmax_scale = scale or module.softmax_scale
            more = {**({"window_size": (size - 1, 0)} if size else {}), **({"softcap": cap} if cap else {})}
            if more:
                module.flash_attn_func = functools.partial(module.flash_attn_func, **more)


def softmax_of(cap):
    """FusedScaleMaskSoftmax.forward."""
    from megatron.model.fused_softmax import FusedScaleMaskSoftmax

    def make(stock):
        def forward(self, scores, mask):
            if cap:
                s = self.scale or 1.0      # query-key layer scaling: the scores come divided by it, and leave so
                scores = torch.tanh(scores * (s / cap)) * (cap / s)
            if getattr(self, "window", None) is None:
                return stock(self, scores, mask)
            far = outside(self.window, *scores.shape[-2:], scores.device)
            return self.forward_torch_softmax(scores, far if mask is None else mask | far)
        return forward
    yield FusedScaleMaskSoftmax, "forward", make
    yield FusedScaleMaskSoftmax, "forward_torch_softmax", None


def outside(window, queries, keys, device):
    """[queries, keys]: true where a query doesn't see a key; the last query is at the last key."""
    i = torch.arange(queries, device=device)[:, None] + keys - queries
    j = torch.arange(keys, device=device)[None, :]
    return (j > i) | (j <= i - window)


def contiguous_heads():
    """ParallelAttention.repeat_kv: one head is expanded, and CoreAttention views the result."""
    from megatron.model.transformer import ParallelAttention

    def make(stock):
        def repeat_kv(self, hidden_states, n_rep):
            return stock(self, hidden_states, n_rep).contiguous()
        return repeat_kv
    yield ParallelAttention, "repeat_kv", make
    yield ParallelAttention, "forward", None
