"""rope, rope_local, nope_layers: which frequencies rotate q and k, and in which layers.

The rules are transformers' (modeling_rope_utils.py). The angles are made in fp32 at each call: MDS's own buffer inv_freq
follows the model to bf16. The length that longrope and dynamic choose by is the run's, as MDS asks for angles.
"""
import math

import torch

from zerofs_megatron.changes import after_layer
from zerofs_megatron.spec import kind_of


def changes(spec):
    rope, local, nope = spec.get("rope"), spec.get("rope_local"), spec.get("nope_layers")
    if rope:
        yield from frequencies_by(rope)
    if local or attention_factor(rope or {}) != 1:
        yield from rotation_by(attention_factor(rope or {}), uncached=bool(local))
    if local or nope:
        yield from per_layer(local, nope or [])


def frequencies_by(rope):
    """RotaryEmbedding.forward: the one place from which both models have their angles."""
    from megatron.model.rotary_pos_embedding import RotaryEmbedding

    def init(stock):
        def __init__(self, dim, theta=10000):
            stock(self, dim, theta)
            self.dim, self.theta = dim, theta
        return __init__

    def forward(stock):
        def forward(self, max_seq_len, offset=0):
            inverse = frequencies(rope, self.dim, self.theta, max_seq_len)
            return angles(inverse, max_seq_len, self.inv_freq.device, offset)
        return forward
    yield RotaryEmbedding, "__init__", init
    yield RotaryEmbedding, "forward", forward


def rotation_by(factor, uncached):
    """apply_rotary_pos_emb: cos and sin have a factor (yarn, longrope); more than one table of them is in use."""
    from megatron.model import rotary_pos_embedding, transformer

    def make(stock):
        def apply_rotary_pos_emb(t, freqs):
            if uncached:
                rotary_pos_embedding.cos_cached = None      # the cache knows tables apart by their length only
            n = freqs.shape[-1]
            turned = stock(t[..., :n], freqs) * factor
            return turned if n == t.shape[-1] else torch.cat((turned, t[..., n:]), dim=-1)
        return apply_rotary_pos_emb
    yield transformer, "apply_rotary_pos_emb", make
    yield transformer.ParallelAttention, "forward", None


def per_layer(local, nope):
    """ParallelAttention.forward: the rotation arrives as an argument, so a layer can have another one, or none."""
    from megatron.model.transformer import ParallelAttention
    tables = {}

    def local_table(usual):
        length, dim = usual.shape[0], usual.shape[-1]
        if (length, dim) not in tables:
            tables[length, dim] = angles(frequencies({}, dim, local["rope_theta"], length), length, usual.device)
        return tables[length, dim]

    def mark(layer, index):
        layer.self_attention.rotation = ("none" if index in nope else
                                         "local" if local and index in local["layers"] else "usual")

    def make(stock):
        def forward(self, *args, rotary_pos_emb=None, **kwargs):
            if rotary_pos_emb is not None and self.rotation != "usual":
                rotary_pos_emb = local_table(rotary_pos_emb) if self.rotation == "local" else None
            return stock(self, *args, rotary_pos_emb=rotary_pos_emb, **kwargs)
        return forward
    yield after_layer(mark)
    yield ParallelAttention, "forward", make


def angles(inverse, length, device, offset=0):
    """[length, 1, 1, dim]: the halves of dim alike, as MDS rotates."""
    positions = torch.arange(length, device=device).float() + offset
    half = torch.outer(positions, inverse.to(device))
    return torch.cat((half, half), dim=-1)[:, None, None, :]


def frequencies(rope, dim, theta, length):
    """Inverse frequencies [dim / 2], fp32, for sequences of this length."""
    theta, kind, factor = rope.get("rope_theta") or theta, kind_of("rope", rope), factor_of(rope)
    original = rope.get("original_max_position_embeddings")
    if kind == "dynamic":
        longest = rope.get("max_position_embeddings") or original
        theta *= (factor * max(length, longest) / longest - (factor - 1)) ** (dim / (dim - 2))
    plain = 1.0 / theta ** (torch.arange(0, dim, 2).float() / dim)
    if kind == "linear":
        return plain / factor
    if kind == "llama3":      # pairs that turn often within the original length stay, those that turn seldom are stretched
        turns = original * plain / (2 * math.pi)
        kept = (turns - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        return mixed(plain, plain / factor, kept.clamp(0, 1))
    if kind == "longrope":
        return plain / torch.tensor(rope["long_factor" if length > original else "short_factor"])
    if kind == "yarn":
        return mixed(plain, plain / factor, 1 - yarn_ramp(rope, dim, theta, original))
    return plain      # default, dynamic


def mixed(kept, stretched, share):
    return kept * share + stretched * (1 - share)


def yarn_ramp(rope, dim, theta, original):
    """0 for the pairs that turn more than beta_fast times within the original length, 1 below beta_slow, linear between."""
    def pair(turns):
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
    low, high = pair(rope.get("beta_fast") or 32), pair(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    return ((torch.arange(dim // 2).float() - low) / ((high - low) or 0.001)).clamp(0, 1)


def factor_of(rope):
    if rope.get("factor") is None and kind_of("rope", rope) in ("yarn", "longrope"):
        return rope["max_position_embeddings"] / rope["original_max_position_embeddings"]
    return rope.get("factor")


def attention_factor(rope):
    """What yarn and longrope multiply cos and sin by."""
    kind, factor = kind_of("rope", rope), factor_of(rope)
    if kind not in ("yarn", "longrope"):
        return 1.0
    if rope.get("attention_factor") is not None:
        return rope["attention_factor"]
    if factor <= 1:
        return 1.0
    if kind == "longrope":
        return math.sqrt(1 + math.log(factor) / math.log(rope["original_max_position_embeddings"]))

    def mscale(k):
        return 0.1 * k * math.log(factor) + 1.0
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return mscale(rope["mscale"]) / mscale(rope["mscale_all_dim"])
    return mscale(1)
