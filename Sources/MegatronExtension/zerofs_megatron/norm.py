"""norm: every RMSNorm multiplies by 1 + weight (Gemma), or multiplies in fp32 before it casts back (Gemma, OLMo 2).

Weights stay as Hugging Face stores them: 1 + w folded into them would round.
"""
import torch


def changes(spec):
    """The name RMSNorm in both modules that build one; the stock class (torch's, IPEX's, Apex's) makes the parameter."""
    norm = spec.get("norm")
    if not norm:
        return
    from megatron.model import gpt_model, transformer

    def make(stock):
        class RMSNorm(stock):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                if norm.get("plus_one"):
                    torch.nn.init.zeros_(self.weight)

            def forward(self, x):
                return product(unit(x, self.eps), self.weight, x, norm)
        return RMSNorm
    yield transformer, "RMSNorm", make
    yield gpt_model, "RMSNorm", make
    yield transformer.ParallelTransformerLayer, "__init__", None
    yield transformer.ParallelTransformer, "__init__", None
    yield gpt_model.GPTModelPipe, "__init__", None


def mean_of_squares(y):
    return y.pow(2).mean(-1, keepdim=True)


def unit(x, eps, mean=mean_of_squares):
    """x in fp32, divided by the root of its mean square over the last dimension."""
    y = x.float()
    return y * torch.rsqrt(mean(y) + eps)


def product(y, weight, like, norm):
    """y, in fp32, by the weight, in the type of `like`."""
    if norm.get("plus_one"):
        return (y * (1.0 + weight.float())).type_as(like)
    if norm.get("fp32_product"):
        return (y * weight.float()).type_as(like)
    return y.type_as(like) * weight


def new_weight(size, norm, dtype):
    return torch.nn.Parameter((torch.zeros if norm.get("plus_one") else torch.ones)(size, dtype=dtype))
