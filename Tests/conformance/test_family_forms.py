"""What users hold of a model of any family, and what they do with it: files named as a bare base model's, F64 weights, archives,
verification, layouts by name; and a run's arguments that contradict the model."""
import shlex
import shutil
from pathlib import Path

import pytest

import safetensors_header
from conftest import SHARED
from files import tree
from mounting import run
from test_archive import made
from test_extension import command_line, split, with_sequence
from test_refusals import LAYOUT, assert_refused

FAMILIES, EXTENSION = SHARED / "golden/families", SHARED / "golden/extension"
ALL = sorted([*(FAMILIES / "hf").iterdir(), *(EXTENSION / "hf").iterdir()])
# Tied with learned positions, folded, rows in another order, transposed, with a bias of the output layer, norms of its own.
SOME = [FAMILIES / "hf" / name for name in ("gpt2", "granite_tied", "nemotron", "glm", "phi3_partial", "gpt_neo")] + [
    EXTENSION / "hf" / name for name in ("x_gemma2", "x_olmo2", "x_phi", "x_falcon_new", "x_opt")]
DIFFERS, ARGUMENTS = 13, 10
PREFIXES = ("model.decoder.", "model.", "transformer.", "gpt_neox.")


def named(paths: list[Path]):
    return pytest.mark.parametrize("hf", paths, ids=lambda path: path.name)


def copy_of(hf: Path, out: Path) -> tuple[dict, bytes, Path]:
    out.mkdir()
    shutil.copy(hf / "config.json", out)
    return *safetensors_header.read(hf / "model.safetensors"), out


@named(SOME)
def test_archive(hf: Path, zerofs: Path, mount, tmp_path: Path) -> None:
    layout = ["--tp", 2, "--pp", 2, "--dtype", "bf16"] if hf.name != "phi3_partial" else ["--pp", 2, "--dtype", "bf16"]
    made(zerofs, hf, tmp_path / "model.zarc", *layout)
    other = "tp1-pp1-dp2-zero3-nopipe" if hf.name != "x_phi" else "tp1-pp1-dp2-zero2-nopipe"      # a head's bias has no stage 3
    with mount(tmp_path / "model.zarc") as m, mount(hf, *layout) as directory:
        for top in ("", other):
            assert tree(m.path / top / "global_step0") == tree(directory.path / top / "global_step0")
    done = run(zerofs, "verify", tmp_path / "model.zarc", "--against", hf)
    assert done.returncode == 0, done.stdout + done.stderr


@named(ALL)
def test_golden_trees_verify(hf: Path, zerofs: Path) -> None:
    trees = sorted((hf.parents[1] / "trees").glob(f"{hf.name}-*pipe-*"))
    trees = [path for path in trees if path.is_dir()]
    assert len(trees) == 2
    for path in trees:
        run_of = with_sequence(*split(path.name)) if hf.is_relative_to(EXTENSION) else []
        done = run(zerofs, "verify", path, "--against", hf, *run_of)
        assert done.returncode == 0, done.stdout + done.stderr


@named(SOME)
def test_verify_names_what_differs(hf: Path, zerofs: Path, tmp_path: Path) -> None:
    header, data, other = copy_of(hf, tmp_path / "other")
    name = next(key for key in header if key.endswith(("down_proj.weight", "c_proj.weight", "4h_to_h.weight", "fc2.weight")))
    at = header[name]["data_offsets"][0] + 2 * 700
    safetensors_header.write(other / "model.safetensors", header, data[:at + 1] + bytes([data[at + 1] ^ 0x40]) + data[at + 2:])
    saved = next(path for path in (hf.parents[1] / "trees").glob(f"{hf.name}-pipe-*") if path.is_dir())
    done = run(zerofs, "verify", saved, "--against", other)
    assert done.returncode == DIFFERS, done.stdout + done.stderr
    assert any(word in done.stdout for word in ("dense_4h_to_h.weight", "self_attention.dense.weight")), done.stdout


@named(SOME)
def test_names_without_the_base_models_prefix(hf: Path, mount, tmp_path: Path) -> None:
    header, data, bare = copy_of(hf, tmp_path / "bare")
    prefix = next(p for p in PREFIXES if any(key.startswith(p) for key in header))
    base = "model." if prefix == "model.decoder." else prefix      # OPTModel has a decoder of its own
    safetensors_header.write(bare / "model.safetensors", {key.removeprefix(base): value for key, value in header.items()}, data)
    with mount(bare, "--pp", 2) as m, mount(hf, "--pp", 2) as whole:
        assert tree(m.path / "global_step0") == tree(whole.path / "global_step0")


