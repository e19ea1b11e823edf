"""The spec: what a model needs beyond MDS's flags. zerofs writes it from config.json; every key is optional.

rope               {"rope_type": "default"|"linear"|"llama3"|"yarn"|"longrope"|"dynamic", "rope_theta": float, …}: config.json's
                   rope_parameters, with "max_position_embeddings" (dynamic; yarn and longrope without "factor")
rope_local         {"rope_theta": float, "layers": [i, …]}: other, unscaled frequencies in these layers (Gemma 3)
nope_layers        [i, …]: no rotation in these layers (SmolLM3, Cohere 2)
qk_norm            "head": RMSNorm over each head of q and k (Qwen3); "width": over all heads together (OLMo 2)
norm               {"plus_one": true}: RMSNorms multiply by 1 + weight (Gemma); {"fp32_product": true}: in fp32 (OLMo 2)
block              "post": norms after attention and MLP, none before (OLMo 2); "sandwich": before and after (Gemma 2);
                   "parallel": attention and MLP side by side, a norm each (NeoX); "parallel_one_norm": on one (Phi)
activation         "silu"|"gelu"|"gelu_tanh"|"relu"|"relu2"; gated where --swiglu is given
attention_scale    float, in place of 1/sqrt(head size)
attention_softcap  float c: c·tanh(scores/c), before the mask (Gemma 2)
window             {"size": n, "layers": [i, …] or absent for all}: token i sees i-n+1 … i
one_kv_head        true: one key-value head for all queries, without flash attention too (Falcon-7B, Gemma 2B)
embedding_scale    float, rounded to the parameters' type (Gemma)
logit_scale        float (Cohere)
logit_softcap      float c: c·tanh(logits/c), after the scale (Gemma 2)
head_bias          true: the untied head has a bias (Phi, GPT-J)

Layers count from 0 over the whole model. Two more keys are about the run, not the model:

guard              false: checkpoints don't name the spec they were made for (guard.py); default true
facts              {argument: {"value", "otherwise", "kind"}}: what MDS has to have parsed (facts.py)
"""
import json
import os
from typing import NamedTuple

from zerofs_megatron.errors import ExtensionError

CHOICES = {      # of the keys that name a kind
    "rope": ("default", "linear", "llama3", "yarn", "longrope", "dynamic"),
    "qk_norm": ("head", "width"),
    "block": ("post", "sandwich", "parallel", "parallel_one_norm"),
    "activation": ("silu", "gelu", "gelu_tanh", "relu", "relu2"),
}
MODEL = {"rope", "rope_local", "nope_layers", "qk_norm", "norm", "block", "activation", "attention_scale",
         "attention_softcap", "window", "one_kv_head", "embedding_scale", "logit_scale", "logit_softcap", "head_bias"}
PLACE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "extension.json")


def kind_of(key, value):
    """The kind that a value of one of CHOICES names."""
    return value.get("rope_type") or value.get("type") or "default" if key == "rope" else value


class Spec(NamedTuple):
    model: dict
    facts: dict
    guard: bool
    text: str      # the whole, as JSON

    @classmethod
    def read(cls, path=None):
        """The spec at path, else where ZEROFS_MEGATRON_SPEC says, else beside the package."""
        path = path or os.environ.get("ZEROFS_MEGATRON_SPEC") or PLACE
        try:
            with open(path, encoding="utf-8") as file:
                return cls.of(json.load(file))
        except OSError as error:
            raise ExtensionError(f"no spec of the model at {path}: {error.strerror}. Name one by --spec FILE or "
                                 "ZEROFS_MEGATRON_SPEC; `zerofs mount` serves it as MNT/.zerofs/extension.json") from None
        except ValueError as error:
            raise ExtensionError(f"{path} is no JSON: {error}") from None

    @classmethod
    def of(cls, given):
        if not isinstance(given, dict):
            raise ExtensionError(f"a spec is a JSON object, not {given!r:.60}")
        model = {k: v for k, v in given.items() if k not in ("facts", "guard") and v not in (None, False, {}, [])}
        unknown = sorted(set(model) - MODEL)
        if unknown:
            raise ExtensionError(f"the spec asks for {', '.join(unknown)}, which this version of zerofs_megatron doesn't know")
        for key, known in CHOICES.items():
            if key in model and kind_of(key, model[key]) not in known:
                raise ExtensionError(f"{key} of kind {kind_of(key, model[key])!r} isn't known: {', '.join(known)} are")
        return cls(model, given.get("facts") or {}, given.get("guard", True), json.dumps(given, indent=1))

    def summary(self):
        """One line: rope (llama3), qk_norm (head), …"""
        words = (f"{k} ({kind_of(k, v)})" if k in CHOICES else k for k, v in self.model.items())
        return ", ".join(words) or "nothing: stock Megatron-DeepSpeed computes this model"


def differences(have, want):
    """Keys in which two models' specs differ, in words."""
    return [f"{k}: {json.dumps(have.get(k))} here, {json.dumps(want.get(k))} there"
            for k in sorted(set(have) | set(want)) if have.get(k) != want.get(k)]
