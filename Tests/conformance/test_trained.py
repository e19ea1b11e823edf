"""Checkpoints that real Megatron-DeepSpeed trained: as Hugging Face directories, and at other layouts."""
import json
import shutil
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load, load_file
from transformers import AutoModelForCausalLM

from conftest import SHARED
from mounting import run
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


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A writable copy of one tree."""
    copy = tmp_path / "saved"
    shutil.copytree(TRAINED / "llama-pipe-tp2pp2-z1/tree", copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def test_every_step_of_a_run(saved: Path, mount) -> None:
    golden = {key: tensor.bfloat16() for key, tensor in
              load_file(TRAINED / "llama-pipe-tp2pp2-z1/weights.safetensors").items()}
    shutil.copytree(saved / "global_step6", saved / "global_step3")
    with mount(saved, "--as", "hf", *like("llama-pipe-tp2pp2-z1")) as m:
        steps = lambda: sorted(path.name for path in m.path.iterdir() if path.is_dir())
        assert steps() == ["global_step3", "global_step6"]
        same(golden, model(m.path / "global_step3"))
        # A save that is being written: its files are there, and `latest` doesn't name it yet.
        shutil.copytree(saved / "global_step6", saved / "global_step9")
        assert steps() == ["global_step3", "global_step6"] and not (m.path / "global_step9").exists()
        (saved / "latest").write_text("global_step9")
        assert steps() == ["global_step3", "global_step6", "global_step9"]
        same(golden, model(m.path / "global_step9"))
        assert not (m.path / "global_step12").exists()


def refused(zerofs: Path, checkpoint: Path, *words: str, status: int = 5, options: tuple = ("--as", "hf")) -> None:
    done = run(zerofs, "plan", checkpoint, *options)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1 and all(word in done.stderr for word in words), done.stderr


def test_an_optimizer_that_is_not_elementwise(zerofs: Path, saved: Path, mount) -> None:
    for path in saved.glob("global_step6/*_optim_states.pt"):
        state = torch.load(path, weights_only=False)
        for group in state["optimizer_state_dict"]["base_optimizer_state"]["state"].values():
            group["preconditioner"] = torch.zeros(3, 3)
        torch.save(state, path)
    refused(zerofs, saved, "preconditioner", status=3, options=())
    with mount(saved, "--as", "hf") as m:  # is read past
        assert "model.norm.weight" in model(m.path)


def test_elementwise_states_of_any_name(saved: Path, mount) -> None:
    """As ALCF's optimizers have them: the same numbers under other names, and groups with members of their own."""
    def groups(path: Path) -> list[dict]:
        state = torch.load(path, weights_only=False)["optimizer_state_dict"]["base_optimizer_state"]
        return [{name: value for name, value in group.items() if name != "params"} for group in state["param_groups"]]

    for path in saved.glob("global_step6/mp_rank_*.pt"):
        state = torch.load(path, weights_only=False)
        state["args"].optimizer = "sophiag"
        torch.save(state, path)
    for path in saved.glob("global_step6/*_optim_states.pt"):
        state = torch.load(path, weights_only=False)
        inner = state["optimizer_state_dict"]["base_optimizer_state"]
        for group in inner["state"].values():
            group["momentum_buffer"] = group.pop("exp_avg")
        for group in inner["param_groups"]:
            group["rho"] = 0.04
            del group["eps"]
        torch.save(state, path)
    expected = groups(next(saved.glob("global_step6/*_optim_states.pt")))
    assert len(expected) == 2 and all(group["rho"] == 0.04 and "betas" in group for group in expected)
    golden = load_file(TRAINED / "llama-pipe-tp2pp2-z1/exp_avg.safetensors")
    with mount(saved, "--tp", 1, "--pp", 1, "--dp", 3) as there, \
            mount(there.path, "--as", "hf", "--weights", "momentum_buffer") as m:
        assert groups(there.path / "global_step6/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt") == expected
        same(golden, model(m.path))


def test_another_model_is_not_this_one(zerofs: Path, saved: Path, tmp_path: Path) -> None:
    config = json.loads((SHARED / "golden/hf/llama_bf16/config.json").read_text())
    for member, value, words in [("rms_norm_eps", 1e-3, ["layernorm_epsilon"]), ("hidden_size", 128, ["hidden_size"]),
                                 ("num_hidden_layers", 2, ["num_layers"])]:
        other = tmp_path / member
        other.mkdir()
        (other / "config.json").write_text(json.dumps(config | {member: value}))
        refused(zerofs, saved, *words, status=3, options=("--as", "hf", "--like", str(other)))


def test_what_has_no_place(zerofs: Path) -> None:
    name = "qwen2-pipe-tp2pp2-z1"
    refused(zerofs, TRAINED / name / "tree", "dense.bias", "--drop", status=3,
            options=("--as", "hf", *map(str, like(name))))


def test_a_new_stage(saved: Path, mount, zerofs: Path) -> None:
    with mount(saved, "--new-stage") as m:
        assert (m.path / "latest").read_text() == "global_step0"
        state = torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)
        assert state["iteration"] == state["global_steps"] == state["lr_scheduler"]["num_steps"] == 0
        assert state["args"].consumed_train_samples == 0
        with mount(m.path, "--as", "hf", "--weights", "exp_avg") as moments:
            same(load_file(TRAINED / "llama-pipe-tp2pp2-z1/exp_avg.safetensors"), model(moments.path))


@pytest.mark.parametrize("name", CASES)
def test_verify(name: str, zerofs: Path) -> None:
    done = run(zerofs, "verify", TRAINED / name / "tree")
    assert done.returncode == 0, done.stdout + done.stderr


def test_verify_finds(zerofs: Path, saved: Path) -> None:
    layer = saved / "global_step6/layer_03-model_01-model_states.pt"
    state = torch.load(layer, weights_only=False)
    state["input_layernorm.weight"][5] += 1
    torch.save(state, layer)
    contents = bytearray((saved / "global_step6/layer_02-model_00-model_states.pt").read_bytes())
    contents[len(contents) // 2] ^= 1
    (saved / "global_step6/layer_02-model_00-model_states.pt").write_bytes(contents)
    done = run(zerofs, "verify", saved)
    assert done.returncode == 13
    assert "3.input_layernorm.weight of mp_rank 1" in done.stdout and "layer_02-model_00" in done.stdout

