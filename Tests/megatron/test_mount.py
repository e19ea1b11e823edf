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
from training import PACKAGE, TOP, arguments, losses, run, script_of

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


def test_hf_in_front_of_the_script(each_checkout: Path, tmp_path: Path) -> None:
    """`python3 -m zerofs_megatron --hf HF_DIR SCRIPT …`: no layout and no mount is typed. A job that is cut and sent again, as it
    is, goes on from what it saved, without a mount, and the losses are those of a run that wasn't cut."""
    from transformers import LlamaConfig, LlamaForCausalLM
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}
    LlamaForCausalLM(LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4, vocab_size=256,
        max_position_embeddings=256, rms_norm_eps=1e-5, rope_parameters={"rope_theta": 10000.0, **scaled})
    ).save_pretrained(tmp_path / "hf")

    def job(save: str, *more: object):
        return run(each_checkout, ["-m", "zerofs_megatron", "--hf", tmp_path / "hf", script_of(each_checkout),
                                   *arguments(tmp_path, "--save", tmp_path / save, *more, tp=2)],
                   ranks=2, path=(PACKAGE,), ZEROFS=ZEROFS)
    whole = losses(job("whole"))
    first, second = job("cut", "--exit-interval", 2), job("cut")
    assert losses(first) + losses(second) == pytest.approx(whole, abs=1e-5) and len(whole) == 4
    assert f"{tmp_path / 'cut'}" in second.stdout and "run-" not in second.stdout
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if "fuse.zerofs" in line and str(tmp_path) in line]
