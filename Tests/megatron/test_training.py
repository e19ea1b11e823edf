"""Gradients: five steps at TP 2 lose what they lose at TP 1."""
from pathlib import Path

import pytest

import families
from conftest import CUTTABLE

LIMIT = 2e-6
STEPS = ["--steps", 5, "--nosave"]


def five_steps(checkout: Path, out: Path, cases: list[str], tp: int, *options: object) -> dict[str, families.Result]:
    padding = f"--extra=--lr 0.01 --make-vocab-size-divisible-by {512 // tp}"      # the same vocabulary at both
    return families.run(checkout, out, cases, "--tp", tp, padding, *STEPS, *options)


@pytest.mark.parametrize("engine", ["no pipeline", "pipeline"])
def test_five_steps(engine: str, checkout: Path, tmp_path: Path, measured) -> None:
    options = ["--pipe"] if engine == "pipeline" else []
    whole = five_steps(checkout, tmp_path / "1", CUTTABLE, 1, *options)
    cut = five_steps(checkout, tmp_path / "2", CUTTABLE, 2, *options)
    apart = {case: max(abs(a - b) for a, b in zip(whole[case].losses, cut[case].losses)) for case in CUTTABLE
             if len(whole[case].losses) == len(cut[case].losses) == 5}
    for case in CUTTABLE:
        measured(case.removeprefix("x_"), f"5 steps, {engine}", f"{apart[case]:.1e}" if case in apart else "failed")
    assert apart.keys() == set(CUTTABLE), {case: (whole[case].said, cut[case].said) for case in CUTTABLE if case not in apart}
    assert max(apart.values()) < LIMIT, apart


def test_the_measure_shows_gradients_that_are_not_summed(checkout: Path, tmp_path: Path) -> None:
    whole = five_steps(checkout, tmp_path / "1", ["x_qwen3"], 1)["x_qwen3"]
    cut = five_steps(checkout, tmp_path / "2", ["x_qwen3"], 2, "--nosum")["x_qwen3"]
    assert abs(whole.losses[0] - cut.losses[0]) < LIMIT and abs(whole.losses[-1] - cut.losses[-1]) > 1e-4
