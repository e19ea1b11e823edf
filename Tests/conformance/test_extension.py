"""Models that Megatron-DeepSpeed computes with the extension only: trees, specs, the guard, and what stands in .zerofs."""
import json
import shlex
import sys
from pathlib import Path

import pytest
import torch

from environment import TOP
from conftest import SHARED
from mounting import run
from test_golden import assert_equal, compare  # noqa: F401
from test_refusals import LAYOUT, MODEL, assert_refused

EXTENSION = SHARED / "golden/extension"
CASES = {name: case for name, case in json.loads((EXTENSION / "cases.json").read_text()).items()
         if (EXTENSION / "hf" / name).is_dir()}
TREES = sorted(path.name for path in (EXTENSION / "trees").iterdir() if path.is_dir())
LAYOUTS = {"nopipe-dp2-z2": dict(dp=2, zero=2), "pipe-tp2pp2-z1": dict(tp=2, pp=2, zero=1), "pipe-pp2-z1": dict(pp=2, zero=1)}
UNGUARDED = ["--extension", "unguarded"]
PACKAGE = TOP / "Sources/MegatronExtension/zerofs_megatron"


def split(tree: str) -> tuple[str, dict]:
    case, layout = tree.split("-", 1)
    return case, LAYOUTS[layout]


def command_line(case: str, sizes: dict, seq: int = 32, **changes: object) -> str:
    """What the oracle ran the case with, as a run's command line."""
    c = json.loads((EXTENSION / "hf" / case / "config.json").read_text())

    def size(*names: str) -> int:
        return next(c[name] for name in names if name in c)
    given = {
        "--num-layers": size("num_hidden_layers", "n_layer"), "--hidden-size": size("hidden_size", "n_embd"),
        "--ffn-hidden-size": size("intermediate_size", "n_inner"), "--num-attention-heads": size("num_attention_heads", "n_head"),
        "--num-key-value-heads": c["num_key_value_heads"], "--max-position-embeddings": size("max_position_embeddings", "n_positions"),
        "--seq-length": seq, "--micro-batch-size": 2, "--global-batch-size": 2 * sizes.get("dp", 1), "--lr": 1e-4, "--train-iters": 10,
        "--tensor-model-parallel-size": sizes.get("tp", 1), "--pipeline-model-parallel-size": sizes.get("pp", 1),
        "--zero-stage": sizes["zero"]}
    words = [str(word) for pair in given.items() for word in pair] + list(map(str, CASES[case]["flags"])) + ["--bf16", "--deepspeed"]
    if not CASES[case]["tied"]:
        words.append("--untie-embeddings-and-output-weights")
    if sizes["zero"] == 2:
        words.append("--no-pipeline-parallel")
    for flag, value in changes.items():
        flag = f"--{flag.replace('_', '-')}"
        at = words.index(flag)
        words[at:at + 2] = [flag, str(value)] if value is not None else []
    return shlex.join(words)


def options(tree: str) -> list[str]:
    case, sizes = split(tree)
    words = [word for name in ("tp", "pp", "dp") if name in sizes for word in (f"--{name}", sizes[name])]
    words += ["--zero-stage", sizes["zero"], "--dtype", "bf16"] + (["--no-pipeline-parallel"] if sizes["zero"] == 2 else [])
    return list(map(str, words)) + with_sequence(case, sizes)


def with_sequence(case: str, sizes: dict) -> list[str]:
    """Short sequences don't need the extension for this model; its golden trees are of longer ones."""
    return ["--train-args", command_line(case, sizes)] if case == "x_longrope_long" else []


@pytest.mark.parametrize("tree", TREES)
def test_equals_golden(tree: str, mount, compare, monkeypatch) -> None:  # noqa: F811
    case, _ = split(tree)
    with mount(EXTENSION / "hf" / case, *options(tree), *UNGUARDED) as m:
        assert_equal(compare, EXTENSION / "trees" / tree, m.path, monkeypatch)


def test_all_trees_are_here() -> None:
    assert len(CASES) == 26 and len(TREES) == 52


@pytest.fixture
def package():
    """zerofs_megatron, which guarded files name."""
    import zerofs_megatron.guard
    import zerofs_megatron.spec
    return zerofs_megatron