@named(SOME)
def test_f64_weights_are_cast(hf: Path, mount, tmp_path: Path) -> None:
    """fp32 first, as torch has it."""
    from safetensors.torch import load_file, save_file
    wide, narrow = (copy_of(hf, tmp_path / name)[2] for name in ("wide", "narrow"))
    weights = load_file(hf / "model.safetensors")
    save_file({name: weight.double() for name, weight in weights.items()}, wide / "model.safetensors", metadata={"format": "pt"})
    save_file({name: weight.float() for name, weight in weights.items()}, narrow / "model.safetensors", metadata={"format": "pt"})
    for options in (["--pp", 2, "--dtype", "fp32", "--vocab-padding", "mean"], ["--dtype", "bf16"]):
        with mount(wide, *options) as m, mount(narrow, *options) as narrow_mount:
            assert tree(m.path / "global_step0") == tree(narrow_mount.path / "global_step0")


@named(SOME)
def test_tensors_of_several_types(hf: Path, mount, tmp_path: Path) -> None:
    """They meet in fp32, which a run in bf16 rounds once."""
    import torch
    from safetensors.torch import load_file, save_file
    types = [torch.float64, torch.float16, torch.bfloat16, torch.float32]
    weights = {name: weight.to(types[index % 4]) for index, (name, weight) in enumerate(load_file(hf / "model.safetensors").items())}
    _, _, mixed = copy_of(hf, tmp_path / "mixed")
    _, _, plain = copy_of(hf, tmp_path / "plain")
    save_file(weights, mixed / "model.safetensors", metadata={"format": "pt"})
    save_file({name: weight.float() for name, weight in weights.items()}, plain / "model.safetensors", metadata={"format": "pt"})
    for options in (["--pp", 2, "--dtype", "fp32"], ["--dtype", "bf16"]):
        with mount(mixed, *options) as m, mount(plain, *options) as whole:
            assert tree(m.path / "global_step0") == tree(whole.path / "global_step0")


@pytest.mark.parametrize("hf, tp, works", [
    (FAMILIES / "hf/phi3_partial", 4, "1 or 2"), (FAMILIES / "hf/qwen2", 8, "1, 2 or 4"), (EXTENSION / "hf/x_gemma2", 8, "1, 2 or 4"),
    (EXTENSION / "hf/x_gemma_2b", 2, "1"), (EXTENSION / "hf/x_falcon_7b", 2, "1")], ids=lambda value: getattr(value, "name", str(value)))
def test_more_ranks_than_key_value_heads(hf: Path, tp: int, works: str, zerofs: Path) -> None:
    assert_refused(run(zerofs, "plan", hf, "--tp", tp), LAYOUT, "key-value heads", "1")


FACTS = [
    ("x_glm4", "kv-channels", 8), ("x_glm4", "rotary-percent", 1.0), ("x_glm4", "layernorm-epsilon", "1e-5"),
    ("x_olmo2", "rotary-position-embeddings-theta", 10000), ("x_olmo2", "normalization", "layernorm"), ("x_olmo2", "ffn-hidden-size", 192),
    ("x_phi", "normalization", "rmsnorm"), ("x_phi", "rotary-percent", 0.25), ("x_phi", "num-layers", 4), ("x_opt", "hidden-size", 128),
    ("x_opt", "max-position-embeddings", 128), ("x_gemma2", "num-key-value-heads", 8), ("x_gemma2", "num-attention-heads", 4),
]


@pytest.mark.parametrize("case, flag, value", FACTS)
def test_a_contradiction_of_each_kind(case: str, flag: str, value: object, zerofs: Path) -> None:
    hf = EXTENSION / "hf" / case
    for words, status in [(command_line(case, dict(zero=1)), 0), (command_line(case, dict(zero=1), **{flag.replace("-", "_"): value}), ARGUMENTS)]:
        done = run(zerofs, "plan", hf, "--train-args", words)
        assert done.returncode == status and (not status or flag in done.stderr.replace("_", "-")), done.stderr


@pytest.mark.parametrize("case, flag", [("x_qwen3", "--disable-bias-linear"), ("x_qwen3", "--swiglu"), ("x_qwen3", "--use-rotary-position-embeddings"),
                                        ("x_phi", "+--disable-bias-linear"), ("x_phi", "+--swiglu"), ("x_phi", "+--squared-relu"),
                                        ("x_opt", "+--use-rotary-position-embeddings"), ("x_qwen3", "--untie-embeddings-and-output-weights"),
                                        ("x_qwen3", "+--apply-layernorm-1p")])
def test_a_switch_that_contradicts(case: str, flag: str, zerofs: Path) -> None:
    words = shlex.split(command_line(case, dict(zero=1)))
    words = [*words, flag[1:]] if flag.startswith("+") else [word for word in words if word != flag]
    done = run(zerofs, "plan", EXTENSION / "hf" / case, "--train-args", shlex.join(words))
    assert done.returncode == ARGUMENTS, done.stderr
