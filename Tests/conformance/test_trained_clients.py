"""Checkpoints that DeepSpeed trained of a transformers model, by a script and by HF Trainer: as Hugging Face directories, at
Megatron-DeepSpeed's layouts, and back."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from conftest import OLD_DEEPSPEED, SHARED
from mounting import run
from test_flavor_hf import run_engine, survived
from test_trained import DTYPES, TRAINED, drop, like, model, same
from test_trained import CASES as MEGATRONS
from test_trained_megatron import needs_megatron

pytestmark = pytest.mark.skipif(not MEGATRONS, reason="no golden/trained in SHARED")
CASES = {f"{client}-{hf.removesuffix('_bf16')}-z{zero}": {"hf": hf, "zero": zero, "client": client} for client, hf, zero in [
    ("script", "llama_bf16", 3), ("script", "qwen2_bf16", 2), ("trainer", "llama_bf16", 3), ("trainer", "llama_tied_bf16", 1)]}
VALUES = ["masters", "exp_avg", "exp_avg_sq"]


@pytest.fixture(scope="module")
def saves(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints, each with state.pt beside."""
    scratch = tmp_path_factory.mktemp("clients")
    cases = [case | {"hf": str(golden / "hf" / case["hf"]), "save": str(scratch / name)} for name, case in CASES.items()]
    for result in run_engine("trained_engine.py", cases, scratch):
        survived(result)
    return {name: scratch / name / ("checkpoint-3" if case["client"] == "trainer" else ".") for name, case in CASES.items()}


def kept(save: Path) -> dict[str, dict[str, torch.Tensor]]:
    """value → name → what the live engine had."""
    state = torch.load(next(path for path in [save / "state.pt", save.parent / "state.pt"] if path.exists()))
    return {value: {name: tensors[value] for name, tensors in state.items()} for value in VALUES}


def description(name: str, golden: Path) -> list[object]:
    """HF Trainer saves the model's description beside."""
    return [] if CASES[name]["client"] == "trainer" else ["--like", golden / "hf" / CASES[name]["hf"]]


def holds(mount, path: Path, expected: dict[str, dict[str, torch.Tensor]], *options: object) -> None:
    for value in VALUES:
        with mount(path, "--as", "hf", "--weights", value, "--dtype", "fp32", *options) as m:
            same(expected[value], model(m.path))




@pytest.mark.parametrize("name", CASES)
def test_as_a_hugging_face_directory(name: str, saves, golden: Path, mount) -> None:
    holds(mount, saves[name], kept(saves[name]), *description(name, golden))


@pytest.fixture(scope="module")
def old_saves(golden: Path, old_deepspeed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, dict]]:
    """By stage, what an older DeepSpeed trained, and what its engine said."""
    scratch = tmp_path_factory.mktemp("old-clients")
    cases = [{"hf": str(golden / "hf/llama_bf16"), "zero": zero, "client": "script", "save": str(scratch / f"{zero}")}
             for zero in (0, 1, 2, 3)]
    results = run_engine("trained_engine.py", cases, scratch, **old_deepspeed)
    return {case["zero"]: (Path(case["save"]), result) for case, result in zip(cases, results)}


@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_old_deepspeeds(zero: int, old_saves, golden: Path, mount) -> None:
    like = ["--like", golden / "hf/llama_bf16"]
    save, result = old_saves[zero]
    survived(result)
    state = torch.load(next(save.glob("*/*mp_rank_00_model_states.pt")), weights_only=False)
    assert state["ds_version"].split("+")[0] == OLD_DEEPSPEED
    if zero == 0 and (0, 17, 6) <= tuple(map(int, OLD_DEEPSPEED.split("."))) <= (0, 18, 4):
        assert state["optimizer"] is None  # test_no_optimizer_state_was_saved
        return
    holds(mount, save, kept(save), *like)
    with mount(save, "--flavor", "alcf", "--tp", 2, "--dp", 2, *like) as there:
        holds(mount, there.path, kept(save), *like)


