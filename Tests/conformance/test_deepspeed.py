"""Real DeepSpeed, two processes on CPU, loads the mount and trains from it."""
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deepspeed_load import tokens
from layouts import options

MODEL = "llama_bf16"


def transformers_loss(hf: Path) -> float:
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.bfloat16).eval()
    batch = tokens(model.config.vocab_size)
    with torch.no_grad():
        logits = model(batch[:, :-1]).logits.float()
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()))


def deepspeed_load(checkpoint: Path, *arguments: object) -> dict:
    script = Path(__file__).with_name("deepspeed_load.py")
    done = subprocess.run([sys.executable, script, checkpoint, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("zero", [1, 2])
def test_loads_and_trains(zero: int, golden: Path, mount, measured) -> None:
    hf = golden / "hf" / MODEL
    case = {"tp": 1, "pp": 1, "dp": 2, "zero": zero, "dtype": "bf16", "no_pipe": True}
    with mount(hf, *options(case)) as m:
        result = deepspeed_load(m.path, "--dp", 2, "--zero", zero, "--train", hf, "--steps", 2)
    assert result["optimizer"] == "DeepSpeedZeroOptimizer"
    assert result["masters_differ"] == 0, "fp32 masters are not the weights, widened"
    assert result["nonzero"] == result["parameters"] == 27
    assert result["loss"] == pytest.approx(transformers_loss(hf), abs=0.02)  # bf16 rounding
    losses = [*result["losses"], result["loss_after"]]
    measured(f"DeepSpeed ZeRO {zero}: losses {losses}")
    assert all(map(math.isfinite, losses))
    assert losses[0] == pytest.approx(result["loss"], abs=1e-3)
    assert losses[0] > losses[1] > losses[2] > 0, f"two steps on one batch must lower its loss: {losses}"


@pytest.mark.parametrize("mp_rank", [0, 3])
def test_optimizer_of_a_pipeline_rank(mp_rank: int, golden: Path, mount) -> None:
    with mount(golden / "hf" / MODEL, "--tp", 2, "--pp", 2, "--dp", 2) as m:
        result = deepspeed_load(m.path, "--dp", 2, "--zero", 1, "--mp-rank", mp_rank)
    assert result["masters_differ"] == 0
    assert result["nonzero"] == result["parameters"]
