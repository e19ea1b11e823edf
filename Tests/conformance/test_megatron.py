"""Real Megatron-DeepSpeed loads the mount and trains from it.

Needs MEGATRON_DEEPSPEED, a checkout of the ALCF fork, or of upstream before FPDT: mounts are of its flavor.
"""
import contextlib
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
from conftest import OLD_DEEPSPEED
from layouts import options
from megatron_args import command_line, oracle_module
from test_golden import assert_equal, compare  # noqa: F401
from test_resume import OF_THE_RUN, same

CHECKOUT = os.environ.get("MEGATRON_DEEPSPEED")
pytestmark = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_DEEPSPEED names no checkout of Megatron-DeepSpeed")

CASES = [
    "llama-pipe-tp2pp2dp2-z1-bf16", "llama-pipe-tp1pp1dp2-z1-bf16", "llama-nopipe-tp1pp1dp2-z1-bf16",
    "llama-nopipe-tp2pp1dp2-z2-bf16", "llama_tied-pipe-tp1pp2dp2-z1-bf16",
    "llama-pipe-tp1pp1dp1-z0-bf16",  # with --finetune only, as `zerofs plan` says
]
RELAXED = "--mds=--no-load-rng --override-opt_param-scheduler"  # what a run that did not save the checkpoint needs


@pytest.fixture
def mount(mount):
    @contextlib.contextmanager
    def for_the_checkout(hf: Path, *layout: object):
        with mount(hf, *layout, "--megatron", CHECKOUT) as m:
            yield m
    return for_the_checkout


def python(*arguments: object, cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", *map(str, arguments)],
                          cwd=cwd, capture_output=True, text=True, env=os.environ | environment)
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


SP = {"mds": "--ds-sequence-parallel-size 2 --global-batch-size 4", "ds": {"train_batch_size": 4}}
SAVED = {  # "dp" is what MDS's world is made of: with SP 2 half of it are data-parallel ranks
    "pipe-tp2pp2dp2-z1": {"tp": 2, "pp": 2, "dp": 2, "zero": 1},
    "nopipe-dp2-z1": {"dp": 2, "zero": 1, "no_pipe": True},
    "sp2dp2-z1": {"dp": 4, "zero": 1, "no_pipe": True, **SP},
    "sp2dp2-z3": {"dp": 4, "zero": 3, "no_pipe": True, **SP},
    "old-pipe-tp2pp2dp2-z1": {"tp": 2, "pp": 2, "dp": 2, "zero": 1, "old": True},
    "old-pipe-dp2-z0": {"dp": 2, "zero": 0, "old": True},
    "old-nopipe-dp2-z0": {"dp": 2, "zero": 0, "no_pipe": True, "old": True},
    "old-nopipe-dp2-z2": {"dp": 2, "zero": 2, "no_pipe": True, "old": True},
}


@pytest.mark.parametrize("name", SAVED)
def test_is_what_the_checkout_saves(name: str, golden: Path, oracle: Path, mount, compare, old_deepspeed,  # noqa: F811
                                    tmp_path: Path, monkeypatch) -> None:
    """Forks, sequence parallelism and an old DeepSpeed: the tree that real MDS saves is the mount, key for key, and MDS
    loads the mount without extra flags to what it had in memory when it saved."""
    case = {"hf": "llama_bf16", "tp": 1, "pp": 1, "dtype": "bf16", **SAVED[name]}
    environment = old_deepspeed if case.get("old") else {}
    layout = options(case | {"dp": case["dp"] // 2} if "mds" in case else case)
    layout += ["--deepspeed-version", OLD_DEEPSPEED] if case.get("old") else []
    mds = [oracle / "mds_run.py", "--hf", golden / "hf/llama_bf16", "--timeout", 600]
    mds += [word for key in ("tp", "pp", "dp", "zero") for word in (f"--{key}", case[key])]
    mds += ["--no-pipe"] if case.get("no_pipe") else []
    mds += [f"--mds={case['mds']}", f"--ds={json.dumps(case['ds'])}"] if "mds" in case else []
    saved = tmp_path / "saved"
    python(*mds, "--mode", "save", "--dir", saved, "--out", tmp_path / "saved.json", **environment)
    words = shlex.join(command_line(oracle, golden, case))
    with mount(golden / "hf/llama_bf16", *layout, "--train-args", words, "--device", "cpu") as m:
        assert_equal(compare, saved, m.path, monkeypatch)
        for file in saved.glob("global_step0/*mp_rank_*model_states.pt"):
            theirs, ours = (torch.load(tree / file.relative_to(saved), weights_only=False) for tree in (saved, m.path))
            assert set(theirs) == set(ours)
            assert same(theirs["rng_state"], ours["rng_state"]) and same(theirs["lr_scheduler"], ours["lr_scheduler"])
            wanted, got = vars(theirs["args"]), vars(ours["args"])
            assert list(wanted) == list(got)
            different = {k for k in wanted.keys() - OF_THE_RUN if not same(wanted[k], got[k])}
            assert not different, {k: (wanted[k], got[k]) for k in different}
        python(*mds, "--mode", "load", "--dir", m.path, "--out", tmp_path / "loaded.json", **environment)
    before, after = (json.loads((tmp_path / f"{n}.json").read_text())["ranks"] for n in ("saved", "loaded"))
    assert len(before) == case["tp"] * case["pp"] * case["dp"]
    assert [r["digest"] for r in after] == [r["digest"] for r in before]