@pytest.mark.parametrize("case", CASES)
def test_spec(case: str, mount, package) -> None:
    """As the prototype was given it; and the mount has the package, whole."""
    with mount(EXTENSION / "hf" / case, *with_sequence(case, dict(zero=1))) as m:
        served = json.loads((m.path / ".zerofs/extension.json").read_text())
        spec = package.spec.Spec.read(m.path / ".zerofs/extension.json")
        files = {path.relative_to(m.path / ".zerofs/zerofs_megatron"): path.read_bytes()
                 for path in (m.path / ".zerofs/zerofs_megatron").rglob("*.py")}
    assert spec.model == CASES[case]["extension"]
    assert served.keys() == {"facts", *spec.model} and spec.guard
    assert files == {path.relative_to(PACKAGE): path.read_bytes() for path in PACKAGE.rglob("*.py")}


def test_facts_are_those_of_the_run(mount, package) -> None:
    """The launcher's: what the oracle's flags give is right, and each other value is named."""
    from types import SimpleNamespace
    from zerofs_megatron import facts
    with mount(EXTENSION / "hf/x_gemma2") as m:
        spec = package.spec.Spec.read(m.path / ".zerofs/extension.json")
    args = {name: fact["value"] for name, fact in spec.facts.items()}
    assert args["hidden_size"] == 64 and args["swiglu"] is True and args["add_bias_linear"] is False and args["kv_channels"] == 16
    facts.compare(spec.facts, SimpleNamespace(rank=0, **args))
    for name, value in [("num_layers", 4), ("layernorm_epsilon", 1e-5), ("rope_theta", 500000)]:
        with pytest.raises(package.WrongArguments, match=name):
            facts.compare(spec.facts, SimpleNamespace(rank=0, **args | {name: value}))


def values(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {key: item for name, inner in value.items() for key, item in values(inner, f"{path}/{name}").items()}
    if isinstance(value, list | tuple):
        return {key: item for index, inner in enumerate(value) for key, item in values(inner, f"{path}/{index}").items()}
    if type(value).__name__ == "Namespace":
        return values(vars(value), path)
    return {path: value}


@pytest.mark.parametrize("case, layout", [
    ("x_gemma2", ["--tp", 2, "--pp", 2]), ("x_phi", ["--no-pipeline-parallel", "--dp", 2, "--zero-stage", 2]),
    ("x_qwen3", ["--no-pipeline-parallel", "--dp", 2, "--zero-stage", 3]), ("x_neox", ["--universal-checkpoint"])], ids=str)
def test_the_guard_is_all_that_differs(case: str, layout: list, mount, package) -> None:
    with mount(EXTENSION / "hf" / case, *layout) as guarded, mount(EXTENSION / "hf" / case, *layout, *UNGUARDED) as plain:
        names = sorted(path.relative_to(plain.path) for path in plain.path.rglob("*") if path.is_file())
        assert names == sorted(path.relative_to(guarded.path) for path in guarded.path.rglob("*") if path.is_file())
        found = 0
        for name in names:
            a, b = (m.path / name for m in (plain, guarded))
            if a.read_bytes() == b.read_bytes():
                continue
            a, b = (values(torch.load(path, weights_only=False)) for path in (a, b))
            (added,) = b.keys() - a.keys()
            assert "model_states" in name.name and added.endswith("/zerofs_megatron")
            assert isinstance(b[added], package.guard.Required)
            assert json.loads(b[added]) == CASES[case]["extension"]
            assert b[added] == json.dumps(json.loads(b[added]), sort_keys=True, separators=(",", ":"))
            assert all(torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else str(a[key]) == str(b[key]) for key in a)
            found += 1
        model_states = [name for name in names if "rank_" in name.name and "model_states" in name.name]
        assert found == len(model_states) > 0


def test_without_the_package_a_guarded_file_does_not_load(mount, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "zerofs_megatron"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(PACKAGE.parent)])
    with mount(EXTENSION / "hf/x_llama3") as m, pytest.raises(ModuleNotFoundError, match="zerofs_megatron"):
        torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)


@pytest.mark.parametrize("case, window", [("x_mistral_window", 8), ("x_qwen2_window", 8), ("x_longrope_long", 16)])
def test_short_sequences_need_nothing(case: str, window: int, mount, package, zerofs: Path) -> None:
    """With a sequence that is known to be short enough MDS alone is right; with one more token it isn't."""
    for seq, needs in [(window, False), (window + 1, True)]:
        words = ["--train-args", command_line(case, dict(zero=1), seq)]
        with mount(EXTENSION / "hf" / case, *words) as m:
            model = package.spec.Spec.read(m.path / ".zerofs/extension.json").model
            args = torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)["args"]
        assert model == (CASES[case]["extension"] if needs else {})
        assert hasattr(args, "zerofs_megatron") == needs
        assert ("zerofs_megatron" in run(zerofs, "plan", EXTENSION / "hf" / case, *words).stdout) == needs
    # Unknown: served for both.
    with mount(EXTENSION / "hf" / case) as m:
        spec = package.spec.Spec.read(m.path / ".zerofs/extension.json").model
        args = torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)["args"]
    assert spec and not hasattr(args, "zerofs_megatron")
    assert f"up to {window} tokens" in run(zerofs, "plan", EXTENSION / "hf" / case).stderr


