"""--deepspeed-version: trees load in the oldest and the newest DeepSpeed that CI has, and are what each saves."""
from pathlib import Path

import pytest

from conftest import OLD_DEEPSPEED
from test_flavor_hf import assert_trains, compare, engines


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
        said = engines(cases, scratch, **old_deepspeed)
        yield {zero: (result, Path(case["save"]), Path(case["tree"]))
               for zero, case, result in zip(STAGES, cases, said)}


STAGES = [0, 1, 3]


@pytest.mark.parametrize("zero", STAGES)
def test_old_deepspeed(zero: int, results, oracle: Path, capsys) -> None:
    result, saved, tree = results[zero]
    assert result["deepspeed"] == OLD_DEEPSPEED
    assert_trains(result)
    compare(oracle, saved, tree, capsys)
