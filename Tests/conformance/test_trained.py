"""Checkpoints that real Megatron-DeepSpeed trained: as Hugging Face directories, and at other layouts."""
import json
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load, load_file
from transformers import AutoModelForCausalLM

from conftest import SHARED
from test_golden import assert_equal, compare  # noqa: F401

TRAINED = SHARED / "golden/trained"
CASES = sorted(path.name for path in TRAINED.iterdir()) if TRAINED.is_dir() else []
pytestmark = pytest.mark.skipif(not CASES, reason="no golden/trained in SHARED")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def case(name: str) -> dict:
    return json.loads((TRAINED / name / "case.json").read_text())


def like(name: str) -> list:
    return ["--like", SHARED / "golden/hf" / case(name)["hf"]]


def drop(name: str) -> list:
    """Biases that Qwen2 has no place for were trained, too."""
    return ["--drop"] if json.loads((TRAINED / name / "left.json").read_text()) else []


def same(expected: dict[str, torch.Tensor], actual: dict[str, torch.Tensor]) -> None:
    assert expected.keys() == actual.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype and torch.equal(actual[name], tensor), name


def model(path: Path) -> dict[str, torch.Tensor]:
    """Read, not mapped: a mapping would keep the mount busy."""
    return load((path / "model.safetensors").read_bytes())


@pytest.mark.parametrize("name", CASES)
def test_weights_are_the_masters(name: str, mount) -> None:
    weights = load_file(TRAINED / name / "weights.safetensors")
    with mount(TRAINED / name / "tree", "--as", "hf", *like(name), *drop(name), "--dtype", "fp32") as m:
        same(weights, model(m.path))
    dtype = DTYPES[case(name)["dtype"]]
    with mount(TRAINED / name / "tree", "--as", "hf", *like(name), *drop(name)) as m:
        rounded = model(m.path)
        same({name: tensor.to(dtype) for name, tensor in weights.items()}, rounded)
    # After a step, what the run computes with is the rounded master.
    with mount(TRAINED / name / "tree", "--as", "hf", *like(name), *drop(name), "--weights", "parameters") as m:
        same(rounded, model(m.path))


@pytest.mark.parametrize("name", CASES)
def test_computes_what_megatron_computed(name: str, mount) -> None:
    golden = numpy.load(TRAINED / name / "logits.npz")
    # Without --like all biases are there, and the configuration is what the run's arguments say.
    with mount(TRAINED / name / "tree", "--as", "hf") as m:
        network = AutoModelForCausalLM.from_pretrained(m.path, dtype=torch.float32)
        with torch.no_grad():
            logits = network(torch.from_numpy(golden["tokens"])).logits.numpy()
        del network  # its weights are a mapping of the file
    difference = numpy.abs(logits - golden["logits"]).max()
    scale = numpy.abs(golden["logits"]).max()
    assert difference <= scale * {"bf16": 2e-2, "fp32": 1e-5}[case(name)["dtype"]]


def padded(name: str) -> int:
    """Rows of the trees' embeddings: the tiny vocabulary of 259, in multiples of 128 for each tensor-parallel rank."""
    return 512 if case(name)["tp"] == 2 else 384


def layout(name: str, **other: object) -> list:
    """The layout options of a case, with others instead; the padded rows, which are trained too, stay as many."""
    c = case(name) | other
    words = ["--tp", c["tp"], "--pp", c["pp"], "--dp", c["dp"], "--zero-stage", c["zero"],
             "--no-pipeline-parallel" if c.get("no_pipe") else "--pipeline-parallel"]
    return [*words, "--make-vocab-size-divisible-by", padded(name) // c["tp"]]


OTHERS = {  # three for each, so that every engine, stage and cut meets every other
    "a": dict(tp=1, pp=1, dp=2, zero=1, no_pipe=False),
    "b": dict(tp=2, pp=2, dp=3, zero=1, no_pipe=False),
    "c": dict(tp=4, pp=1, dp=1, zero=2, no_pipe=True),
    "d": dict(tp=1, pp=1, dp=4, zero=3, no_pipe=True),
    "e": dict(tp=2, pp=1, dp=2, zero=1, no_pipe=True),
    "f": dict(tp=1, pp=4, dp=1, zero=1, no_pipe=False),
    "g": dict(tp=1, pp=2, dp=2, zero=0, no_pipe=False),
    "h": dict(tp=2, pp=1, dp=1, zero=0, no_pipe=True),
}
TRIPS = [(name, other) for index, name in enumerate(CASES) for other in [list(OTHERS)[(index + k) % 8] for k in (0, 3, 5)]]


@pytest.mark.parametrize("name", CASES)
def test_the_same_layout_is_the_same_tree(name: str, mount, compare, monkeypatch) -> None:
    with mount(TRAINED / name / "tree") as m:
        assert_equal(compare, TRAINED / name / "tree", m.path, monkeypatch)


@pytest.mark.parametrize("name, other", TRIPS)
def test_there_and_back(name: str, other: str, mount, compare, monkeypatch) -> None:
    with mount(TRAINED / name / "tree", *layout(name, **OTHERS[other])) as there:
        for kind in ["masters", "exp_avg", "exp_avg_sq"]:
            golden = "weights" if kind == "masters" else kind
            with mount(there.path, "--as", "hf", *like(name), *drop(name), "--weights", kind, "--dtype", "fp32") as m:
                same(load_file(TRAINED / name / f"{golden}.safetensors"), model(m.path))
        with mount(there.path, *layout(name)) as back:
            assert_equal(compare, TRAINED / name / "tree", back.path, monkeypatch)


@pytest.mark.parametrize("name", CASES)
def test_universal(name: str, mount, compare, monkeypatch) -> None:
    with mount(TRAINED / name / "tree", *layout(name, zero=1), "--universal-checkpoint") as there:
        for kind in ["masters", "exp_avg", "exp_avg_sq"]:
            golden = "weights" if kind == "masters" else kind
            with mount(there.path, "--tag", "global_step6_universal", "--as", "hf", *like(name), *drop(name),
                       "--weights", kind, "--dtype", "fp32") as m:
                same(load_file(TRAINED / name / f"{golden}.safetensors"), model(m.path))


def test_layout_directories(mount, compare, monkeypatch) -> None:
    name = "llama-pipe-tp2pp2-z1"
    words = "tp4-pp1-dp1-zero2-nopipe-div128"
    with mount(TRAINED / name / "tree") as m, mount(m.path / words, *layout(name)) as back:
        assert_equal(compare, TRAINED / name / "tree", back.path, monkeypatch)
        golden = load_file(TRAINED / name / "weights.safetensors")
        same({key: tensor.bfloat16() for key, tensor in golden.items()}, model(m.path / "hf"))
