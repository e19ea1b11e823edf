"""Real Megatron-DeepSpeed goes on from a trained checkpoint at another layout, and by DeepSpeed's own universal route."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import SHARED
from test_trained import CASES, TRAINED

pytestmark = pytest.mark.skipif(not CASES, reason="no golden/trained in SHARED")
needs_megatron = pytest.mark.skipif(
    not os.environ.get("MEGATRON_DEEPSPEED"), reason="MEGATRON_DEEPSPEED names no checkout of Megatron-DeepSpeed")
SOURCE = "llama-pipe-tp2pp2-z1"


# MARK: - DeepSpeed's universal checkpoint

def ds_to_universal(oracle: Path, name: str, to: Path) -> Path:
    """What a run is given by DeepSpeed's own tool: `to`, with the universal checkpoint in it."""
    shutil.copytree(TRAINED / name / "tree", to)
    for path in [to, *to.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "PYTHONPATH": str(oracle / "stubs/megatron_enums")}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder",
         to / "global_step6", "--output_folder", to / "global_step6_universal", "--num_extract_workers", "1",
         "--num_merge_workers", "1"], env=environment, check=True, capture_output=True)
    return to


@pytest.fixture(scope="module")
def deepspeeds(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ds_to_universal(oracle, SOURCE, tmp_path_factory.mktemp("universal") / SOURCE)


@pytest.mark.parametrize("name", [SOURCE, "qwen2-pipe-tp2pp2-z1", "tied-pipe-tp2pp2-z1", "llama-pipe-pp2dp3-z1"])
def test_is_what_ds_to_universal_makes(name: str, oracle: Path, mount, tmp_path: Path) -> None:
    theirs = ds_to_universal(oracle, name, tmp_path / "theirs")
    files = {path.relative_to(theirs) for path in theirs.glob("*/zero/*/*.pt")}
    assert files
    with mount(TRAINED / name / "tree", "--universal-checkpoint") as m:
        assert (m.path / "latest_universal").read_text() == (theirs / "latest_universal").read_text()
        assert {path.relative_to(m.path) for path in m.path.glob("*/zero/*/*.pt")} == files
        for file in files:
            expected, actual = (torch.load(top / file, weights_only=False) for top in (theirs, m.path))
            if file.name == "step.pt":
                assert torch.equal(expected, actual), file
                continue
            assert torch.equal(expected.pop("param"), actual.pop("param")), file
            if "tp2" not in name:
                # MDS names what is cut by columns and what isn't cut only where TP is more than 1: without it DeepSpeed cuts all
                # by rows, and a run at TP 2 computes with wrong weights.
                expected.pop("cat_dim", None), actual.pop("cat_dim", None)
            assert expected == actual, file


# MARK: - Real MDS

NEW = {  # where it goes on with the state of 2x2x1: as many samples a step, as many rows of the vocabulary
    "2x2x1": ["--tp", 2, "--pp", 2, "--dp", 1], "1x1x2": ["--tp", 1, "--pp", 1, "--dp", 2],
    "2x1x1": ["--tp", 2, "--pp", 1, "--dp", 1], "1x2x2": ["--tp", 1, "--pp", 2, "--dp", 2],
    "nopipe-2x1x2-z1": ["--tp", 2, "--pp", 1, "--dp", 2, "--no-pipe"],
    "nopipe-1x1x2-z2": ["--tp", 1, "--pp", 1, "--dp", 2, "--no-pipe", "--zero", 2],
}
STAGE_3 = {"nopipe-2x1x2-z3": ["--tp", 2, "--pp", 1, "--dp", 2, "--no-pipe", "--zero", 3],
           "nopipe-1x1x2-z3": ["--tp", 1, "--pp", 1, "--dp", 2, "--no-pipe", "--zero", 3]}


def train(oracle: Path, mode: str, tree: Path, out: Path, name: str, steps: int, *options: str) -> list[dict]:
    """What each rank of real MDS tells of so many steps, behind which it saves, or to which it loads."""
    words = (NEW | STAGE_3)[name]
    tp, dp = words[words.index("--tp") + 1], words[words.index("--dp") + 1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", oracle / "mds_run.py", "--mode", mode, "--timeout", "800",
         "--hf", SHARED / "golden/hf/llama_bf16", "--lr", "0.05", "--steps", str(steps), "--dir", tree, "--out", out,
         *map(str, words), "--mbs", str(2 // dp), "--divisible", str(512 // tp), *options],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(out.read_text())["ranks"]


def megatron(oracle: Path, tree: Path, out: Path, name: str, *options: str, steps: int = 6) -> list[float]:
    """The losses of five steps that real MDS trains from a tree of so many."""
    ranks = train(oracle, "load", tree, out, name, 5, *options)
    assert all((rank["iteration"], rank["consumed_train_samples"], rank["sched"]["num_steps"]) == (steps, 2 * steps, 2 * steps)
               for rank in ranks)
    # Without the pipeline engine each data-parallel rank has the loss of its own samples.
    return [sum(losses) / len(losses) for losses in zip(*(rank["losses"] for rank in ranks))]


def layout(name: str) -> list[object]:
    words = (NEW | STAGE_3)[name]
    zero = ["--zero-stage", words[words.index("--zero") + 1]] if "--zero" in words else []
    return [*words[:6], *zero, "--no-pipeline-parallel" if "--no-pipe" in words else "--pipeline-parallel",
            "--make-vocab-size-divisible-by", 512 // words[1]]


@pytest.fixture(scope="module")
def uninterrupted(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return megatron(oracle, TRAINED / SOURCE / "tree", tmp_path_factory.mktemp("mds") / "out.json", "2x2x1")


@pytest.fixture(scope="module")
def universal(oracle: Path, deepspeeds: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """By DeepSpeed's own route. It has no padded rows of the vocabulary, which are trained, too: the losses are others than those
    of the uninterrupted run, by whichever tool."""
    return megatron(oracle, deepspeeds, tmp_path_factory.mktemp("mds") / "out.json", "2x2x1", "--universal")


@needs_megatron
@pytest.mark.parametrize("name", NEW)
def test_goes_on(name: str, uninterrupted, oracle: Path, mount, tmp_path: Path, measured) -> None:
    with mount(TRAINED / SOURCE / "tree", *layout(name)) as m:
        losses = megatron(oracle, m.path, tmp_path / "out.json", name)
    difference = max(abs(a - b) for a, b in zip(losses, uninterrupted, strict=True))
    measured(f"{name}: losses {losses}, uninterrupted {uninterrupted}, largest difference {difference:.1e}")
    assert difference <= (0 if name == "2x2x1" else 5e-3)


@needs_megatron
@pytest.mark.parametrize("name", STAGE_3)
def test_goes_on_at_stage_3(name: str, oracle: Path, mount, tmp_path: Path, measured) -> None:
    """All parameters are in one group there, which has no weight decay: as stage 2 goes on where there is none."""
    with mount(TRAINED / SOURCE / "tree", *layout("nopipe-1x1x2-z2")) as m:
        tree = Path(shutil.copytree(m.path, tmp_path / "tree", copy_function=shutil.copyfile))
    for path in tree.glob("global_step6/*_optim_states.pt"):
        path.chmod(0o644)
        state = torch.load(path, weights_only=False)
        for group in state["optimizer_state_dict"]["base_optimizer_state"]["param_groups"]:
            group["weight_decay"] = 0.0
        torch.save(state, path)
    expected = megatron(
        oracle, tree, tmp_path / "stage2.json", "nopipe-1x1x2-z2",
        "--mds", "--weight-decay 0 --override-opt_param-scheduler")
    with mount(TRAINED / SOURCE / "tree", *layout(name)) as m:
        losses = megatron(oracle, m.path, tmp_path / "out.json", name)
    difference = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
    measured(f"{name}: losses {losses}, stage 2 without weight decay {expected}, largest difference {difference:.1e}")
    assert difference <= 5e-3


@needs_megatron
@pytest.mark.parametrize("name", NEW | STAGE_3)
def test_the_engine_holds_what_was_trained(name: str, oracle: Path, mount, tmp_path: Path, monkeypatch) -> None:
    """Masters and moments of the live engine, as DeepSpeed's safe_get_full_* gather them, against those that the run had."""
    monkeypatch.syspath_prepend(oracle)
    from mapping import mds_weight
    with mount(TRAINED / SOURCE / "tree", *layout(name)) as m:
        train(oracle, "load", m.path, tmp_path / "out.json", name, 0, "--state", str(tmp_path / "state"))
    config = json.loads((SHARED / "golden/hf/llama_bf16/config.json").read_text())
    words = (NEW | STAGE_3)[name]
    for value, file in enumerate(["weights", "exp_avg", "exp_avg_sq"]):
        trained = load_file(TRAINED / f"{SOURCE}/{file}.safetensors")
        # Padding is another number than the weights, so that it can be left out here.
        number, elements = numbers(trained).get, torch.cat([torch.zeros(1), *(tensor.reshape(-1) for tensor in trained.values())])
        seen = set()
        for path in tmp_path.glob("state.*.pt"):
            tp = int(path.name.split("tp")[1].split("-")[0])
            state = torch.load(path, weights_only=False)
            for parameter, values in state["names"].items():
                at = mds_weight(parameter, number, config, tp, words[1], state["padded"], "--no-pipe" not in words)
                at = at.long().reshape(-1)
                assert torch.equal(values[value].reshape(-1)[at > 0], elements[at][at > 0]), (parameter, file)
                seen.update(at.tolist())
        assert len(seen - {0}) == sum(tensor.numel() for tensor in trained.values()), file


def numbers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A number from 1 on for each element, in place of it."""
    counts, first = {}, 1
    for name, tensor in tensors.items():
        counts[name] = torch.arange(first, first + tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
        first += tensor.numel()
    return counts


@needs_megatron
@pytest.mark.parametrize("name", NEW)
def test_goes_on_by_the_universal_route(name: str, universal, oracle: Path, mount, tmp_path: Path, measured) -> None:
    with mount(TRAINED / SOURCE / "tree", *layout(name), "--universal-checkpoint") as m:
        losses = megatron(oracle, m.path, tmp_path / "out.json", name, "--universal")
    difference = max(abs(a - b) for a, b in zip(losses, universal, strict=True))
    measured(f"{name}: losses {losses}, by ds_to_universal.py {universal}, largest difference {difference:.1e}")
    assert difference <= (0 if name == "2x2x1" else 5e-3)


@needs_megatron
def test_without_padded_rows_in_place(universal, oracle: Path, deepspeeds: Path, mount, tmp_path: Path) -> None:
    """What DeepSpeed's universal checkpoint lacks, and nothing else, makes the difference: loaded as an ordinary one with the
    rows that it leaves out as zeros, the losses are the same."""
    with mount(deepspeeds, "--tag", "global_step6_universal", *layout("2x2x1"), "--zero-stage", 1) as m:
        assert megatron(oracle, m.path, tmp_path / "out.json", "2x2x1") == universal


@needs_megatron
@pytest.mark.parametrize("optimizer", ["adamw", "sophiag", "adopt", "muon", "muonclip"])
def test_other_optimizers(optimizer: str, oracle: Path, mount, tmp_path: Path, measured) -> None:
    """Those of ALCF's that need no package beside torch: their states lie over the flat partition, whatever they are called."""
    # A step of Sophia's is a sign times the rate, however small the gradient: at 0.05 two orders of sums part at once.
    rate = ("--lr", "0.005") if optimizer == "sophiag" else ()
    words = ("--mds", f"--optimizer {optimizer}", "--ds", json.dumps({"zero_allow_untested_optimizer": True}), *rate)
    tree = tmp_path / "tree"
    train(oracle, "save", tree, tmp_path / "saved.json", "2x1x1", 3, *words)
    expected = megatron(oracle, tree, tmp_path / "same.json", "2x1x1", *words, steps=3)
    for name in ("1x2x2", "nopipe-1x1x2-z2"):
        with mount(tree, *layout(name)) as m:
            losses = megatron(oracle, m.path, tmp_path / f"{name}.json", name, *words, steps=3)
            with mount(m.path, *layout("2x1x1"), "--zero-stage", 1) as back:
                assert megatron(oracle, back.path, tmp_path / "back.json", "2x1x1", *words, steps=3) == expected
        difference = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
        measured(f"{optimizer}, {name}: losses {losses}, uninterrupted {expected}, largest difference {difference:.1e}")
        assert difference <= 5e-3
