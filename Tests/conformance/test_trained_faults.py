"""Trained checkpoints that aren't whole, aren't one run's, or aren't what they say: one clear error each, never a wrong byte."""
import io
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mounting import run
from test_trained import CASES, TRAINED, model, refused, same, saved  # noqa: F401

pytestmark = pytest.mark.skipif(not CASES, reason="no golden/trained in SHARED")
STATES = "global_step6/mp_rank_02_model_states.pt"


def test_a_file_is_missing(zerofs: Path, saved: Path) -> None:
    (saved / "global_step6/layer_03-model_01-model_states.pt").unlink()
    refused(zerofs, saved, "layer_03-model_01-model_states.pt", "no such file")


def test_a_file_is_cut_off(zerofs: Path, saved: Path) -> None:
    with (saved / "global_step6/bf16_zero_pp_rank_0_mp_rank_03_optim_states.pt").open("r+b") as file:
        file.truncate(5000)
    refused(zerofs, saved, "bf16_zero_pp_rank_0_mp_rank_03_optim_states.pt", "cut off")


def test_a_file_of_another_run(zerofs: Path, saved: Path) -> None:
    name = "global_step6/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
    shutil.copy(TRAINED / "llama-pipe-pp2dp3-z1/tree" / name, saved / name)
    refused(zerofs, saved, "mp_rank_00_optim_states.pt", "length of the flat weights")


def test_ranks_of_different_steps(zerofs: Path, saved: Path) -> None:
    path = saved / "global_step6/mp_rank_02_model_states.pt"
    state = torch.load(path, weights_only=False)
    state["global_steps"] = 5
    torch.save(state, path)
    refused(zerofs, saved, "mp_rank_02", "global_steps is 5")


def test_an_optimizer_of_another_step(zerofs: Path, saved: Path) -> None:
    path = saved / "global_step6/bf16_zero_pp_rank_0_mp_rank_02_optim_states.pt"
    state = torch.load(path, weights_only=False)
    for group in state["optimizer_state_dict"]["base_optimizer_state"]["state"].values():
        group["step"] += 1
    torch.save(state, path)
    refused(zerofs, saved, "step", "is 7", options=())


def test_no_optimizer_state_was_saved(zerofs: Path, saved: Path, tmp_path: Path) -> None:
    """As DeepSpeed 0.17.6 leaves a bf16 run at stage 0: what it computes with is served, and said to be that."""
    out = tmp_path / "out"
    assert run(zerofs, "materialize", saved, out, "--zero-stage", 0, "--no-pipeline-parallel", "--pp", 1, "--dp", 1, "--deepspeed-version",
               "0.17.6").returncode == 0
    for path in out.glob("*/mp_rank_*_model_states.pt"):
        state = torch.load(path, weights_only=False)
        state["optimizer"] = None
        torch.save(state, path)
    said = {word: run(zerofs, "plan", out, *options).stderr for word, options in
            {"masters": ["--as", "hf"], "anew": [], "": ["--as", "hf", "--weights", "parameters"]}.items()}
    assert "not fp32 masters" in said["masters"] and "optimizer starts anew" in said["anew"] and "optimizer" not in said[""]


def test_a_newer_save_was_killed(zerofs: Path, saved: Path) -> None:
    (saved / "global_step9").mkdir()
    done = run(zerofs, "plan", saved, "--as", "hf")
    assert done.returncode == 0 and "global_step9" in done.stderr and "latest" in done.stderr


def test_the_first_save_is_not_finished(zerofs: Path, saved: Path) -> None:
    (saved / "latest").unlink()
    refused(zerofs, saved, "latest")
    refused(zerofs, saved, "global_step7", options=("--as", "hf", "--tag", "global_step7"))
    assert run(zerofs, "plan", saved, "--as", "hf", "--tag", "global_step6").returncode == 0
    assert run(zerofs, "plan", saved / "global_step6", "--as", "hf").returncode == 0


def test_files_that_change(saved: Path, mount) -> None:
    with mount(saved, "--as", "hf") as m:
        path = saved / "global_step6/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
        path.write_bytes(path.read_bytes())
        with pytest.raises(OSError):
            (m.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["mp_rank_01_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_03_optim_states.pt", "mp_rank_00_model_states.pt"])
def test_a_rank_is_missing(name: str, zerofs: Path, saved: Path) -> None:
    (saved / "global_step6" / name).unlink()
    # Without the first one it isn't a checkpoint at all.
    refused(zerofs, saved, name, "no such file")


def test_a_layer_of_another_run(zerofs: Path, saved: Path) -> None:
    name = "global_step6/layer_03-model_00-model_states.pt"
    shutil.copy(TRAINED / "llama-pipe-pp2dp3-z1/tree" / name, saved / name)
    refused(zerofs, saved, "mp_rank 0", "the shape of 3.")


def test_a_rank_of_another_model(zerofs: Path, saved: Path) -> None:
    shutil.copy(TRAINED / "qwen2-pipe-tp2pp2-z1/tree" / STATES, saved / STATES)
    refused(zerofs, saved, "mp_rank_02", options=())


