#!/usr/bin/env python3
"""sparse_llama.py OUT [--model NAME]: a Llama directory of full size that takes kilobytes of disk.

Real configuration, shards, headers and index as save_pretrained writes them (at most 5 GB a shard);
the tensor data are holes, that is zeros.
"""
import argparse
import json
import struct
from math import prod
from pathlib import Path

MODELS = {
    "llama-3.3-70b": dict(layers=80, hidden=8192, heads=64, ffn=28672, shards=30),
    "llama-3.1-405b": dict(layers=126, hidden=16384, heads=128, ffn=53248, shards=191),
}
KV_HEADS, HEAD_DIM, VOCAB, BYTES_PER_ELEMENT = 8, 128, 128256, 2
MAX_SHARD_BYTES = 5_000_000_000


def config(m: dict[str, int]) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": HEAD_DIM,
        "hidden_act": "silu", "hidden_size": m["hidden"], "initializer_range": 0.02,
        "intermediate_size": m["ffn"], "max_position_embeddings": 131072, "mlp_bias": False,
        "model_type": "llama", "num_attention_heads": m["heads"], "num_hidden_layers": m["layers"],
        "num_key_value_heads": KV_HEADS, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "transformers_version": "4.47.0.dev0", "use_cache": True, "vocab_size": VOCAB,
    }


def tensors(m: dict[str, int]) -> dict[str, list[int]]:
    """Every tensor's shape, in the order of the model's state dict."""
    hidden, ffn, queries, keys = m["hidden"], m["ffn"], m["heads"] * HEAD_DIM, KV_HEADS * HEAD_DIM
    shapes = {"model.embed_tokens.weight": [VOCAB, hidden]}
    for layer in range(m["layers"]):
        for name, shape in {
            "self_attn.q_proj": [queries, hidden], "self_attn.k_proj": [keys, hidden],
            "self_attn.v_proj": [keys, hidden], "self_attn.o_proj": [hidden, queries],
            "mlp.gate_proj": [ffn, hidden], "mlp.up_proj": [ffn, hidden], "mlp.down_proj": [hidden, ffn],
            "input_layernorm": [hidden], "post_attention_layernorm": [hidden],
        }.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    return shapes | {"model.norm.weight": [hidden], "lm_head.weight": [VOCAB, hidden]}


def split(shapes: dict[str, list[int]]) -> list[dict[str, list[int]]]:
    """Fills shards in order, none above MAX_SHARD_BYTES, as save_pretrained does."""
    shards: list[dict[str, list[int]]] = [{}]
    used = 0
    for name, shape in shapes.items():
        size = prod(shape) * BYTES_PER_ELEMENT
        if used + size > MAX_SHARD_BYTES and shards[-1]:
            shards.append({})
            used = 0
        shards[-1][name] = shape
        used += size
    return shards


def write_shard(path: Path, shapes: dict[str, list[int]]) -> int:
    """Header and hole; returns the bytes of tensor data."""
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):  # safetensors writes tensors of one dtype by name
        start, end = end, end + prod(shapes[name]) * BYTES_PER_ELEMENT
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", choices=MODELS, default="llama-3.3-70b")
    arguments = parser.parse_args()
    model, out = MODELS[arguments.model], arguments.out
    out.mkdir(parents=True, exist_ok=True)
    shards = split(tensors(model))
    assert len(shards) == model["shards"], f"{len(shards)} shards, the real model has {model['shards']}"
    weight_map, total = {}, 0
    for number, shapes in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        total += write_shard(out / file, shapes)
        weight_map |= dict.fromkeys(shapes, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (out / "config.json").write_text(json.dumps(config(model), indent=2) + "\n")
    print(f"{out}: {len(weight_map)} tensors, {total / 1e9:.1f} GB in {len(shards)} shards, "
          f"{sum(f.stat().st_blocks for f in out.iterdir()) // 2} KB on disk")


if __name__ == "__main__":
    main()
