"""qk_norm: RMSNorm of q and k between projection and rotation (Qwen3, Gemma 3: each head; OLMo 2: all heads together).

New parameters: self_attention.q_layernorm.weight and k_layernorm.weight, after self_attention.dense.
"""
import torch

from zerofs_megatron.norm import new_weight, product, unit


def changes(spec):
    """ParallelAttention.__init__, and .split_tensor: its q and k aren't repeated or rotated yet."""
    kind, norm = spec.get("qk_norm"), spec.get("norm") or {}
    if not kind:
        return
    from megatron.model.transformer import ParallelAttention
    Norm = {"head": HeadNorm, "width": WidthNorm}[kind]

    def init(stock):
        def __init__(self, config, *args, **kwargs):
            stock(self, config, *args, **kwargs)
            size, rest = self.hidden_size_per_attention_head, (config.layernorm_epsilon, norm, config.params_dtype)
            self.q_layernorm = Norm(self.num_attention_heads_per_partition, size, *rest)
            self.k_layernorm = Norm(self.num_key_value_heads_per_partition, size, *rest)
        return __init__

    def split(stock):
        def split_tensor(self, mixed_x_layer):
            q, k, v = stock(self, mixed_x_layer)
            return self.q_layernorm(q), self.k_layernorm(k), v
        return split_tensor
    yield ParallelAttention, "__init__", init
    yield ParallelAttention, "split_tensor", split
    yield ParallelAttention, "forward", None


class HeadNorm(torch.nn.Module):
    """Of [sequence, batch, heads, size] over size; one weight [size] for all heads.

    Every tensor-parallel rank has the whole weight, but sees its own heads only. Nothing in MDS or DeepSpeed would sum
    such gradients, so the weight passes MDS's copy-to-region: nothing forward, a sum over the ranks backward.
    """
    def __init__(self, heads, size, eps, norm, dtype):
        super().__init__()
        self.weight, self.eps, self.norm = new_weight(size, norm, dtype), eps, norm

    def forward(self, x):
        from megatron.core.tensor_parallel.mappings import copy_to_tensor_model_parallel_region
        return product(unit(x, self.eps), copy_to_tensor_model_parallel_region(self.weight), x, self.norm)


class WidthNorm(torch.nn.Module):
    """Of [sequence, batch, heads, size] over heads and size of all ranks; the weight [heads · size] is cut like the heads.

    The mean of squares is a sum over the tensor-parallel ranks, forward and backward.
    """
    def __init__(self, heads, size, eps, norm, dtype):
        super().__init__()
        from megatron.core.tensor_parallel import set_tensor_model_parallel_attributes
        self.weight, self.eps, self.norm = new_weight(heads * size, norm, dtype), eps, norm
        set_tensor_model_parallel_attributes(self.weight, True, 0, 1)      # the gradient norm counts every part

    def forward(self, x):
        flat = x.reshape(*x.shape[:2], -1)
        return product(unit(flat, self.eps, mean_over_ranks), self.weight, flat, self.norm).view(x.shape)


def mean_over_ranks(y):
    from megatron.core.parallel_state import get_tensor_model_parallel_world_size
    from megatron.core.tensor_parallel.mappings import (
        copy_to_tensor_model_parallel_region, reduce_from_tensor_model_parallel_region)
    squares = y.pow(2).sum(-1, keepdim=True)      # reduced in place: nothing of the graph may need it
    total = copy_to_tensor_model_parallel_region(reduce_from_tensor_model_parallel_region(squares.clone()))
    return total / (y.shape[-1] * get_tensor_model_parallel_world_size())
