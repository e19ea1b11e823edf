"""--deepspeed-version: trees load in the oldest and the newest DeepSpeed that CI has, and are what each saves."""
import sys
from pathlib import Path

import pytest
import torch

from conftest import OLD_DEEPSPEED, SHARED
from mounting import run
from test_flavor_hf import assert_trains, compare, run_engine


@pytest.fixture(scope="module")
def results(golden: Path, zerofs: Path, old_deepspeed: dict[str, str],
            tmp_path_factory) -> dict[int, tuple[dict, Path, Path]]:
    """Stage → what DeepSpeed 0.16 said, what it saved, the mount that it loaded."""
    import contextlib

    from mounting import mounted
    scratch, hf = tmp_path_factory.mktemp("old"), golden / "hf/llama_bf16"
    with contextlib.ExitStack() as stack:
        cases = []
        for zero in STAGES:
            mountpoint = tmp_path_factory.mktemp("mnt")
            stack.enter_context(mounted(zerofs, hf, mountpoint, "--flavor", "hf", "--dp", 2, "--zero-stage", zero,
                                        "--deepspeed-version", OLD_DEEPSPEED))
            cases.append({"hf": str(hf), "zero": zero, "tree": str(mountpoint), "save": str(scratch / f"{zero}")})
        said = run_engine("transformers_engine.py", cases, scratch, **old_deepspeed)
        yield {zero: (result, Path(case["save"]), Path(case["tree"]))
               for zero, case, result in zip(STAGES, cases, said)}


sys.path.append(str(SHARED / "oracle/stubs/megatron_enums"))  # the Namespace holds a ModelType of Megatron's
STAGES = [0, 1, 3]


@pytest.mark.parametrize("zero", STAGES)
def test_old_deepspeed(zero: int, results, oracle: Path, capsys) -> None:
    result, saved, tree = results[zero]
    assert result["deepspeed"] == OLD_DEEPSPEED
    assert_trains(result)
    compare(oracle, saved, tree, capsys)


def test_keys_of_old_versions(golden: Path, mount) -> None:
    """A Megatron-DeepSpeed run's, as DeepSpeed 0.14.5 to 0.18.9 were seen to save them (spec, section 9), and 0.16.9's
    universal_checkpoint_info and bf16 at stage 0 (test_megatron.py: test_is_what_the_checkout_saves)."""
    def saved(*layout: object) -> tuple[dict, dict]:
        with mount(golden / "hf/llama_bf16", *layout) as m:
            files = ("mp_rank_00_model_states", "bf16_zero_pp_rank_0_mp_rank_00_optim_states")
            return tuple(torch.load(m.path / f"global_step0/{name}.pt", weights_only=False) for name in files)
    new, new_optimizer = saved()
    for version in ("0.14.5", OLD_DEEPSPEED, "0.18.9"):
        old, optimizer = saved("--deepspeed-version", version)
        assert set(old) ^ set(new) == {"sparse_tensor_module_names", "checkpoint_parallel_dimensions"}
        assert old["sparse_tensor_module_names"] == set() and old["ds_version"] == version
        assert old["universal_checkpoint_info"]["universal_checkpoint_version"] == 0.2
        theirs, ours = (file["optimizer_state_dict"] for file in (new_optimizer, optimizer))
        assert set(theirs) - set(ours) == {"param_alignment_paddings"} and set(ours) <= set(theirs)
        assert (ours["clip_grad"], ours["ds_version"]) == (0.0, version)
    new, old = (saved("--zero-stage", 0, "--deepspeed-version", version)[0] for version in ("0.18.9", OLD_DEEPSPEED))
    assert new["param_shapes"] is None and "single_partition_of_fp32_groups" in new["optimizer"]
    assert old["optimizer"] is None and [len(group) for group in old["param_shapes"]] == [18, 9]


def test_stage_0_warnings(golden: Path, zerofs: Path) -> None:
    """Versions that can't load bf16 at stage 0 (engine.py: _load_checkpoint), and those that can."""
    layouts = {"pipe": [], "nopipe": ["--no-pipeline-parallel"], "hf": ["--flavor", "hf"]}
    for version, warned in {"0.16.9": set(), "0.17.5": set(), "0.17.6": {"nopipe", "hf"}, "0.18.4": set(layouts),
                            "0.18.5": {"pipe"}, "0.19.8": {"pipe"}}.items():
        for name, layout in layouts.items():
            said = run(zerofs, "plan", golden / "hf/llama_bf16", "--zero-stage", 0, *layout, "--deepspeed-version",
                       version, "--make-vocab-size-divisible-by=7" if name != "hf" else "--dp=1")
            assert said.returncode == 0, said.stderr
            assert ("bf16 at ZeRO stage 0" in said.stdout + said.stderr) == (name in warned), (version, name)
