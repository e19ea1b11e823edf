"""Rebuilds Hugging Face weights from the rank files of a pipeline checkpoint, by two independent ways:
from the model states (layer_NN-model_TT) and from the fp32 masters in the ZeRO optimizer states.

What Megatron-DeepSpeed split, fused, padded and interleaved is undone here in plain torch, without ZeroFS.
"""
import enum
import re
import sys
import types
from collections.abc import Iterable
from math import prod
from pathlib import Path

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Shards = dict[str, list[Tensor]]  # Megatron parameter name -> its part on each tensor-parallel rank


def provide_model_type() -> None:
    """The saved `args` hold a ModelType of Megatron: a stand-in lets them unpickle where Megatron is absent."""
    try:
        import megatron.core.enums  # noqa: F401
    except ImportError:
        kinds = ["encoder_or_decoder", "encoder_and_decoder", "retro_encoder", "retro_decoder"]
        for name in ("megatron", "megatron.core", "megatron.core.enums"):
            sys.modules[name] = types.ModuleType(name)
        enums = sys.modules["megatron.core.enums"]
        enums.ModelType = enum.Enum("ModelType", kinds, module=enums.__name__)


def load(path: Path) -> dict:
    provide_model_type()
    return torch.load(path, map_location="cpu", weights_only=False)


def step_directory(checkpoint: Path) -> Path:
    return checkpoint / (checkpoint / "latest").read_text()


def shards_of_model_states(checkpoint: Path) -> Shards:
    """layer_NN-model_TT-model_states.pt: NN counts the pipeline's layers, TT is the tensor-parallel rank."""
    shards: Shards = {}
    for path in sorted(step_directory(checkpoint).glob("layer_*-model_*-model_states.pt")):
        number = int(re.match(r"layer_(\d+)", path.name)[1])
        for name, tensor in load(path).items():
            shards.setdefault(f"{number}.{name}", []).append(tensor)
    return shards


def shards_of_masters(checkpoint: Path, tp: int, pp: int, dp: int) -> Shards:
    """Per model-parallel rank: join each group's partitions over dp, then cut it by param_shapes."""
    step, shards = step_directory(checkpoint), {}
    for mp_rank in range(pp * tp):
        model = load(step / f"mp_rank_{mp_rank:02d}_model_states.pt")
        ranks = [load(step / f"bf16_zero_pp_rank_{d}_mp_rank_{mp_rank:02d}_optim_states.pt") for d in range(dp)]
        partitions = [rank["optimizer_state_dict"]["single_partition_of_fp32_groups"] for rank in ranks]
        for group, shapes in enumerate(model["param_shapes"]):
            flat, start = torch.cat([partition[group] for partition in partitions]), 0
            for name, shape in shapes.items():
                tensor = flat[start:start + prod(shape)].view(shape)
                start += prod(shape)
                parts = shards.setdefault(name.replace("tied_modules.embed", "1"), [])
                if len(parts) < tp:
                    parts.append(tensor)
                else:  # the last stage's copy of the tied embedding
                    assert torch.equal(parts[mp_rank % tp], tensor), f"{name} differs between stages"
            assert flat.numel() == start, f"mp_rank {mp_rank}: group {group} has more than its parameters"
    return shards


def hugging_face(shards: Shards, config: dict) -> Weights:
    """Joins the tensor-parallel parts and undoes QKV interleaving, gate/up fusion and vocabulary padding."""
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or config["hidden_size"] // heads
    weights: Weights = {}

    def joined(parts: Iterable[Tensor], dim: int = 0) -> Tensor:
        return torch.cat(list(parts), dim)

    for megatron_name, parts in shards.items():
        number, name = megatron_name.split(".", 1)
        layer = f"model.layers.{int(number) - 2}"
        match name:
            case "word_embeddings.weight":
                weights["model.embed_tokens.weight"] = joined(parts)[:config["vocab_size"]]
            case "lm_head.weight":
                weights["lm_head.weight"] = joined(parts)[:config["vocab_size"]]
            case "weight":
                assert int(number) == layers + 2
                weights["model.norm.weight"] = parts[0]
            case "input_layernorm.weight" | "post_attention_layernorm.weight":
                assert all(torch.equal(parts[0], part) for part in parts), f"{megatron_name} differs between ranks"
                weights[f"{layer}.{name}"] = parts[0]
            case "self_attention.query_key_value.weight":
                # rows of one KV group: its query heads, then its key head, then its value head
                per_group = joined(parts).view(groups, heads // groups + 2, head, -1)
                queries, keys, values = per_group.split([heads // groups, 1, 1], dim=1)
                for letter, rows in zip("qkv", (queries, keys, values)):
                    weights[f"{layer}.self_attn.{letter}_proj.weight"] = rows.flatten(0, 2)
            case "self_attention.dense.weight":
                weights[f"{layer}.self_attn.o_proj.weight"] = joined(parts, dim=1)
            case "mlp.dense_h_to_4h.weight":
                gates, ups = zip(*(part.chunk(2) for part in parts))
                weights[f"{layer}.mlp.gate_proj.weight"] = joined(gates)
                weights[f"{layer}.mlp.up_proj.weight"] = joined(ups)
            case "mlp.dense_4h_to_h.weight":
                weights[f"{layer}.mlp.down_proj.weight"] = joined(parts, dim=1)
            case _:
                raise KeyError(f"unknown Megatron parameter {megatron_name}")
    return weights
