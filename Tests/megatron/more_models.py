"""Families whose code is in model directories: what they compute is what a family of transformers computes, renamed and fused.
And a real model.

Adds cases to the oracle's (shared/oracle/families/models.py): (model, tensors by MDS's names, MDS's flags, options).
"""
import json
from pathlib import Path

import torch
import transformers as T
from safetensors.torch import save_file

import models
from models import BASE, NB, RMS, ROPE, SW, case, build, eps, llama_like, rope, theta

FLAGS = RMS + ROPE + SW + NB + eps(1e-5)


def llama(positions: float):
    model, config = build(T.LlamaConfig, T.LlamaForCausalLM, **BASE, rms_norm_eps=1e-5, **rope(positions))
    return model, llama_like(model.state_dict(), config)


def saved_as(model, configuration: dict, tensors):
    """`model` with a save_pretrained that writes what a directory with code of its own holds."""
    def save_pretrained(directory: str) -> None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        common = {name: getattr(model.config, name) for name in BASE if name not in ("attn_implementation", "pad_token_id")}
        kind = configuration["model_type"]
        (Path(directory) / "config.json").write_text(json.dumps(common | {
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": str(model.dtype).removeprefix("torch."),
            "auto_map": {"AutoModelForCausalLM": f"modeling_{kind}.{configuration['architectures'][0]}"}} | configuration))
        weights = {name: weight.clone().contiguous() for name, weight in tensors(model.state_dict()).items()}
        save_file(weights, f"{directory}/model.safetensors")
    model.save_pretrained = save_pretrained
    return model


def renamed(state: dict, *pairs: tuple[str, str]) -> dict:
    def name(key: str) -> str:
        for old, new in pairs:
            key = key.replace(old, new)
        return key
    return {name(key): value for key, value in state.items()}


def joined(state: dict, name: str, join) -> dict:
    """The three projections of each layer's attention as one."""
    out = {key: value for key, value in state.items() if not key.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))}
    for key in state:
        if key.endswith("q_proj.weight"):
            layer = key.removesuffix("q_proj.weight")
            out[f"{layer}{name}.weight"] = join(*(state[f"{layer}{x}_proj.weight"] for x in "qkv"))
    return out


def per_group(q, k, v):
    groups = BASE["num_key_value_heads"]
    return torch.cat([x.reshape(groups, -1, x.shape[1]) for x in (q, k, v)], 1).reshape(-1, q.shape[1])


@case
def internlm2():      # wqkv: 'b q (h gs d) -> b q h gs d'
    model, canon = llama(1e6)
    return saved_as(model, {"model_type": "internlm2", "architectures": ["InternLM2ForCausalLM"], "bias": False, "rope_theta": 1e6},
                    lambda state: renamed(joined(state, "wqkv", per_group), ("self_attn.", "attention."), ("o_proj", "wo"),
                                          ("mlp.gate_proj", "feed_forward.w1"), ("mlp.up_proj", "feed_forward.w3"),
                                          ("mlp.down_proj", "feed_forward.w2"), ("input_layernorm", "attention_norm"),
                                          ("post_attention_layernorm", "ffn_norm"), ("model.embed_tokens", "model.tok_embeddings"),
                                          ("lm_head", "output"))), canon, FLAGS + theta(1e6), {}


@case
def baichuan():      # W_pack: thirds, no groups
    model, config = build(T.LlamaConfig, T.LlamaForCausalLM, **BASE | {"num_key_value_heads": BASE["num_attention_heads"]},
                          rms_norm_eps=1e-5, **rope())
    return saved_as(model, {"model_type": "baichuan", "architectures": ["BaiChuanForCausalLM"]},
                    lambda state: joined(state, "W_pack", lambda *parts: torch.cat(parts))), \
        llama_like(model.state_dict(), config), FLAGS + theta(1e4), {}


@case
def minicpm():      # Granite with other names for its scalars
    layers, hidden = BASE["num_hidden_layers"], BASE["hidden_size"]
    depth, base, scale = 1.4, 16, 12.0
    head = hidden // BASE["num_attention_heads"]
    model, config = build(T.GraniteConfig, T.GraniteForCausalLM, **BASE, rms_norm_eps=1e-5, tie_word_embeddings=True,
                          embedding_multiplier=scale, residual_multiplier=depth / layers ** 0.5, logits_scaling=hidden / base,
                          attention_multiplier=head ** -0.5, **rope())
    canon = llama_like(model.state_dict(), config, res=depth / layers ** 0.5 / scale)
    canon["norm.weight"] = canon["norm.weight"] / (hidden / base)
    return saved_as(model, {"model_type": "minicpm", "architectures": ["MiniCPMForCausalLM"], "scale_emb": scale,
                            "scale_depth": depth, "dim_model_base": base, "tie_word_embeddings": True},
                    lambda state: {key: value for key, value in state.items() if key != "lm_head.weight"}), \
        canon, RMS + ROPE + SW + NB + eps(1e-5 / scale ** 2) + theta(1e4), dict(tied=True)


@case
def smollm2_llama3():      # a real model; alone in its process, for it has another vocabulary
    source = Path(__file__).resolve().parents[2] / ".build-conformance/smollm2"
    config = T.AutoConfig.from_pretrained(source)
    config.rope_parameters = {**config.rope_parameters, "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    model = T.AutoModelForCausalLM.from_pretrained(source, config=config, attn_implementation="eager", dtype=torch.float32).eval()
    models.V = config.vocab_size

    def save_pretrained(directory: str) -> None:
        config.save_pretrained(directory)
        (Path(directory) / "model.safetensors").symlink_to(source / "model.safetensors")
    model.save_pretrained = save_pretrained
    return model, {}, FLAGS + theta(1e5) + ["--max-position-embeddings", config.max_position_embeddings], \
        dict(tied=True, ext=dict(rope=config.rope_parameters))
