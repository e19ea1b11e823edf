"""Real MDS loads what zerofs mounts, extended by what the mount's own spec says, with its guard: logits are transformers'."""
import contextlib
import json
import os
from pathlib import Path

import pytest

import families
from conftest import CASES
from mounting import mounted
from test_logits import LIMIT
from training import TOP

ZEROFS = Path(os.environ.get("ZEROFS", TOP / ".build/release/zerofs")).resolve()
LAYOUTS = {
    "pipe": (["x_llama3", "x_gemma2", "x_olmo2", "x_phi", "x_falcon_new"], ["--tp", 2, "--pp", 2], ["--pipe", "--tp", 2, "--pp", 2]),
    "nopipe": (["x_qwen3", "x_gemma3", "x_neox", "x_cohere", "x_opt"],
               ["--no-pipeline-parallel"], []),
}


@pytest.mark.skipif(not os.access(ZEROFS, os.X_OK), reason="no zerofs binary: run `make build`, or name one in ZEROFS")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_mounts_load(layout: str, checkout: Path, tmp_path: Path, measured, monkeypatch) -> None:
    cases, served, options = LAYOUTS[layout]
    families.run(checkout, tmp_path, cases, *options)      # makes the models
    with contextlib.ExitStack() as stack:
        for case in cases:
            (mountpoint := tmp_path / "mnt" / case).mkdir(parents=True)
            stack.enter_context(mounted(ZEROFS, tmp_path / "hf" / case, mountpoint, *served, "--dtype", "fp32"))
            spec = json.loads((mountpoint / ".zerofs/extension.json").read_text())
            assert {key: spec[key] for key in spec.keys() - {"facts"}} == CASES[case]["extension"]
        monkeypatch.setenv("ZEROFS_MEGATRON_GUARD", "1")
        results = families.run(checkout, tmp_path, cases, *options, "--load", tmp_path / "mnt/{case}")
    for case, r in results.items():
        measured(case.removeprefix("x_"), f"mount, {layout}", "failed" if r.difference is None else f"{r.difference:.1e}")
    wrong = {case: r.said for case, r in results.items() if r.difference is None or not r.difference < LIMIT}
    assert not wrong, wrong
