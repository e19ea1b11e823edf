"""Real Megatron-DeepSpeed loads the mount and trains from it.

Needs MEGATRON_DEEPSPEED, a checkout of the ALCF fork.
"""
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from environment import CACHE
from layouts import options
from megatron_args import command_line

pytestmark = pytest.mark.skipif(
    not os.environ.get("MEGATRON_DEEPSPEED"),
    reason="MEGATRON_DEEPSPEED names no checkout of argonne-lcf/Megatron-DeepSpeed")

CASES = [
    "llama-pipe-tp2pp2dp2-z1-bf16", "llama-pipe-tp1pp1dp2-z1-bf16", "llama-nopipe-tp1pp1dp2-z1-bf16",
    "llama-nopipe-tp2pp1dp2-z2-bf16", "llama_tied-pipe-tp1pp2dp2-z1-bf16",
]
RELAXED = "--mds=--no-load-rng --override-opt_param-scheduler"  # what a run that did not save the checkpoint needs


def python(*arguments: object, cwd: Path | None = None) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", *map(str, arguments)],
                          cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.parametrize("name", CASES)
def test_loads_and_trains_as_the_golden(name: str, golden: Path, oracle: Path, mount, measured) -> None:
    case = json.loads((golden / "cases.json").read_text())[name]
    with mount(golden / "hf" / case["hf"], *options(case)) as m:
        said = python(oracle / "loadcheck.py", m.path, name, "--train", 3, cwd=golden)
    measured(f"loadcheck.py {name} --train 3\n{said}")


def mds_load(oracle: Path, out: Path, *arguments: object) -> list[dict]:
    python(oracle / "mds_run.py", "--mode", "load", "--zero", 1, "--timeout", 600, "--out", out, RELAXED, *arguments)
    return json.loads(out.read_text())["ranks"]


@pytest.fixture(scope="module")
def transformers_logits(smollm2: Path, oracle: Path) -> Path:
    """hf_ref.py writes beside itself, so a copy of it runs in the cache."""
    reference = CACHE / "ref/smollm2.npz"
    if not reference.exists():
        shutil.copy(oracle / "hf_ref.py", CACHE)
        python(CACHE / "hf_ref.py", smollm2)
    return reference


def test_trained_model_gives_transformers_logits(
    smollm2: Path, transformers_logits: Path, oracle: Path, mount, tmp_path: Path, measured
) -> None:
    import numpy
    with mount(smollm2, "--tp", 1, "--pp", 2, "--dp", 1) as m:
        ranks = mds_load(oracle, tmp_path / "out.json", "--hf", smollm2, "--pp", 2, "--dir", m.path,
                         "--forward", "--hf-ref", transformers_logits)
    last = ranks[-1]
    reference = numpy.load(transformers_logits)
    rounding = numpy.abs(reference["fp32"] - reference["native"]).max()  # transformers' own, bf16 against fp32
    shown = {key: value for key, value in last.items() if "hf" in key or "loss" in key}
    measured(f"SmolLM2 1x2x1 in Megatron-DeepSpeed: {shown}, transformers' bf16 rounding {rounding}")
    assert last["hf_native_maxdiff"] <= rounding
    assert last["hf_native_argmax_agree"] >= 0.95
    assert last["loss_realvocab"] == pytest.approx(last["hf_loss"], rel=1e-3)


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:24]


