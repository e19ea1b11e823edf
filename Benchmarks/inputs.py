"""What the benchmark serves: a real bf16 Llama of one wide layer, and Llamas of full size whose tensors are holes."""
import json
import struct
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy

import sparse_llama

# One layer of a 70B model with a small vocabulary: 0.94 GB, no file below 256 MiB, and column slices in
# runs of 2 KiB at TP 8.
HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 8192, 8192, 64, 8, 128, 16384


def _config() -> dict:
    return sparse_llama.config(dict(layers=1, hidden=HIDDEN, heads=HEADS, ffn=FFN)) | {
        "vocab_size": VOCAB, "tie_word_embeddings": True, "rope_scaling": None}


def _tensors() -> dict[str, list[int]]:
    layer, keys = "model.layers.0.", KV_HEADS * HEAD_DIM
    return {
        "model.embed_tokens.weight": [VOCAB, HIDDEN],
        layer + "input_layernorm.weight": [HIDDEN],
        layer + "mlp.down_proj.weight": [HIDDEN, FFN],
        layer + "mlp.gate_proj.weight": [FFN, HIDDEN],
        layer + "mlp.up_proj.weight": [FFN, HIDDEN],
        layer + "post_attention_layernorm.weight": [HIDDEN],
        layer + "self_attn.k_proj.weight": [keys, HIDDEN],
        layer + "self_attn.o_proj.weight": [HIDDEN, HIDDEN],
        layer + "self_attn.q_proj.weight": [HIDDEN, HIDDEN],
        layer + "self_attn.v_proj.weight": [keys, HIDDEN],
        "model.norm.weight": [HIDDEN],
    }


def real_model(out: Path) -> dict[str, tuple[int, list[int]]]:
    """Writes it; returns each tensor's offset in model.safetensors and its shape."""
    header = _header()
    with _started(out, header) as file:
        start = file.tell()
        random = numpy.random.default_rng(1)
        for left in range(_data_bytes(header), 0, -(64 << 20)):
            # Ordinary weights: the exponents of numbers around 0.02.
            values = random.standard_normal(min(left, 64 << 20) // 2, dtype=numpy.float32) * numpy.float32(0.02)
            file.write((values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())
    return {name: (start + entry["data_offsets"][0], entry["shape"]) for name, entry in header.items()}


def misplaced_model(out: Path, place: int) -> int:
    """The same of zeros, with a header so long that the data (the embedding first) start at byte `place` of a
    page; returns their offset."""
    header = _header()
    with _started(out, header, place) as file:
        start = file.tell()
        file.truncate(start + _data_bytes(header))
    return start


def _header() -> dict:
    header, end = {}, 0
    for name, shape in _tensors().items():
        start, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    return header


def _data_bytes(header: dict) -> int:
    return max(entry["data_offsets"][1] for entry in header.values())


def _started(out: Path, header: dict, place: int | None = None) -> BinaryIO:
    """The configuration, and the weights' file up to its data."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(_config(), indent=2))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 if place is None else (place - 8 - len(text)) % 4096)
    file = (out / "model.safetensors").open("wb")
    file.write(struct.pack("<Q", len(text)) + text)
    return file


def sparse_model(out: Path, model: dict[str, int], shard_bytes: int = sparse_llama.MAX_SHARD_BYTES) -> int:
    """Writes configuration, index and shards whose data are holes; returns the number of shards."""
    out.mkdir(parents=True, exist_ok=True)
    sparse_llama.MAX_SHARD_BYTES = shard_bytes
    shards = sparse_llama.split(sparse_llama.tensors(model))
    weight_map = {}
    for number, shapes in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        sparse_llama.write_shard(out / file, shapes)
        weight_map |= dict.fromkeys(shapes, file)
    (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (out / "config.json").write_text(json.dumps(sparse_llama.config(model)))
    return len(shards)
