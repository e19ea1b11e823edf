"""Hugging Face weights rebuilt from the mounted rank files equal the originals, bit for bit."""
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rebuild

LAYOUTS = [(1, 1, 1), (1, 4, 3), (2, 3, 1), (4, 1, 5), (4, 2, 2)]


@pytest.mark.parametrize("model", ["llama_bf16", "llama_tied_bf16", "mistral_bf16"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "tp{}pp{}dp{}".format(*layout))
def test_layouts_beyond_the_goldens(model: str, layout: tuple[int, int, int], golden: Path, mount) -> None:
    tp, pp, dp = layout
    hf = golden / "hf" / model
    config, wanted = json.loads((hf / "config.json").read_text()), load_file(hf / "model.safetensors")
    if config["num_key_value_heads"] % tp:
        pytest.skip(f"{config['num_key_value_heads']} KV heads over {tp} ranks")
    with mount(hf, "--tp", tp, "--pp", pp, "--dp", dp) as m:
        states = rebuild.hugging_face(rebuild.shards_of_model_states(m.path), config)
        masters = rebuild.hugging_face(rebuild.shards_of_masters(m.path, tp, pp, dp), config)
    assert states.keys() == masters.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert states[name].dtype == tensor.dtype and torch.equal(states[name], tensor), name
        assert masters[name].dtype == torch.float32 and torch.equal(masters[name], tensor.float()), name