def test_a_half_finished_save(zerofs: Path, saved: Path, mount) -> None:
    """`latest` is older than the newest directory, where files are missing: that is said, and the older one served; the newer
    one isn't, also by its name."""
    shutil.copytree(saved / "global_step6", saved / "global_step9")
    (saved / "global_step9/bf16_zero_pp_rank_0_mp_rank_03_optim_states.pt").unlink()
    done = run(zerofs, "plan", saved)
    assert done.returncode == 0 and "global_step9" in done.stderr and "latest" in done.stderr
    refused(zerofs, saved, "mp_rank_03", "no such file", options=("--tag", "global_step9"))
    with mount(saved, "--as", "hf") as m:
        same({key: tensor.bfloat16() for key, tensor in
              load_file(TRAINED / "llama-pipe-tp2pp2-z1/weights.safetensors").items()}, model(m.path))


def test_a_file_is_written_while_it_is_read(zerofs: Path, saved: Path) -> None:
    """torch.save has written a beginning, and no zip directory yet; or nothing."""
    contents = (saved / STATES).read_bytes()
    for length in [0, 3, 100, len(contents) // 2, len(contents) - 1]:
        (saved / STATES).write_bytes(contents[:length])
        refused(zerofs, saved, "mp_rank_02_model_states.pt", options=())


@pytest.mark.parametrize("happens", ["truncated", "another step", "removed"])
def test_a_source_changes_under_a_mount(happens: str, saved: Path, mount) -> None:
    with mount(saved, "--tp", 1, "--pp", 1) as m:
        path = saved / "global_step6/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
        if happens == "removed":
            path.unlink()
            path.write_bytes(b"")
        elif happens == "truncated":
            os.truncate(path, 10_000)
        else:
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(b"\x55" * 64)
        with pytest.raises(OSError):
            next(m.path.glob("*/*_optim_states.pt")).read_bytes()


# MARK: - Pickles

def rewritten(path: Path, data: bytes) -> None:
    """The same file with another data.pkl."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, data if entry.filename.endswith("data.pkl") else old.read(entry))
    path.write_bytes(out.getvalue())


class Hostile:
    def __init__(self, call, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def with_member(path: Path, name: str, value: object) -> None:
    state = torch.load(path, weights_only=False)
    state[name] = value
    torch.save(state, path)


@pytest.mark.parametrize("call, name", [(os.system, "posix.system"), (eval, "builtins.eval"), (getattr, "builtins.getattr")])
@pytest.mark.parametrize("member", ["lr_scheduler", "rng_state", "unheard_of"])
def test_a_call(call, name: str, member: str, zerofs: Path, saved: Path) -> None:
    with_member(saved / STATES, member, {"a": [Hostile(call, "touch /tmp/zerofs-was-here")]})
    for options in [(), ("--as", "hf")]:
        refused(zerofs, saved, "mp_rank_02", name.split(".")[1], status=3, options=options)


def test_a_call_in_the_arguments_does_not_go_on(saved: Path, mount) -> None:
    """MDS's forks have objects of their own there; a mount has none of them."""
    for path in saved.glob("global_step6/mp_rank_*"):
        state = torch.load(path, weights_only=False)
        state["args"].of_a_fork = Hostile(os.system, "touch /tmp/zerofs-was-here")
        torch.save(state, path)
    with mount(saved, "--tp", 1, "--pp", 1) as m:
        data = zipfile.ZipFile(next(m.path.glob("*/mp_rank_00*"))).open("mp_rank_00_model_states/data.pkl").read()
        assert b"system" not in data and b"posix" not in data


PROTOCOL = b"\x80\x02"
BOMBS = {
    "deep lists": PROTOCOL + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": PROTOCOL + b")" + b"\x85" * 1_000_000 + b".",
    "a value that doubles": PROTOCOL + b"]q\x00" + b"".join(
        b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)) + b".",
    "itself": PROTOCOL + b"]q\x00h\x00a.",
    "a memo that isn't": PROTOCOL + b"h\x07.",
    "a large memo number": PROTOCOL + b"]r" + struct.pack("<I", 0xFFFFFFFF) + b".",
    "a long string": PROTOCOL + b"X" + struct.pack("<I", 0xFFFFFFF0) + b"abc.",
    "a long integer": PROTOCOL + b"\x8b" + struct.pack("<i", 0x7FFFFFF0) + b"\x01.",
    "no end": PROTOCOL + b"]",
    "an empty stack": PROTOCOL + b"a.",
    "another protocol": b"\x80\x63N.",
    "text": b"hello",
    "nothing": b"",
    "not a dict": pickle.dumps([1, 2], 2),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("file", [STATES, "global_step6/layer_03-model_00-model_states.pt",
                                  "global_step6/bf16_zero_pp_rank_0_mp_rank_01_optim_states.pt"], ids=["states", "layer", "optimizer"])
def test_a_pickle_that_is_none(name: str, file: str, zerofs: Path, saved: Path) -> None:
    rewritten(saved / file, BOMBS[name])
    refused(zerofs, saved, file, options=())


def test_a_tensor_beyond_its_file(zerofs: Path, saved: Path) -> None:
    """A shape and strides that reach behind the storage."""
    path = saved / "global_step6/layer_03-model_00-model_states.pt"
    data = zipfile.ZipFile(path).open(next(n for n in zipfile.ZipFile(path).namelist() if n.endswith("data.pkl"))).read()
    changed = data.replace(b"K@", b"K\xf0", 1)
    assert changed != data
    rewritten(path, changed)
    refused(zerofs, saved, "layer_03-model_00", options=())
