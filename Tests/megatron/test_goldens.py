"""The trees of golden/extension, saved by the prototype, load: every parameter and master to the bit, and the loss.

The loss is of bf16 and of another machine: the prototype's own differs from the goldens' here as much (3e-4).
"""
import json
import shutil
from pathlib import Path

import pytest

import families
from conftest import CUTTABLE, SERVED
from training import SHARED

TREES = SHARED / "golden/extension/trees"
LAYOUTS = {
    "nopipe-dp2-z2": (SERVED, ["--dp", 2, "--zero", 2]),
    "pipe-tp2pp2-z1": (CUTTABLE, ["--pipe", "--tp", 2, "--pp", 2]),
    "pipe-pp2-z1": ([case for case in SERVED if case not in CUTTABLE], ["--pipe", "--pp", 2]),
}


# OPT's learned positions on the last stage, which MDS has there with the tied embedding and uses for nothing: of these it loads the
# masters only (DeepSpeed `runtime/pipe/module.py`: `load_state_dir` reads the stage's own layers, and the tied weight alone is
# broadcast). The parameter is the seed's, as the prototype has it, too, when it loads this tree.
POSITIONS = "tied_modules.embed.position_embeddings.weight"
POSITIONS_OF_THE_SEED = "cdff9fb53e33d6e8bc59ddfd"


def digest(golden: dict) -> dict:
    parameters = golden["digest"]["params"]
    if POSITIONS not in parameters or "2.input_layernorm.weight" in parameters:
        return golden["digest"]
    return {**golden["digest"], "params": parameters | {POSITIONS: [POSITIONS_OF_THE_SEED, *parameters[POSITIONS][1:]]}}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_golden_trees_load(layout: str, checkout: Path, tmp_path: Path, measured) -> None:
    cases, options = LAYOUTS[layout]
    for case in cases:
        shutil.copytree(TREES / f"{case}-{layout}", tmp_path / "loaded" / case)
    results = families.run(checkout, tmp_path, cases, *options, "--dtype", "bf16", "--full", "--load", tmp_path / "loaded/{case}")
    wrong = {}
    for case, r in results.items():
        golden = json.loads((TREES / f"{case}-{layout}.save.json").read_text())["ranks"]
        same = len(r.ranks) == len(golden) and all(
            a["digest"] == digest(b) and abs(a["loss"] - b["loss"]) < 1e-3 for a, b in zip(r.ranks, golden))
        measured(case.removeprefix("x_"), f"golden {layout[:4]}", "same" if same else "differs")
        if not same:
            wrong[case] = r.said
    assert not wrong, wrong
