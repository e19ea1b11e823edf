"""A full resume: what the checkpoint says of the run agrees with the run, and a run that doesn't fit is refused."""
import json
import shlex
import sys
from pathlib import Path

import pytest
import torch

from conftest import SHARED
from layouts import options
from megatron_args import command_line
from mounting import run
from rebuild import load

sys.path.append(str(SHARED / "oracle/stubs/megatron_enums"))  # the Namespace holds a ModelType of Megatron's

CASES = json.loads((SHARED / "golden/cases.json").read_text())
# Of one run only: where it saved, its DeepSpeed configuration, objects that it made for itself.
OF_THE_RUN = {"save", "load", "deepspeed_config", "deepspeed_config_dict", "attn_mask", "rotary_pos_emb"}


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool((a == b).all() if hasattr(a, "dtype") else a == b)


@pytest.mark.parametrize("name", CASES)
def test_state_of_the_run_equals_goldens(name: str, golden: Path, oracle: Path, mount) -> None:
    case = CASES[name]
    words = shlex.join(command_line(oracle, golden, case))
    with mount(golden / "hf" / case["hf"], *options(case), "--train-args", words, "--device", "cpu") as m:
        files = [f for f in m.path.rglob("*.pt") if "mp_rank" in f.name and f.name.endswith("model_states.pt")]
        assert files
        for file in files:
            ours, theirs = load(file), load(golden / "trees" / name / file.relative_to(m.path))
            assert same(theirs["rng_state"], ours["rng_state"]), f"{file.name}: generators' states"
            assert same(theirs["lr_scheduler"], ours["lr_scheduler"]), f"{file.name}: schedule"
            wanted, got = vars(theirs["args"]), vars(ours["args"])
            assert list(wanted) == list(got)
            different = {k for k in wanted.keys() - OF_THE_RUN if not same(wanted[k], got[k])}
            assert not different, {k: (wanted[k], got[k]) for k in different}


NAME = "llama-pipe-tp2pp2dp2-z1-bf16"
WRONG = [  # what is changed, what the error names
    (["--hidden-size", "64"], ["--hidden-size", "128"], "--hidden-size 64"),
    (["--num-key-value-heads", "4"], [], "--num-key-value-heads 4"),
    (["--rotary-position-embeddings-theta", "10000"], ["--rotary-position-embeddings-theta", "500000"], "theta 10000"),
    (["--layernorm-epsilon", "1e-05"], ["--layernorm-epsilon", "1e-6"], "--layernorm-epsilon"),
    (["--swiglu"], [], "--swiglu"),
    (["--normalization", "rmsnorm"], [], "--normalization rmsnorm"),
    (["--disable-bias-linear"], [], "--disable-bias-linear"),
    (["--untie-embeddings-and-output-weights"], [], "--untie-embeddings-and-output-weights"),
    (["--vocab-size", "258"], ["--vocab-size", "1000"], "512"),
    (["--optimizer"], ["--optimizer", "sgd"], "adamw"),
    ([], ["--num-experts", "4"], "no --num-experts"),
    (["--seed", "1234"], ["--seed", "12x"], "--seed"),
]


@pytest.mark.parametrize("old, new, named", WRONG, ids=[" ".join(w[1]) or f"no {w[0][0]}" for w in WRONG])
def test_contradictions_are_refused(old: list[str], new: list[str], named: str, golden: Path, oracle: Path, zerofs: Path,
                                    mountpoint: Path) -> None:
    case = CASES[NAME]
    words = shlex.join(command_line(oracle, golden, case))
    if old and shlex.join(old) in words:
        changed = words.replace(shlex.join(old), shlex.join(new))
    else:
        changed = words + " " + shlex.join(new)
    assert changed != words
    result = run(zerofs, "mount", golden / "hf" / case["hf"], mountpoint, *options(case), "--train-args", changed)
    lines = [line for line in result.stderr.splitlines() if "warning" not in line]
    assert (result.returncode, len(lines)) == (10, 1), result.stderr
    assert named in lines[0]


def test_layout_comes_from_the_command_line(golden: Path, oracle: Path, tmp_path: Path, zerofs: Path) -> None:
    script = tmp_path / "train.sh"
    words = command_line(oracle, golden, CASES[NAME])
    script.write_text("#!/bin/bash\nARGS=\"" + shlex.join(words) + "\"\ndeepspeed pretrain_gpt_alcf.py $ARGS\n")
    plan = json.loads(run(zerofs, "plan", golden / "hf/llama_bf16", "--dp", 2, "--train-args", script, "--json").stdout)
    assert (plan["layout"]["tp"], plan["layout"]["pp"], plan["layout"]["dtype"]) == (2, 2, "bfloat16")
    other = run(zerofs, "plan", golden / "hf/llama_bf16", "--tp", 4, "--train-args", script)
    assert other.returncode == 4 and "--train-args say 2" in other.stderr


def test_generators_of_a_gpu(golden: Path, mount) -> None:
    """torch.cuda.get_rng_state(): the seed and an offset of 0, little-endian."""
    with mount(golden / "hf/llama_bf16", "--tp", 2, "--pp", 2, "--seed", 77) as m:
        state = load(m.path / "global_step0/mp_rank_03_model_states.pt")["rng_state"][0]
    assert bytes(state["cuda_rng_state"].numpy()) == (77 + 100).to_bytes(8, "little") + bytes(8)
    tracker = state["rng_tracker_states"]["model-parallel-rng"]
    assert bytes(tracker.numpy()) == (77 + 100 + 2718 + 1).to_bytes(8, "little") + bytes(8)


def test_masters_of_the_source(golden: Path, mount) -> None:
    """--masters source: an fp32 model's full precision, where DeepSpeed's own masters are rounded."""
    file = "global_step0/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
    masters = {}
    for kind in ("parameters", "source"):
        with mount(golden / "hf/llama_fp32", "--dtype", "bf16", "--masters", kind) as m:
            masters[kind] = load(m.path / file)["optimizer_state_dict"]["single_partition_of_fp32_groups"][0]
    assert torch.equal(masters["parameters"], masters["source"].bfloat16().float())
    assert not torch.equal(masters["parameters"], masters["source"])


@pytest.mark.parametrize("stage", [1, 3])
def test_zero_moments(stage: int, golden: Path, mount) -> None:
    """Zeros at step 0, each tensor with a storage of its own: the optimizer updates them in place."""
    layout = ["--dp", 2, "--zero-stage", stage, "--moments", "zeros", *(["--no-pipeline-parallel"] if stage == 3 else [])]
    with mount(golden / "hf/llama_bf16", *layout) as m:
        saved = load(m.path / "global_step0/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt")["optimizer_state_dict"]
    masters = saved["fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"]
    state = saved["optimizer_state_dict" if stage == 3 else "base_optimizer_state"]["state"]
    assert list(state) == list(range(len(masters)))
    tensors = [state[i][key] for i in state for key in ("step", "exp_avg", "exp_avg_sq")]
    assert all(t.dtype == torch.float32 and not t.any() for t in tensors)
    assert all(state[i]["exp_avg"].shape == masters[i].shape for i in state)
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)
