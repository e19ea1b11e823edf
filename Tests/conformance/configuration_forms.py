"""Forms that config.json has, and what transformers' own AutoConfig makes of each.

Run as a program it writes the table that the Swift tests hold the reader against: configuration_forms.py > configurations.json
"""
import json
import random
import sys
from pathlib import Path

import environment  # noqa: F401  before transformers
import torch
from transformers import AutoConfig

FAMILIES = """llama mistral ministral qwen2 qwen3 seed_oss phi3 gpt2 starcoder2 gpt_bigcode stablelm olmo olmo2 olmo3
gpt_neox nemotron arcee granite helium ernie4_5 glm glm4 gpt_neo gemma gemma2 gemma3_text exaone4 smollm3 phi gptj falcon
cohere cohere2 opt""".split()
LAYERS, HEADS, KV, HIDDEN = 6, 8, 4, 64

# What the classes call the fields, beside the names of attribute_map.
NAMES = {
    "intermediateSize": ["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"],
    "keyValueHeads": ["num_key_value_heads", "num_kv_heads"],
    "normEps": ["rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"],
    "hiddenAct": ["hidden_act", "activation_function", "hidden_activation", "activation"],
    "attentionBias": ["attention_bias", "use_qkv_bias", "use_bias", "enable_bias", "bias"],
    "mlpBias": ["mlp_bias", "use_bias", "enable_bias", "bias"],
}
WITHOUT_ROPE = {"gpt2", "gpt_bigcode", "gpt_neo", "opt"}
WINDOWS = {"mistral", "ministral", "qwen2", "qwen3", "phi3", "starcoder2", "olmo3", "gemma2", "gemma3_text", "exaone4",
           "cohere2", "smollm3", "gpt_neo"}
UNCHANGEABLE_HEAD_DIM = {"gpt2", "gpt_bigcode", "gpt_neox", "stablelm", "gpt_neo", "gptj", "falcon", "opt"}
FLOATS = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


def own(config, field: str):
    """The value under the name that the class itself declares."""
    fields = type(config).__dataclass_fields__
    return next((getattr(config, name) for name in NAMES[field] if name in fields), None)


