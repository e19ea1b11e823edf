"""Real Megatron-DeepSpeed loads the mount and trains from it.

Needs MEGATRON_DEEPSPEED, a checkout of the ALCF fork.
"""
import hashlib
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
from megatron_args import command_line, oracle_module

pytestmark = pytest.mark.skipif(
    not os.environ.get("MEGATRON_DEEPSPEED"),
    reason="MEGATRON_DEEPSPEED names no checkout of argonne-lcf/Megatron-DeepSpeed")

CASES = [
    "llama-pipe-tp2pp2dp2-z1-bf16", "llama-pipe-tp1pp1dp2-z1-bf16", "llama-nopipe-tp1pp1dp2-z1-bf16",
    "llama-nopipe-tp2pp1dp2-z2-bf16", "llama_tied-pipe-tp1pp2dp2-z1-bf16",
    "llama-pipe-tp1pp1dp1-z0-bf16",  # with --finetune only, as `zerofs plan` says
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


def mds(mode: str, oracle: Path, out: Path, *arguments: object) -> list[dict]:
    """What each rank of a run holds: after it saved its start (`save`), or after loading (`load`)."""
    python(oracle / "mds_run.py", "--mode", mode, "--timeout", 600, "--out", out, *arguments)
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
        ranks = mds("load", oracle, tmp_path / "out.json", "--hf", smollm2, "--pp", 2, "--dir", m.path, RELAXED,
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


def assert_loaded(ranks: list[dict], hf: Path, oracle: Path, parameters: int) -> None:
    """Each tensor-parallel rank of a bf16 run at ZeRO 1, DP 1: parameters are the oracle's slices, rounded; masters
    as they are."""
    mapping = oracle_module(oracle, "mapping")
    weights, config = mapping.load_hf(str(hf)), json.loads((hf / "config.json").read_text())
    for tp_rank, rank in enumerate(ranks):
        loaded = rank["digest"]
        wanted = {name: mapping.mds_weight(name, weights.get, config, tp_rank, len(ranks), rank["padded_vocab"], True)
                  for name in loaded["params"]}
        assert len(wanted) == parameters
        differing = [name for name, t in wanted.items() if loaded["params"][name][0] != digest(t.bfloat16())]
        assert not differing
        for group, dimensions in enumerate([2, 1]):
            flat = torch.cat([tensor.float().flatten() for tensor in wanted.values() if tensor.dim() == dimensions])
            flat = torch.nn.functional.pad(flat, (0, -len(flat) % 2))
            assert loaded["optim"][f"{group}.0.master"][0] == digest(flat), f"masters of group {group}"


def test_trained_model_at_tp_3_by_digests(smollm2: Path, oracle: Path, mount, tmp_path: Path) -> None:
    """One KV head per rank: this MDS can't run it without flash attention, but what it loaded can be compared."""
    with mount(smollm2, "--tp", 3) as m:
        ranks = mds("load", oracle, tmp_path / "out.json", "--hf", smollm2, "--tp", 3, "--dir", m.path, RELAXED)
    assert len(ranks) == 3
    assert_loaded(ranks, smollm2, oracle, parameters=182)


def test_masters_of_the_source(golden: Path, oracle: Path, mount, tmp_path: Path) -> None:
    """--masters source: a run in bf16 trains on an fp32 model's full precision."""
    hf = golden / "hf/llama_fp32"
    with mount(hf, "--tp", 2, "--dtype", "bf16", "--masters", "source") as m:
        ranks = mds("load", oracle, tmp_path / "out.json", "--hf", hf, "--tp", 2, "--dir", m.path, RELAXED)
    assert len(ranks) == 2
    assert_loaded(ranks, hf, oracle, parameters=27)


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


OPTIMIZERS = [  # without a golden: model, ZeRO stage, flags of the run, wrapper and optimizer
    ("llama_fp16", 0, ["--ds_fused_adam"], ("FP16_Optimizer", "FusedAdam")),
    ("llama_bf16", 1, ["--ds_fused_adam"], ("DeepSpeedZeroOptimizer", "FusedAdam")),
    ("llama_bf16", 1, ["--optimizer", "adamw"], ("DeepSpeedZeroOptimizer", "AdamW")),
    ("llama_fp32", 0, ["--optimizer", "adamw"], ("AdamW", "AdamW")),
]


@pytest.mark.parametrize("model, zero, flags, classes", OPTIMIZERS,
                         ids=[f"{model}-z{zero}-{flags[-1]}" for model, zero, flags, _ in OPTIMIZERS])
def test_optimizer(model: str, zero: int, flags: list[str], classes: tuple, golden: Path, oracle: Path, mount,
                   tmp_path: Path, measured) -> None:
    """The mount is the tree that MDS saves now, and loads without extra flags."""
    hf, dtype = golden / "hf" / model, model[-4:]
    case = {"hf": model, "tp": 1, "pp": 1, "dp": 2, "zero": zero, "dtype": dtype}
    run = ["--hf", hf, "--dp", 2, "--zero", zero, "--dtype", dtype, "--mds=" + shlex.join(flags)]
    wanted = mds("save", oracle, tmp_path / "wanted.json", *run, "--dir", tmp_path / "saved")
    words = shlex.join([*command_line(oracle, golden, case), *flags])
    with mount(hf, *options(case), "--train-args", words, "--device", "cpu") as m:
        said = python(oracle / "compare.py", tmp_path / "saved", m.path)
        got = mds("load", oracle, tmp_path / "got.json", *run, "--dir", m.path)
    for g, w in zip(got, wanted, strict=True):
        g, w = g["digest"], w["digest"]
        assert (g["optim_class"], g["inner_class"]) == classes
        assert g["params"] == w["params"]
        assert all(g["optim"][name] == w["optim"][name] for name in w["optim"] if name.endswith(".master"))
    measured(f"{classes[0]} of {classes[1]}, {model}: {said.splitlines()[-1]}; parameters and masters equal")


UNIVERSAL = [  # tp, pp, dp, ZeRO stage, engine: all from one mount, which has a directory for each engine's names
    (1, 1, 2, 1, "pipe"), (2, 1, 1, 1, "pipe"), (1, 2, 2, 1, "pipe"), (2, 2, 2, 1, "pipe"), (2, 1, 2, 2, "nopipe"),
]


@pytest.mark.parametrize("model", ["llama_bf16", "llama_tied_bf16"])
def test_universal_checkpoint(model: str, golden: Path, oracle: Path, mount, tmp_path: Path, measured) -> None:
    """What MDS holds after loading it is what MDS holds when it starts from the model itself."""
    hf = golden / "hf" / model
    with mount(hf, "--universal-checkpoint") as m:
        for tp, pp, dp, zero, engine in UNIVERSAL:
            run = ["--hf", hf, "--tp", tp, "--pp", pp, "--dp", dp, "--zero", zero]
            run += ["--no-pipe"] if engine == "nopipe" else []
            got = mds("load", oracle, tmp_path / "got.json", *run, "--universal", "--dir", m.path / engine, RELAXED)
            wanted = mds("save", oracle, tmp_path / "wanted.json", *run, "--dir", tmp_path / "saved")
            assert [r["digest"]["params"] for r in got] == [r["digest"]["params"] for r in wanted]
            assert [r["digest"]["optim"] for r in got] == [r["digest"]["optim"] for r in wanted]
            measured(f"universal {model} {engine} {tp}x{pp}x{dp} ZeRO {zero}: digests equal on {len(got)} ranks")