LAYOUTS = {"pipe": ["--tp", 2, "--pp", 2], "nopipe": ["--tp", 2, "--dp", 2, "--zero-stage", 2, "--no-pipeline-parallel"],
           "zero3": ["--dp", 3, "--zero-stage", 3, "--no-pipeline-parallel"]}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_at_megatrons_layouts(name: str, layout: str, saves, golden: Path, mount) -> None:
    words = ["--flavor", "alcf", *LAYOUTS[layout], *description(name, golden)]
    back = ["--like", golden / "hf" / CASES[name]["hf"]]
    with mount(saves[name], *words) as there:
        holds(mount, there.path, kept(saves[name]), *back)
        steps = 3 if CASES[name]["client"] == "trainer" else 2
        assert (there.path / "latest").read_text() == f"global_step{steps}"
        state = torch.load(next(there.path.glob("*/*mp_rank_00_model_states.pt")), weights_only=False)
        assert state["iteration"] == state["global_steps"] == steps
        assert state["args"].consumed_train_samples == state["global_samples"] == 4 * steps
        with mount(there.path, "--flavor", "hf", "--dp", 2, "--zero-stage", 1, *back) as hf:
            holds(mount, hf.path, kept(saves[name]), *back)


FOLDED = {  # a parameter of MDS, the tensor that it is made of, and whether a factor or a sum is folded in
    "granite_tied": ("self_attention.dense.weight", "self_attn.o_proj.weight", "factor"),
    "nemotron": ("input_layernorm.weight", "input_layernorm.weight", "sum")}