def test_trained_model_at_tp_3_by_digests(smollm2: Path, oracle: Path, mount, tmp_path: Path) -> None:
    """One KV head per rank: this MDS can't run it without flash attention, but what it loaded can be compared."""
    spec = importlib.util.spec_from_file_location("mapping", oracle / "mapping.py")
    mapping = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mapping)
    weights, config = mapping.load_hf(str(smollm2)), json.loads((smollm2 / "config.json").read_text())
    with mount(smollm2, "--tp", 3, "--pp", 1, "--dp", 1) as m:
        ranks = mds_load(oracle, tmp_path / "out.json", "--hf", smollm2, "--tp", 3, "--dir", m.path)
    assert len(ranks) == 3
    for tp_rank, rank in enumerate(ranks):
        loaded = rank["digest"]
        wanted = {name: mapping.mds_weight(name, weights.get, config, tp_rank, 3, rank["padded_vocab"], True)
                  for name in loaded["params"]}
        assert len(wanted) == 182
        differing = [name for name, tensor in wanted.items() if loaded["params"][name][0] != digest(tensor)]
        assert not differing
        for group, dimensions in enumerate([2, 1]):
            flat = torch.cat([tensor.float().flatten() for tensor in wanted.values() if tensor.dim() == dimensions])
            flat = torch.nn.functional.pad(flat, (0, -len(flat) % 2))
            assert loaded["optim"][f"{group}.0.master"][0] == digest(flat), f"masters of group {group}"


STRICT = [
    "llama-pipe-tp2pp2dp2-z1-bf16", "llama-nopipe-tp2pp1dp2-z3-bf16", "llama-nopipe-tp1pp1dp2-z3-bf16-sub",
    "llama-pipe-tp1pp1dp2-z1-bf16-gad32", "llama-pipe-tp1pp1dp2-z0-fp16", "llama-nopipe-tp1pp1dp2-z0-bf16",
    "llama-pipe-tp1pp1dp1-z0-fp32",
]


@pytest.mark.parametrize("name", STRICT)
def test_full_resume_without_extra_flags(name: str, golden: Path, oracle: Path, mount, measured) -> None:
    case = json.loads((golden / "cases.json").read_text())[name]
    words = shlex.join(command_line(oracle, golden, case))
    with mount(golden / "hf" / case["hf"], *options(case), "--train-args", words, "--device", "cpu") as m:
        said = python(oracle / "loadcheck.py", m.path, name, "--strict", "--train", 3, cwd=golden)
    measured(f"loadcheck.py {name} --strict --train 3\n{said}")


UNIVERSAL = [  # model, engine, layouts (tp, pp, dp, ZeRO stage), all from one mount
    ("llama_bf16", "pipe", [(1, 1, 2, 1), (2, 1, 1, 1), (1, 2, 2, 1), (2, 2, 2, 1)]),
    ("llama_bf16", "nopipe", [(2, 1, 2, 2)]),
    ("llama_tied_bf16", "pipe", [(1, 2, 2, 1)]),
    ("llama_tied_bf16", "nopipe", [(2, 1, 2, 2)]),
]


@pytest.mark.parametrize("model, engine, layouts", UNIVERSAL, ids=[f"{m}-{e}" for m, e, _ in UNIVERSAL])
def test_universal_checkpoint(model: str, engine: str, layouts: list, golden: Path, oracle: Path, mount, tmp_path: Path,
                              measured) -> None:
    """What MDS holds after loading it is what MDS holds when it starts from the model itself."""
    no_pipe = ["--no-pipe"] if engine == "nopipe" else []
    flags = ["--universal-checkpoint", *(["--no-pipeline-parallel"] if no_pipe else [])]
    with mount(golden / "hf" / model, *flags) as m:
        for tp, pp, dp, zero in layouts:
            run = [oracle / "mds_run.py", "--hf", golden / "hf" / model, "--tp", tp, "--pp", pp, "--dp", dp,
                   "--zero", zero, "--timeout", 600, *no_pipe]
            python(*run, "--mode", "load", "--universal", "--dir", m.path, "--out", tmp_path / "got.json", RELAXED)
            python(*run, "--mode", "save", "--dir", tmp_path / "saved", "--out", tmp_path / "wanted.json")
            got, wanted = (json.loads((tmp_path / f"{name}.json").read_text())["ranks"] for name in ("got", "wanted"))
            assert [r["digest"]["params"] for r in got] == [r["digest"]["params"] for r in wanted]
            assert [r["digest"]["optim"] for r in got] == [r["digest"]["optim"] for r in wanted]
            measured(f"universal {model} {engine} {tp}x{pp}x{dp} ZeRO {zero}: digests equal on {len(got)} ranks")