@pytest.mark.parametrize("case", CASES)
def test_plan_ends_with_the_lines_to_run(case: str, zerofs: Path) -> None:
    """Whose flags are those of the oracle, and agree with the model when they are given back."""
    done = run(zerofs, "plan", EXTENSION / "hf" / case, *with_sequence(case, dict(zero=1)))
    lines = done.stdout.split("python3 -m zerofs_megatron", 1)[1]
    assert "PYTHONPATH=MNT/.zerofs mpiexec -n 1 " in done.stdout
    if case == "x_longrope_long":
        assert "ARGS…" in lines
        return
    words = shlex.split(lines.split("ARGS…")[0].replace("\\\n", " "))
    flags = [str(word) for word in CASES[case]["flags"] if str(word).startswith("--")]
    assert [flag for flag in flags if flag not in words] == ([] if "--openai-gelu" not in flags else ["--no-bias-gelu-fusion"])
    given = shlex.join(words[words.index("--deepspeed"):] + shlex.split(
        "--seq-length 64 --max-position-embeddings 256 --lr 1e-4 --train-iters 10 --micro-batch-size 2 --global-batch-size 2"))
    again = run(zerofs, "plan", EXTENSION / "hf" / case, "--train-args", given)
    assert again.returncode == 0, again.stderr


def test_a_contradiction_is_refused(zerofs: Path) -> None:
    for change in [dict(layernorm_epsilon="1e-5"), dict(swiglu=None), dict(kv_channels=8)]:
        if change == dict(swiglu=None):
            words = command_line("x_gemma2", dict(zero=1)).replace(" --swiglu", "")
        else:
            words = command_line("x_gemma2", dict(zero=1), **change)
        done = run(zerofs, "plan", EXTENSION / "hf/x_gemma2", "--train-args", words)
        assert done.returncode != 0 and next(iter(change)).replace("_", "-") in done.stderr, done.stderr


def test_refusals(zerofs: Path) -> None:
    hf = EXTENSION / "hf"
    assert_refused(run(zerofs, "plan", hf / "x_qwen3", "--extension", "none"), MODEL, "qk_norm", "--extension none")
    assert run(zerofs, "plan", hf / "x_mistral_window", "--extension", "none").returncode == 0
    assert_refused(run(zerofs, "plan", hf / "x_phi", "--no-pipeline-parallel", "--zero-stage", 3), LAYOUT, "lm_head.bias|bias", "stage 1 or 2")
    assert_refused(run(zerofs, "plan", hf / "x_falcon_7b", "--tp", 2), LAYOUT, "key-value heads")


def test_written_tree_has_what_the_run_needs(zerofs: Path, golden: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(zerofs, "materialize", EXTENSION / "hf/x_qwen3", out, "--tp", 2)
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(out / ".zerofs/zerofs_megatron") for path in (out / ".zerofs").rglob("*.py")}
    assert written == {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert json.loads((out / ".zerofs/extension.json").read_text())["qk_norm"] == "head"
    (out / ".zerofs/zerofs_megatron/__pycache__").mkdir()
    for words in ((), ("--against", EXTENSION / "hf/x_qwen3")):
        assert (done := run(zerofs, "verify", out, *words)).returncode == 0, done.stdout + done.stderr
    (out / ".zerofs/extension.json").write_text("{}")
    assert ".zerofs/extension.json" in run(zerofs, "verify", out).stdout
    plain = tmp_path / "plain"
    assert run(zerofs, "materialize", golden / "hf/llama_bf16", plain).returncode == 0
    assert not (plain / ".zerofs").exists()


@pytest.mark.parametrize("case", ["x_gemma3", "x_olmo2", "x_phi", "x_opt"])
def test_golden_trees_verify(case: str, zerofs: Path) -> None:
    tree = EXTENSION / "trees" / f"{case}-pipe-tp2pp2-z1"
    done = run(zerofs, "verify", tree, "--against", EXTENSION / "hf" / case)
    assert done.returncode == 0, done.stdout + done.stderr