@pytest.fixture(scope="module")
def folded(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    scratch = tmp_path_factory.mktemp("folded")
    cases = [{"hf": str(golden / "families/hf" / name), "zero": 1, "client": "script", "save": str(scratch / name)}
             for name in FOLDED]
    for result in run_engine("trained_engine.py", cases, scratch):
        survived(result)
    return {name: scratch / name for name in FOLDED}


@pytest.mark.parametrize("name", FOLDED)
def test_moments_of_folded_families(name: str, folded, golden: Path, mount) -> None:
    """A factor on the weight divides its gradients, and their squares twice; a sum changes neither."""
    words, expected = ["--like", golden / "families/hf" / name], kept(folded[name])
    parameter, tensor, folding = FOLDED[name]
    layer = next(key for key in expected["masters"] if key.endswith(f"layers.1.{tensor}"))
    with mount(folded[name], "--flavor", "alcf", "--tp", 2, "--universal-checkpoint", *words) as there:
        zero = next(there.path.glob("*_universal/zero"))
        trained = {value: torch.load(next(zero.glob(f"3.{parameter}/{file}.pt")), weights_only=False)["param"].flatten()
                   for value, file in zip(VALUES, ["fp32", "exp_avg", "exp_avg_sq"])}
        theirs = {value: expected[value][layer].flatten() for value in VALUES}
        factor = (trained["masters"] / theirs["masters"]).median() if folding == "factor" else torch.ones(())
        assert factor != 1 if folding == "factor" else torch.equal(trained["masters"], theirs["masters"] + 1)
        for value, power in zip(VALUES[1:], (-1, -2)):
            assert theirs[value].abs().max() > 0
            torch.testing.assert_close(trained[value], theirs[value] * factor ** power, rtol=1e-5, atol=0)
        for value in VALUES:
            with mount(there.path, "--as", "hf", "--weights", value, "--dtype", "fp32", *words) as m:
                actual = model(m.path)
                for key in actual:
                    torch.testing.assert_close(actual[key], expected[value][key], rtol=1e-6, atol=1e-6 if value == "masters" else 0)


def test_a_state_that_no_one_knows_of_a_folded_family(folded, golden: Path, zerofs: Path, tmp_path: Path) -> None:
    save = Path(shutil.copytree(folded["granite_tied"], tmp_path / "save"))
    for path in save.glob("*/*_optim_states.pt"):
        state = torch.load(path, weights_only=False)
        for tensor in state["optimizer_state_dict"]["base_optimizer_state"]["state"].values():
            tensor["mystery"] = tensor.pop("exp_avg")
        torch.save(state, path)
    done = run(zerofs, "plan", save, "--flavor", "alcf", "--like", golden / "families/hf/granite_tied")
    assert done.returncode == 3 and "mystery" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture(scope="module")
def loaded(saves, golden: Path, zerofs: Path, tmp_path_factory) -> Iterator[dict[str, tuple[dict, dict]]]:
    """What real DeepSpeed has after loading what was MDS's in between, and what MDS trained."""
    from mounting import mounted
    scratch = tmp_path_factory.mktemp("loaded")
    with contextlib.ExitStack() as stack:
        def mount(path: Path, *options: object) -> Path:
            return stack.enter_context(mounted(zerofs, path, tmp_path_factory.mktemp("mnt"), *options)).path

        cases, expected = [], []
        for name, case in CASES.items():
            hf = golden / "hf" / case["hf"]
            there = mount(saves[name], "--flavor", "alcf", "--tp", 2, "--pp", 2, *description(name, golden))
            back = mount(there, "--flavor", "trainer" if case["client"] == "trainer" else "hf", "--dp", 2,
                         "--zero-stage", case["zero"], "--like", hf)
            cases.append(case | {"hf": str(hf), "tree": str(back), "save": str(scratch / name)})
            expected.append(kept(saves[name]))
        source = TRAINED / "llama-pipe-tp2pp2-z1"
        for client, zero in [("script", 3), ("trainer", 1)]:
            hf = golden / "hf/llama_bf16"
            tree = mount(source / "tree", "--flavor", "trainer" if client == "trainer" else "hf", "--dp", 2, "--zero-stage", zero,
                         "--like", hf)
            cases.append({"hf": str(hf), "zero": zero, "client": client, "tree": str(tree), "save": str(scratch / f"mds-{client}")})
            from safetensors.torch import load_file
            expected.append({value: load_file(source / f"{'weights' if value == 'masters' else value}.safetensors")
                             for value in VALUES})
        results = run_engine("trained_engine.py", cases, scratch)
        yield {Path(case["save"]).name: (result, kept(Path(case["save"])), wanted)
               for case, result, wanted in zip(cases, results, expected)}


@pytest.mark.parametrize("name", [*CASES, "mds-script", "mds-trainer"])
def test_deepspeed_loads_it(name: str, loaded) -> None:
    result, actual, expected = loaded[name]
    survived(result)
    assert result["steps"] == (6 if "mds" in name else 3 if "trainer" in name else 2)
    for value in VALUES:
        same(expected[value], actual[value])


@needs_megatron
@pytest.mark.parametrize("name", ["script-llama-z3", "trainer-llama-z3"])
def test_megatron_loads_it(name: str, saves, golden: Path, oracle: Path, mount, tmp_path: Path) -> None:
    """Loads the state, and saves it."""
    hf = golden / "hf" / CASES[name]["hf"]
    with mount(saves[name], "--flavor", "alcf", "--tp", 2, "--pp", 2, *description(name, golden)) as m:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", oracle / "mds_run.py", "--mode", "load", "--timeout", "800", "--hf", hf, "--tp", "2",
             "--pp", "2", "--dir", m.path, "--save2", tmp_path / "saved", "--out", tmp_path / "out.json",
             "--mds", "--override-opt_param-scheduler --no-load-rng"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    holds(mount, tmp_path / "saved", kept(saves[name]), "--like", hf)
    ranks = json.loads((tmp_path / "out.json").read_text())["ranks"]
    assert {rank["iteration"] for rank in ranks} == {3 if "trainer" in name else 2}


def test_an_offloaded_adam(saves, golden: Path, mount, tmp_path: Path) -> None:
    """DeepSpeedCPUAdam counts its steps in numbers, and its groups are others. Its extension takes minutes to build."""
    name = "script-llama-z3"
    shutil.copytree(saves[name], tmp_path / "saved")
    for path in (tmp_path / "saved").glob("*/*_optim_states.pt"):
        state = torch.load(path, weights_only=False)
        inner = state["optimizer_state_dict"]["optimizer_state_dict"]
        for values in inner["state"].values():
            values["step"] = int(values["step"])
        for group in inner["param_groups"]:
            for key in ["maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"]:
                group.pop(key, None)
            group["bias_correction"] = True
        torch.save(state, path)
    words = description(name, golden)
    with mount(tmp_path / "saved", "--flavor", "alcf", "--tp", 2, "--pp", 2, *words) as m:
        holds(mount, m.path, kept(saves[name]), *words)
        state = torch.load(next(m.path.glob("*/bf16_zero*_optim_states.pt")), weights_only=False)["optimizer_state_dict"]
        assert state["base_optimizer_state"]["state"][0]["step"] == 2


def test_what_is_not_said(saves, zerofs: Path, golden: Path, tmp_path: Path) -> None:
    for options, words, status in [
            (("--flavor", "alcf"), ["--like", "config.json"], 4), (("--as", "hf"), ["--like"], 4),
            (("--flavor", "hf", "--tp", 2, "--like", golden / "hf/llama_bf16"), ["--tp 2"], 4),
            (("--flavor", "alcf", "--like", golden / "hf/qwen2_bf16"), ["bias"], 5)]:
        done = run(zerofs, "plan", saves["script-llama-z3"], *options)
        assert done.returncode == status and len(done.stderr.splitlines()) == 1, done.stderr
        assert all(word in done.stderr for word in words), done.stderr
