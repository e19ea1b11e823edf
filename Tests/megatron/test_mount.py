"""Real MDS loads what zerofs mounts, and its logits are transformers'. Models of the extension run with the package and the spec
that the mount has, guarded; the pipeline takes its LayerNorm from there, too. The rest is stock MDS."""
import contextlib
import os
from pathlib import Path

import pytest

import families
from conftest import OTHER, SERVED
from mounting import mounted, two_nodes
from test_logits import LIMIT, OF_THE_OTHER
from training import PACKAGE, TOP, arguments, losses, run, script_of

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


def scaled_llama(folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}
    LlamaForCausalLM(LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4, vocab_size=256,
        max_position_embeddings=256, rms_norm_eps=1e-5, rope_parameters={"rope_theta": 10000.0, **scaled})
    ).save_pretrained(folder)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")
def test_hf_on_two_nodes(checkout: Path, tmp_path: Path) -> None:
    """TP 2 within each of two nodes (mount namespaces), DP 2 over them: each mounts for itself, and the losses are those of one."""
    hf = scaled_llama(tmp_path / "hf")

    def job(save: str, *enter: object) -> list[float]:
        words = arguments(tmp_path, "--save", tmp_path / save, tp=2, dp=2)
        return losses(run(checkout, ["-m", "zerofs_megatron", "--hf", hf, script_of(checkout), *words], ranks=4, path=(PACKAGE,),
                          launcher=enter, ZEROFS=ZEROFS))
    one = job("one")
    with two_nodes(tmp_path) as (enter, kept):
        assert job("two", enter) == pytest.approx(one, abs=1e-6) and len(one) == 4
        for node in kept:
            assert f"fuse.zerofs {hf} " not in Path(f"/proc/{node.pid}/mountinfo").read_text()
    assert (tmp_path / "two/latest").read_text() == "global_step4"


def test_hf_in_front_of_the_script(each_checkout: Path, tmp_path: Path) -> None:
    """`python3 -m zerofs_megatron --hf HF_DIR SCRIPT …`: no layout and no mount is typed. A job that is cut and sent again, as it
    is, goes on from what it saved, without a mount, and the losses are those of a run that wasn't cut."""
    scaled_llama(tmp_path / "hf")

    def job(save: str, *more: object):
        return run(each_checkout, ["-m", "zerofs_megatron", "--hf", tmp_path / "hf", script_of(each_checkout),
                                   *arguments(tmp_path, "--save", tmp_path / save, *more, tp=2)],
                   ranks=2, path=(PACKAGE,), ZEROFS=ZEROFS)
    whole = losses(job("whole"))
    first, second = job("cut", "--exit-interval", 2), job("cut")
    assert losses(first) + losses(second) == pytest.approx(whole, abs=1e-5) and len(whole) == 4
    assert f"{tmp_path / 'cut'}" in second.stdout and "run-" not in second.stdout
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if "fuse.zerofs" in line and str(tmp_path) in line]


@pytest.mark.parametrize("cases, layout, extended, more", [pytest.param(*case, id=f"{case[0][0]}…-{case[1]}") for case in CASES
                                                           if split(case[0], case[1])])
def test_mounts_load(cases: list, layout: str, extended: bool | None, more: list, checkout: Path, tmp_path: Path, measured) -> None:
    results = loaded(checkout, tmp_path, split(cases, layout), layout, extended, *more)
    assert_transformers(results, f"mount, {layout.split(',')[0]}", measured)


@pytest.mark.skipif(not OTHER, reason="OTHER_MEGATRON_DEEPSPEED names no second checkout")
def test_the_other_fork_loads_mounts(tmp_path: Path, measured) -> None:
    assert_transformers(loaded(OTHER, tmp_path, OF_THE_OTHER, "pipe", True), "mount, other", measured)
