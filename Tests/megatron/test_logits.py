"""MDS with zerofs_megatron computes what transformers computes, in fp32, in every layout; without a key it doesn't."""
from pathlib import Path

import pytest

import families
from conftest import CASES, CUTTABLE, OTHER, SERVED

LIMIT = 4e-6
LAYOUTS = {
    "TP 1": (SERVED, []),
    "pipeline": (SERVED, ["--pipe"]),
    "PP 2": (SERVED, ["--pipe", "--pp", 2]),
    "TP 2": (CUTTABLE, ["--tp", 2]),
    "TP 2 PP 2": (CUTTABLE, ["--pipe", "--tp", 2, "--pp", 2]),
}
OF_THE_OTHER = ["x_llama3", "x_longrope_long", "x_qwen3", "x_gemma3", "x_olmo2", "x_phi", "x_neox", "x_cohere2", "x_opt"]


def assert_exact(results: dict[str, families.Result], layout: str, measured) -> None:
    for case, r in results.items():
        measured(case.removeprefix("x_"), layout, "failed" if r.difference is None else f"{r.difference:.1e}")
    wrong = {case: r.said for case, r in results.items() if r.difference is None or not r.difference < LIMIT}
    assert not wrong, wrong


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_are_transformers(layout: str, checkout: Path, tmp_path: Path, measured) -> None:
    cases, options = LAYOUTS[layout]
    assert_exact(families.run(checkout, tmp_path, cases, *options, "--nosave"), layout, measured)


@pytest.mark.skipif(not OTHER, reason="OTHER_MEGATRON_DEEPSPEED names no second checkout")
@pytest.mark.parametrize("layout", ["TP 1", "TP 2 PP 2"])
def test_logits_of_the_other_fork(layout: str, tmp_path: Path, measured) -> None:
    assert_exact(families.run(OTHER, tmp_path, OF_THE_OTHER, *LAYOUTS[layout][1], "--nosave"), f"other, {layout}", measured)


@pytest.mark.parametrize("length", [16, 32, 128])
def test_lengths_around_the_original_one(length: int, checkout: Path, tmp_path: Path, measured) -> None:
    """Original lengths are 16 (llama3, longrope_long) and 64 (yarn, longrope_short)."""
    cases = ["x_llama3", "x_yarn", "x_longrope_short", "x_longrope_long"]
    assert_exact(families.run(checkout, tmp_path, cases, "--seq", length, "--nosave"), f"length {length}", measured)


def test_flash_attention_2_gets_window_cap_and_scale(checkout: Path, tmp_path: Path) -> None:
    """In bf16, which it needs: as near to transformers as MDS's own attention is, and far without the key."""
    cases, options = ["x_mistral_window", "x_gemma2", "x_gemma3"], ["--dtype", "bf16", "--nosave"]
    flash = [*options, "--flash", "--extra=--use-flash-attn-v2"]
    plain = families.run(checkout, tmp_path, cases, *options)
    fast = families.run(checkout, tmp_path, cases, *flash)
    assert all(fast[c].difference < 2 * plain[c].difference for c in cases), (plain, fast)
    for key, case in (("window", "x_mistral_window"), ("attention_softcap", "x_gemma2"), ("attention_scale", "x_gemma2")):
        without = families.run(checkout, tmp_path, [case], "--without", key, *flash)[case]
        assert without.difference > 2 * plain[case].difference, (key, without)


# fp32_product, the one thing that olmo's norms ask for, is about where bf16 rounds: none in fp32.
KEYS = {key: [case for case in SERVED if key in CASES[case]["extension"] and (key, case) not in (("norm", "x_olmo2"), ("norm", "x_olmo3"))]
        for key in sorted({key for case in SERVED for key in CASES[case]["extension"]})}


@pytest.mark.parametrize("key", KEYS)
def test_each_key_is_needed(key: str, checkout: Path, tmp_path: Path, measured) -> None:
    results = families.run(checkout, tmp_path, KEYS[key], "--without", key, "--nosave")
    for case, r in results.items():
        measured(f"without {key}: {case.removeprefix('x_')}", "TP 1", "fails" if r.difference is None else f"{r.difference:.1e}")
    needless = {case: r.said for case, r in results.items() if r.difference is not None and not r.difference > 0.02}
    assert not needless, needless