def rope(config) -> dict | None:
    if config.model_type in WITHOUT_ROPE:
        return None
    if config.model_type == "gptj":
        return {"type": "default", "theta": 10000.0,
                "partialRotaryFactor": config.rotary_dim / (config.hidden_size // config.num_attention_heads)}
    labels: list[str] = []
    if config.model_type in ("gemma3_text", "olmo3"):
        labels = ["full_attention", "sliding_attention"]
    else:
        config.standardize_rope_params()  # as its rotary embeddings do when the model is made
        if "layer_types" in type(config).__dataclass_fields__:  # others have one set of parameters, whatever the file lists
            labels = config.nested_rope_parameter_keys(config.rope_parameters)
    parameters, local = config.rope_parameters, None
    if labels:
        nested = {label: parameters[label] for label in labels if parameters[label]}
        local = nested.get("sliding_attention", {}).get("rope_theta")
        parameters = nested.get("full_attention") or next(iter(nested.values()))
    names = {"factor": "factor", "original_max_position_embeddings": "originalMaxPositionEmbeddings",
             "attention_factor": "attentionFactor", "beta_fast": "betaFast", "beta_slow": "betaSlow", "mscale": "mscale",
             "mscale_all_dim": "mscaleAllDim", "truncate": "truncate", "short_factor": "shortFactor",
             "long_factor": "longFactor", "low_freq_factor": "lowFreqFactor", "high_freq_factor": "highFreqFactor"}
    found = {mine: parameters[name] for name, mine in names.items() if parameters.get(name) is not None}
    return found | {"type": parameters["rope_type"], "theta": parameters["rope_theta"],
                    "partialRotaryFactor": parameters.get("partial_rotary_factor", 1.0)} \
        | ({"localTheta": local} if local is not None else {})


def attention(config) -> list[str]:
    if config.model_type == "gpt_neo":
        return ["sliding_attention" if kind == "local" else "full_attention" for kind in config.attention_layers]
    if "layer_types" in type(config).__dataclass_fields__:
        return list(config.layer_types)
    slides = config.model_type in WINDOWS and config.sliding_window is not None
    return ["sliding_attention" if slides else "full_attention"] * config.num_hidden_layers


def reading(config) -> dict:
    """What the configuration is, in the words of `zerofs configuration`."""
    kind, heads = config.model_type, config.num_attention_heads
    per_head = config.hidden_size // heads
    window = config.window_size if kind == "gpt_neo" else config.sliding_window if kind in WINDOWS else None
    epsilon = own(config, "normEps")
    kv = own(config, "keyValueHeads")
    if kind == "gpt_bigcode" and config.multi_query:
        kv = 1
    found = {
        "modelType": kind, "hiddenSize": config.hidden_size, "layers": config.num_hidden_layers, "heads": heads,
        "intermediateSize": own(config, "intermediateSize") or 4 * config.hidden_size,
        "keyValueHeads": heads if kv is None else kv, "vocabSize": config.vocab_size,
        "headDim": per_head if kind in UNCHANGEABLE_HEAD_DIM else getattr(config, "head_dim", None) or per_head,
        "maxPositionEmbeddings": config.max_position_embeddings,
        "normEps": 1e-5 if epsilon is None else epsilon,  # OLMo's and OPT's norms have PyTorch's own
        "tieWordEmbeddings": config.tie_word_embeddings, "hiddenAct": own(config, "hiddenAct"),
        "attentionBias": own(config, "attentionBias") or False, "mlpBias": own(config, "mlpBias") or False,
        "rope": rope(config), "attention": attention(config),
        "dtype": "" if config.dtype is None else FLOATS.get(config.dtype, "refused"),
    }
    return found | ({"slidingWindow": window} if window is not None else {})


def by_transformers(directory: Path, text: str) -> dict | str:
    """The reading of a config.json with this text, or why transformers refuses it."""
    (directory / "config.json").write_text(text)
    try:
        return reading(AutoConfig.from_pretrained(directory))
    except Exception as error:  # whatever a configuration class raises
        return f"{type(error).__name__}: {error}"


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1.0, "attention_factor": 1.2}
LINEAR = {"type": "linear", "factor": 2.0}


def long(dimensions: int, kind: str = "longrope") -> dict:
    return {"type": kind, "short_factor": [1.0] * dimensions, "long_factor": [1.5] * dimensions}


ROPES: list[dict] = [
    {}, {"rope_theta": 500000.0}, {"rope_theta": 500000}, {"rope_scaling": None}, {"rope_parameters": None},
    {"rope_scaling": {}, "rope_theta": 500000.0},
    {"rope_scaling": {"rope_theta": 500000.0, "rope_type": "default"}},
    {"rope_theta": 10000.0, "rope_scaling": {"rope_theta": 500000.0, "rope_type": "default"}},
    {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}},
    {"rope_theta": 10000.0, "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}},
    {"rope_theta": 500000.0, "rope_parameters": {"rope_type": "default"}},
    {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "rope_scaling": LLAMA3},
    {"rope_theta": 500000.0, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64}},
    {"rope_theta": 500000.0, "rope_scaling": LLAMA3},
    {"rope_scaling": LLAMA3, "original_max_position_embeddings": 32},
    {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64}, "original_max_position_embeddings": 32},
    {"rope_scaling": LINEAR}, {"rope_scaling": LINEAR | {"rope_type": "linear"}}, {"rope_parameters": LINEAR},
    {"rope_scaling": LINEAR | {"rope_type": "dynamic"}}, {"rope_scaling": YARN},
    {"rope_parameters": YARN | {"original_max_position_embeddings": 64, "truncate": False, "mscale": 1.0}},
    {"rope_scaling": YARN | {"mscale_all_dim": 0.5}, "original_max_position_embeddings": 64},
    {"rope_scaling": long(4)}, {"rope_scaling": long(4, "su"), "original_max_position_embeddings": 64},
    {"rope_scaling": long(4) | {"factor": 2.0}}, {"rope_scaling": long(4, "yarn") | {"factor": 2.0}},
    {"rope_parameters": {"full_attention": {"rope_theta": 500000.0, "rope_type": "default"},
                         "sliding_attention": {"rope_theta": 20000.0, "rope_type": "default"}}},
    {"rope_parameters": {"full_attention": LLAMA3, "sliding_attention": {}}, "rope_theta": 300000.0},
    {"rope_parameters": {"full_attention": LINEAR, "sliding_attention": None}},
    {"partial_rotary_factor": 0.5}, {"partial_rotary_factor": None, "rope_theta": 20000.0},
    {"rope_parameters": {"rope_theta": 20000.0, "partial_rotary_factor": 0.75}, "partial_rotary_factor": 0.5},
    {"rotary_pct": 0.5, "rotary_emb_base": 30000}, {"rotary_pct": 0.5, "partial_rotary_factor": 0.25},
    {"rope_local_base_freq": 20000.0, "rope_theta": 700000.0}, {"rotary_dim": 4},
    {"rope_scaling": {"rope_type": "linear", "factor": float("inf")}},
]
OTHERS: list[dict] = [
    {}, {}, {"torch_dtype": "bfloat16"}, {"dtype": "float16"}, {"dtype": "float32", "torch_dtype": "bfloat16"},
    {"dtype": None, "torch_dtype": "half"}, {"dtype": "float64"}, {"torch_dtype": "int8"}, {"torch_dtype": "bool"},
    {"dtype": "auto"}, {"dtype": 5},
    {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"tie_word_embeddings": None},
    {"num_key_value_heads": None}, {"num_key_value_heads": 2}, {"num_key_value_heads": 0}, {"num_kv_heads": 2},
    {"head_dim": None}, {"head_dim": 16}, {"head_dim": "16"}, {"intermediate_size": None}, {"n_inner": None}, {"n_inner": 99},
    {"hidden_size": 128}, {"hidden_size": 128.0}, {"n_embd": 128}, {"hidden_size": 128, "n_embd": 256}, {"n_embed": 128},
    {"num_hidden_layers": 6, "n_layer": 7}, {"max_position_embeddings": 10**10}, {"max_position_embeddings": 777},
    {"n_positions": 55}, {"hidden_act": "gelu"}, {"hidden_act": None}, {"activation_function": "relu"},
    {"hidden_activation": "gelu"}, {"rms_norm_eps": 3e-6}, {"rms_norm_eps": float("nan")}, {"layer_norm_eps": 3e-6},
    {"layer_norm_epsilon": 3e-6}, {"norm_epsilon": 3e-6}, {"norm_eps": 3e-6}, {"rms_norm_eps": "1e-5"},
    {"attention_bias": True}, {"attention_bias": False}, {"attention_bias": None}, {"mlp_bias": True}, {"use_bias": True},
    {"use_qkv_bias": True}, {"multi_query": False}, {"sliding_window": None}, {"sliding_window": 16},
    {"sliding_window": 16, "use_sliding_window": True}, {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 2},
    {"use_sliding_window": True, "sliding_window": None}, {"window_size": 32}, {"sliding_window_pattern": 2},
    {"layer_types": ["full_attention", "sliding_attention"] * 3}, {"layer_types": ["attention"] * 6},
    {"layer_types": ["full_attention"] * 5}, {"layer_types": None},
    {"layer_types": ["full_attention", "sliding_attention"] * 3, "use_sliding_window": True},
    {"use_bidirectional_attention": True}, {"no_rope_layers": [1, 0, 0, 1, 1, 0], "use_sliding_window": True, "sliding_window": 8},
    {"no_rope_layer_interval": 2, "use_sliding_window": True, "sliding_window": 8},
    {"attention_types": [[["local"], 6]]}, {"attention_types": [[["global", "local"], 2]]},
    {"limits": [float("nan"), float("-inf")], "huge": 10**40, "ключ": "Jürgen \ud83d\ude00 \ud800"},
    {"architectures": None}, {"quantization_config": None},
]


