"""Real MDS loads what zerofs mounts, and its logits are transformers'. Models of the extension run with the package and the spec
that the mount has, guarded; the pipeline takes its LayerNorm from there, too. The rest is stock MDS."""
import contextlib
import os
from pathlib import Path

import pytest

import families
from conftest import OTHER, SERVED
from mounting import mounted
from test_logits import LIMIT, OF_THE_OTHER
from training import TOP

ZEROFS = Path(os.environ.get("ZEROFS", TOP / ".build/release/zerofs")).resolve()
pytestmark = pytest.mark.skipif(not os.access(ZEROFS, os.X_OK), reason="no zerofs binary: run `make build`, or name one in ZEROFS")

STOCK = ["llama_bias", "llama_attn_bias_only", "llama_mlp_bias_only", "llama_dynamic", "qwen2", "seed_oss", "mistral_window", "phi3",
         "phi3_partial", "phi4_mini", "arcee", "granite_tied", "granite_untied_served", "minicpm", "helium", "ernie4_5", "glm",
         "internlm2", "baichuan"]
LAYER_NORM = ["nemotron", "jais2", "starcoder2", "starcoder2_3b_theta", "stablelm", "stablelm_nobias", "olmo", "gpt_neox_sequential",
              "gpt2", "gpt_bigcode_mha", "gpt_neo"]
ONE_HEAD = ["gpt_bigcode_mqa"]      # MDS itself runs it at micro-batch 1
UNCUT = [*ONE_HEAD, "phi3_partial", "x_gemma_2b", "x_falcon_7b"]      # TP 2 leaves a rank one head at most
SERVED_AS = {"granite_untied_served": ["--untie-embeddings-and-output-weights"]}
LAYOUTS = {
    "nopipe": (["--no-pipeline-parallel"], []),
    "pipe": (["--tp", 2, "--pp", 2], ["--pipe", "--tp", 2, "--pp", 2]),
    "pipe, PP 2": (["--pp", 2], ["--pipe", "--pp", 2]),
}
CASES = [(cases, layout, extended, more)
         for cases, extended, more in ((STOCK, False, []), (LAYER_NORM, None, []), (ONE_HEAD, None, ["--mbs", 1]), (SERVED, True, []))
         for layout in LAYOUTS]


def split(cases: list[str], layout: str) -> list[str]:
    """Those that a layout is for."""
    return {"nopipe": cases, "pipe": [c for c in cases if c not in UNCUT], "pipe, PP 2": [c for c in cases if c in UNCUT]}[layout]


@contextlib.contextmanager
def all_mounted(tmp_path: Path, cases: list[str], *options: object):
    with contextlib.ExitStack() as stack:
        for case in cases:
            (mountpoint := tmp_path / "mnt" / case).mkdir(parents=True)
            stack.enter_context(mounted(ZEROFS, tmp_path / "hf" / case, mountpoint, *options, *SERVED_AS.get(case, [])))
        yield tmp_path / "mnt/{case}"


def loaded(checkout: Path, tmp_path: Path, cases: list[str], layout: str, extended: bool | None, *more: object):
    """`extended` is None where only the pipeline needs the extension."""
    served, options = LAYOUTS[layout]
    families.make(checkout, tmp_path, cases)
    with all_mounted(tmp_path, cases, *served, "--dtype", "fp32") as mounts:
        return families.run(checkout, tmp_path, cases, *options, *more, "--load", mounts,
                            extended="--pipe" in options if extended is None else extended)


def assert_transformers(results: dict, column: str, measured) -> None:
    for case, r in results.items():
        measured(case.removeprefix("x_"), column, "failed" if r.difference is None else f"{r.difference:.1e}")
    wrong = {case: r.said for case, r in results.items() if r.difference is None or not r.difference < LIMIT}
    assert not wrong, wrong


@pytest.mark.parametrize("cases, layout, extended, more", [pytest.param(*case, id=f"{case[0][0]}…-{case[1]}") for case in CASES
                                                           if split(case[0], case[1])])
def test_mounts_load(cases: list, layout: str, extended: bool | None, more: list, checkout: Path, tmp_path: Path, measured) -> None:
    results = loaded(checkout, tmp_path, split(cases, layout), layout, extended, *more)
    assert_transformers(results, f"mount, {layout.split(',')[0]}", measured)


@pytest.mark.skipif(not OTHER, reason="OTHER_MEGATRON_DEEPSPEED names no second checkout")
def test_the_other_fork_loads_mounts(tmp_path: Path, measured) -> None:
    assert_transformers(loaded(OTHER, tmp_path, OF_THE_OTHER, "pipe", True), "mount, other", measured)
