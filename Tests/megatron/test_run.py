"""From a mount through a training, without the mount: its extension goes with the checkpoints, and what lacks it stops."""
import json
import re
from pathlib import Path

import pytest
import torch
import transformers

from mounting import mounted
from test_guard import RESUME, stopped
from test_mount import ZEROFS, pytestmark  # noqa: F401
from test_ways import LIMIT, SPEC
from training import LAYERS, VOCABULARY, arguments, losses, run, script_of

SIZES = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS, num_attention_heads=8, num_key_value_heads=4, head_dim=8,
             vocab_size=VOCABULARY, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """What test_ways' spec is the spec of."""
    torch.manual_seed(3)
    config = transformers.Qwen3Config(**SIZES, hidden_act="gelu_pytorch_tanh", rope_parameters={"rope_theta": 1e4, **SPEC["rope"]})
    folder = tmp_path_factory.mktemp("hf")
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layout", [dict(), dict(pipe=True, tp=2)], ids=["no pipeline", "pipeline, TP 2"])
def test_train_save_unmount_resume(layout: dict, model: Path, each_checkout: Path, tmp_path: Path) -> None:
    script, ranks, save = script_of(each_checkout), layout.get("tp", 1), tmp_path / "save"

    def start(*before: object, more: tuple, path: Path | None = None):
        return run(each_checkout, [*before, each_checkout / script, *arguments(tmp_path, *more, *RESUME, iters=6, **layout)],
                   ranks=ranks, path=(path,) if path else ())
    options = ["--dtype", "fp32", "--tp", ranks, "--make-vocab-size-divisible-by", 256 // ranks]
    (mountpoint := tmp_path / "mnt").mkdir()
    with mounted(ZEROFS, model, mountpoint, *options, *([] if layout else ["--no-pipeline-parallel"])) as m:
        served, load = m.path / ".zerofs", ("--load", m.path)
        spec = json.loads((served / "extension.json").read_text())
        assert {key: spec[key] for key in spec.keys() - {"facts"}} == SPEC | {"rope": spec["rope"]}
        assert spec["rope"].items() >= SPEC["rope"].items()
        assert stopped(start(more=load), "No module named 'zerofs_megatron'")
        done = start("-m", "zerofs_megatron", more=load, path=served)
        [said] = re.findall("Megatron-DeepSpeed extended by (.*)", done.stdout)
        assert sorted(said.split(", ")) == ["activation (gelu_tanh)", "qk_norm (head)", "rope (llama3)"]
        whole = losses(done)
        begun = start("-m", "zerofs_megatron", more=(*load, "--save", save, "--exit-interval", 3), path=served)
        assert losses(begun) == whole[:3]
    load = ("--load", save)
    assert stopped(start(more=load), "No module named 'zerofs_megatron'")
    resumed = losses(start("-m", "zerofs_megatron", more=load, path=save / ".zerofs"))
    assert resumed == pytest.approx(whole[3:], abs=LIMIT)
