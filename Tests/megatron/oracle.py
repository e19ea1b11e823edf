#!/usr/bin/env python3
"""shared/oracle/families/run.py with zerofs_megatron in the place of its prototype: oracle.py OUT CASE… --extension …

It makes a tiny random model, gives real MDS its weights, and compares logits with transformers'. More options:

  --seq N       sequences of this length
  --nosum       control: the gradients of head norms aren't summed over the tensor-parallel ranks
  --flash       a plain function in the place of FlashAttention 2's
  --load TREES  may have {case} in it. Of a mount MDS is extended by the package and the spec in its .zerofs
  --make        only makes the models
"""
import os
import runpy
import sys
import types
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SHARED", TOP.parent / "shared")).resolve()
sys.path[:0] = [str(TOP / "Sources/MegatronExtension"), str(SHARED / "oracle/families"), str(SHARED / "oracle")]
loaded = None      # the tree, of the case at hand


def extend(spec):
    """In a rank's own process. A folder that this run saves into gets a .zerofs of its own, at any moment."""
    if not os.path.ismount(loaded):
        import zerofs_megatron
        # Trees that the oracle saves aren't guarded, as the goldens aren't.
        return zerofs_megatron.extend({**spec, "guard": False})
    mounted = Path(loaded) / ".zerofs"
    sys.path.insert(0, str(mounted))
    import zerofs_megatron
    assert Path(zerofs_megatron.__file__).is_relative_to(mounted)
    zerofs_megatron.extend(mounted / "extension.json")


prototype = types.ModuleType("extension")
prototype.apply = extend
sys.modules["extension"] = prototype


def taken(option: str, values: int) -> list[str]:
    if option not in sys.argv:
        return []
    at = sys.argv.index(option)
    found = sys.argv[at:at + 1 + values]
    del sys.argv[at:at + 1 + values]
    return found


def flash_attention(q, k, v, cu_q, cu_k, queries, keys, dropout, softmax_scale=None, causal=False, window_size=(-1, -1),
                    softcap=0.0):
    """flash_attn_varlen_func, of sequences of one length: [batch · sequence, heads, size]."""
    q, k, v = (x.view(-1, queries, *x.shape[1:]).transpose(1, 2).float() for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) * (softmax_scale or q.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap if softcap else scores
    back = torch.arange(queries)[:, None] - torch.arange(keys)
    hidden = (back < 0) & causal | (back > window_size[0]) & (window_size[0] >= 0)
    out = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
    return out.transpose(1, 2).reshape(-1, out.shape[1], out.shape[3]).bfloat16()


length, nosum, flash, make = taken("--seq", 1), taken("--nosum", 0), taken("--flash", 0), taken("--make", 0)
import mds_run
import torch
if make:      # in the type that run.py, which isn't run, would say
    os.environ["FAMILIES_DTYPE"] = (taken("--dtype", 1) or ["", "fp32"])[1]
import models
import more_models      # adds its cases

if length:
    models.SEQ = int(length[1])
if nosum:
    from zerofs_megatron import norm, qk_norm
    qk_norm.HeadNorm.forward = lambda self, x: norm.product(norm.unit(x, self.eps), self.weight, x, self.norm)
if flash:
    def apply(spec, extend=prototype.apply):
        from megatron.model import transformer
        transformer.flash_attn_varlen_func = flash_attention
        transformer.FlashAttentionBuilder = lambda: types.SimpleNamespace(load=lambda: None)
        extend(spec)
    prototype.apply = apply
stock = mds_run.options


def options(argv=None):
    global loaded
    o = stock(argv)
    o.seq, o.dir = models.SEQ, o.dir.replace("{case}", o.case)
    loaded = o.dir
    return o


if make:
    for case in sys.argv[2:]:
        models.CASES[case]()[0].to(models.DTYPE).save_pretrained(f"{sys.argv[1]}/hf/{case}")
    sys.exit()


mds_run.options = options
runpy.run_path(str(SHARED / "oracle/families/run.py"), run_name="__main__")