def base(family: str) -> dict:
    attributes = AutoConfig.for_model(family).attribute_map
    standard = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
                "max_position_embeddings": 128}
    return {"model_type": family, "architectures": ["X"], "vocab_size": 259} \
        | {attributes.get(name, name): value for name, value in standard.items()} \
        | ({"attention_types": [[["global", "local"], 3]]} if family == "gpt_neo" else {}) \
        | ({"num_key_value_heads": KV} if family not in WITHOUT_ROPE | {"gptj", "gpt_neox", "falcon"} else {}) \
        | ({"rotary_dim": 8} if family == "gptj" else {}) | ({"layer_types": None} if family == "ministral" else {})


def written(config: dict, generator: random.Random) -> str:
    """Its JSON; sometimes with a member twice."""
    text = json.dumps(config, ensure_ascii=generator.random() < 0.5 or "ключ" in config)
    if generator.random() < 0.1:
        name = generator.choice(list(config))
        text = f'{{{json.dumps({name: None})[1:-1]}, {text[1:]}'
    return text


def forms(family: str, count: int, seed: int) -> list[str]:
    """Every form of rope and of everything else once, then mixtures."""
    generator = random.Random(f"{family} {seed}")
    start = base(family)
    configs = [{"model_type": family}] + [start | change for change in ROPES + OTHERS]
    # Without one member, and the sizes that only fit together.
    configs += [{name: value for name, value in start.items() if name not in gone}
                for gone in [{name} for name in start if name not in ("model_type", "hidden_size", "n_embd")]]
    while len(configs) < count:
        mixed = dict(start)
        for change in [generator.choice(ROPES), *generator.sample(OTHERS, generator.randint(0, 3))]:
            mixed |= change
        for name in generator.sample(list(mixed), generator.randint(0, 2)):
            if name not in ("model_type", "hidden_size", "n_embd"):
                del mixed[name]
        configs.append(mixed)
    return [written(config, generator) for config in configs[:count]]


def table(directory: Path) -> list[dict]:
    """A part of the forms, with what transformers says: small enough to be kept."""
    rows = []
    for family in FAMILIES:
        chosen = forms(family, len(ROPES) + len(OTHERS) + 1, 0)
        some = chosen if family == "llama" else [chosen[0]] + random.Random(family).sample(chosen[1:], 4)
        for text in some:
            said = by_transformers(directory, text)
            if isinstance(said, dict):
                rows.append({"config": text, "transformers": said})
    return rows


if __name__ == "__main__":
    import tempfile
    with tempfile.TemporaryDirectory() as scratch:
        json.dump(table(Path(scratch)), sys.stdout, ensure_ascii=True, separators=(",", ":"))
