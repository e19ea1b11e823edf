"""zerofs_megatron without Megatron-DeepSpeed: rotation against transformers, the spec, the launcher, the facts, the guard.

What it computes within MDS is shown by real MDS: `make megatron`.
"""
import argparse
import importlib
import json
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from environment import TOP

PACKAGE = TOP / "Sources/MegatronExtension"
sys.path.insert(0, str(PACKAGE))

from zerofs_megatron import ExtensionError, WrongArguments, attention, block, changes, facts, guard, head, keep, rope
from zerofs_megatron.spec import Spec, differences

LLAMA3 = dict(rope_type="llama3", rope_theta=5e5, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
LONGROPE = dict(rope_type="longrope", rope_theta=1e4, original_max_position_embeddings=4096,
                short_factor=[1 + 0.01 * i for i in range(48)], long_factor=[1.5 + i for i in range(48)])
YARN = dict(rope_type="yarn", original_max_position_embeddings=4096)
ROPES = {      # name: head size, length of the run, rope_parameters
    "Llama 3.1, 3.3": (128, None, dict(LLAMA3, factor=8.0)),
    "Llama 3.2 1B": (64, None, dict(LLAMA3, factor=32.0)),
    "linear": (128, None, dict(rope_type="linear", rope_theta=1e6, factor=8.0)),
    "Qwen2.5": (128, None, dict(YARN, rope_theta=1e6, factor=4.0, original_max_position_embeddings=32768)),
    "DeepSeek": (64, None, dict(YARN, rope_theta=1e4, factor=40.0, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=0.707)),
    "yarn, not truncated": (64, None, dict(YARN, rope_theta=150000.0, factor=32.0, truncate=False)),
    "yarn, attention factor": (64, None, dict(YARN, rope_theta=1e4, factor=4.0, attention_factor=0.7)),
    "Phi-3.5, short": (96, 4096, LONGROPE),
    "Phi-3.5, long": (96, 4097, LONGROPE),
    "dynamic, within": (64, 4096, dict(rope_type="dynamic", rope_theta=1e4, factor=2.0)),
    "dynamic, beyond": (64, 300000, dict(rope_type="dynamic", rope_theta=1e4, factor=2.0)),
}
POSITIONS = 131072


@pytest.mark.parametrize("name", ROPES)
def test_rotation_is_transformers(name: str) -> None:
    size, length, parameters = ROPES[name]
    config = LlamaConfig(hidden_size=size * 8, num_attention_heads=8, head_dim=size, max_position_embeddings=POSITIONS,
                         rope_parameters=dict(parameters))
    wanted, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu", seq_len=length)
    spec = {**parameters, "max_position_embeddings": POSITIONS}
    found = rope.frequencies(spec, size, None, length or 0)
    torch.testing.assert_close(found, wanted, rtol=3e-7, atol=0)
    assert rope.attention_factor(spec) == pytest.approx(factor, rel=1e-7)


def test_plain_rotation_is_mds_own() -> None:
    angles = rope.angles(rope.frequencies({}, 8, 10000, 4), 4, "cpu")
    assert angles.shape == (4, 1, 1, 8) and angles[3, 0, 0, :4].tolist() == pytest.approx([3, 0.3, 0.03, 0.003], rel=1e-6)


def test_window() -> None:
    seen = ~attention.outside(2, 2, 4, "cpu")      # two queries, at the last two of four keys
    assert seen.tolist() == [[False, True, True, False], [False, False, True, True]]


# ---- the spec

def test_spec_keeps_what_the_model_asks_for() -> None:
    spec = Spec.of({"qk_norm": "head", "rope": {"rope_type": "llama3"}, "window": None, "facts": {"lr": {}}, "head_bias": False})
    assert spec.model == {"qk_norm": "head", "rope": {"rope_type": "llama3"}} and spec.guard and spec.facts == {"lr": {}}
    assert spec.summary() == "qk_norm (head), rope (llama3)"
    assert "nothing" in Spec.of({"guard": False}).summary()


@pytest.mark.parametrize(("spec", "words"), [
    ({"alibi": True}, "alibi"), ({"block": "post-norm"}, "'post-norm'"), ({"rope": {"rope_type": "su"}}, "'su'"), ([], "JSON object"),
])
def test_spec_refuses_what_it_does_not_know(spec, words: str) -> None:
    with pytest.raises(ExtensionError, match=words):
        Spec.of(spec)


def test_every_golden_spec_is_read(golden: Path) -> None:
    for case in json.loads((golden / "extension/cases.json").read_text()).values():
        assert Spec.of(case["extension"]).model == case["extension"]


# ---- how a checkout is known

def module_of(tmp_path: Path, source: str, monkeypatch) -> types.ModuleType:
    (tmp_path / "some_megatron.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("some_megatron", None)
    importlib.invalidate_caches()
    return importlib.import_module("some_megatron")


KNOWN_FORM = "def layer(x, y=1):\n    'Doc.'\n    return x + y\n"


@pytest.mark.parametrize(("source", "known"), [
    (KNOWN_FORM, True),
    ('import os\n\n\ndef layer(\n    x,  # input\n    y = 1,\n):\n    """Another."""\n    # A comment.\n    return (x + y)\n', True),
    ("def layer(x, y=2):\n    return x + y\n", False),
    ("def layer(x, y=1):\n    return x - y\n", False),
    ("def another(x): pass\n", False),
])
def test_a_function_is_known_by_its_source(source: str, known: bool, tmp_path: Path, monkeypatch) -> None:
    first = module_of(tmp_path, KNOWN_FORM, monkeypatch)
    monkeypatch.setitem(changes.KNOWN, "some_megatron.layer", (changes.digest(first.layer),))
    module = module_of(tmp_path, source, monkeypatch)
    replacing = [(module, "layer", lambda stock: lambda x: -stock(x))]
    if known:
        changes.install(replacing)
        assert module.layer(1) == -2
    else:
        with pytest.raises(ExtensionError, match=r"some_megatron\.layer"):
            changes.install(replacing)


def test_nothing_is_replaced_where_one_function_is_strange(tmp_path: Path, monkeypatch) -> None:
    module = module_of(tmp_path, KNOWN_FORM + "def strange(): pass\n", monkeypatch)
    monkeypatch.setitem(changes.KNOWN, "some_megatron.layer", (changes.digest(module.layer),))
    with pytest.raises(ExtensionError, match=r"strange \(.*some_megatron\.py, line 4\)"):
        changes.install([(module, "layer", lambda stock: None), (module, "strange", None)])
    assert module.layer(1) == 2


# ---- the launcher

SCRIPT = """
import json, multiprocessing, sys
import beside
NAME = "of __main__"

def worker(_):
    return NAME

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.map(worker, [0])
    import __main__
    print(json.dumps({"argv": sys.argv, "path": sys.path[0], "beside": beside.VALUE, "main": __main__.NAME, "spawned": spawned}))
    sys.exit(7)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "megatron checkout"
    folder.mkdir()
    (folder / "beside.py").write_text("VALUE = 'found'")
    (folder / "train.py").write_text(SCRIPT)
    (tmp_path / "spec.json").write_text('{"qk_norm": "head"}')
    return folder / "train.py"


def python(*arguments: object, **environment: object) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "ZEROFS_"))}
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env=env | {k: str(v) for k, v in environment.items()})


@pytest.mark.parametrize("how", ["module", "folder", "environment", "deepspeed"])
def test_launcher_runs_a_script_as_python_does(how: str, script: Path, tmp_path: Path) -> None:
    more = ["--spec", "of the script", "-x", "--", "--num-layers=2"]
    spec = tmp_path / "spec.json"
    if how == "module":
        done = python("-m", "zerofs_megatron", "--spec", spec, script, *more, PYTHONPATH=PACKAGE)
    elif how == "folder":
        done = python(PACKAGE / "zerofs_megatron", "--spec", spec, script, *more)
    elif how == "environment":
        done = python("-m", "zerofs_megatron", script, *more, PYTHONPATH=PACKAGE, ZEROFS_MEGATRON_SPEC=spec)
    else:      # what DeepSpeed's launcher makes of `deepspeed --module zerofs_megatron SCRIPT …`
        done = python("-m", "zerofs_megatron", "--local_rank=0", script, *more, PYTHONPATH=PACKAGE, ZEROFS_MEGATRON_SPEC=spec)
        more = ["--local_rank=0", *more]
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == {"argv": [str(script), *more], "path": str(script.parent), "beside": "found",
                                       "main": "of __main__", "spawned": ["of __main__"]}


def test_launcher_finds_the_spec_beside_the_package(script: Path, tmp_path: Path) -> None:
    served = tmp_path / ".zerofs"
    served.mkdir()
    (served / "zerofs_megatron").symlink_to(PACKAGE / "zerofs_megatron")
    script.write_text("print('ran')")
    done = python("-m", "zerofs_megatron", script, PYTHONPATH=served)
    assert done.returncode == 1 and f"no spec of the model at {served}/extension.json" in done.stderr and "Traceback" not in done.stderr
    (served / "extension.json").write_text("{}")
    done = python("-m", "zerofs_megatron", script, PYTHONPATH=served)
    assert done.returncode == 0 and "ran" in done.stdout and "never imported Megatron-DeepSpeed" in done.stderr


def test_pythonpath_alone_hides_no_other_sitecustomize_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.hidden = True")
    done = python("-c", "import sys; print(sys.hidden, 'torch' in sys.modules)",
                  PYTHONPATH=os.pathsep.join([str(PACKAGE / "zerofs_megatron/auto"), str(tmp_path)]))
    assert done.stdout.split() == ["True", "False"], done.stderr


# ---- what stops a run

def args(**given: object) -> argparse.Namespace:
    usual = dict(rank=0, tensor_model_parallel_size=1, num_experts=[1], normalization="rmsnorm", zero_stage=1,
                 apply_residual_connection_post_layernorm=False, untie_embeddings_and_output_weights=True,
                 use_flash_attn_v1=False, use_flash_attn_v2=False, use_flash_attn_triton=False, use_flash_attn_builder=False)
    return argparse.Namespace(**{**usual, **given})


@pytest.mark.parametrize(("spec", "given", "words"), [
    ({"window": {"size": 8}}, {"use_flash_attn_v1": True}, "--use-flash-attn-v1 knows no window"),
    ({"attention_softcap": 50.0}, {"use_flash_attn_builder": True}, "--use-flash-attn-builder knows no attention_softcap"),
    ({"attention_scale": 0.1}, {"use_flash_attn_triton": True}, "--use-flash-attn-triton knows no attention_scale"),
    ({"window": {"size": 8}, "attention_softcap": 50.0, "attention_scale": 0.1}, {"use_flash_attn_v2": True}, None),
    ({"attention_scale": 0.1}, {"use_flash_attn_v1": True}, None),
    ({"one_kv_head": True}, {"tensor_model_parallel_size": 2}, "one key-value head can't be cut"),
    ({"head_bias": True}, {"zero_stage": 3}, "ZeRO stage 3"),
    ({"head_bias": True}, {"untie_embeddings_and_output_weights": False}, "tied head"),
    ({"block": "parallel"}, {"num_experts": [8]}, "--num-experts"),
    ({"block": "sandwich"}, {"normalization": "layernorm"}, "--normalization rmsnorm"),
    ({"qk_norm": "head"}, {"zero_stage": 3, "num_experts": [8]}, None),
])
def test_refusals(spec: dict, given: dict, words: str | None) -> None:
    reasons = [reason for feature in (attention, block, head) for reason in feature.refusals(spec, args(**given))]
    assert (words is None and not reasons) or (words and len(reasons) == 1 and words in reasons[0]), reasons


@pytest.mark.parametrize(("given", "value", "same"), [
    (1e-5, 1.0000000001e-5, True), (1e-5, 1e-6, False), (10000, 10000.0, True), (500000, 10000, False), (0.0, 0.1, False),
    (True, True, True), (True, 1, False), (None, None, True), (None, 1e-5, False), ([1], [1], True), ([1], [2], False),
    ("rmsnorm", "layernorm", False), (1 << 40, (1 << 40) + 1, False), (float("inf"), float("inf"), True), (1e300, 1e300, True),
    (0.1, 1e300, False),
])
def test_facts_compare_numbers_as_fp32(given, value, same: bool) -> None:
    wanted = {"some-argument": {"value": value, "otherwise": "it hurts", "kind": "loss"}}
    if same:
        facts.compare(wanted, args(some_argument=given))
        return
    with pytest.raises(WrongArguments, match="some-argument .* another loss: it hurts") as stopped:
        facts.compare(wanted, args(some_argument=given))
    assert stopped.value.exit_status == 10


def test_facts_name_an_argument_that_mds_does_not_have() -> None:
    with pytest.raises(WrongArguments, match="(?s)swiglu +\\(no such argument\\) +True +MDS stops: other shapes"):
        facts.compare({"swiglu": {"value": True, "otherwise": "other shapes", "kind": "stops"}}, args())


# ---- the guard, and what is kept beside --save

def test_guard_is_a_plain_object_of_this_module() -> None:
    """As zerofs has to write it: a global, its JSON, NEWOBJ."""
    given = argparse.Namespace()
    guard.put({"rope": {"factor": 8.0}, "qk_norm": "head"}, given)
    assert given.zerofs_megatron == '{"qk_norm":"head","rope":{"factor":8.0}}'
    written = pickle.dumps(given.zerofs_megatron, protocol=2)
    assert b"czerofs_megatron.guard\nRequired\n" in written and written.endswith(b"\x85q\x02\x81q\x03.")


def test_guard_lets_tools_read_and_stops_other_runs(monkeypatch) -> None:
    from zerofs_megatron import extending
    written = pickle.dumps(guard.Required('{"qk_norm":"head"}'))
    assert json.loads(pickle.loads(written)) == {"qk_norm": "head"}      # no run in this process: a converter
    monkeypatch.setitem(sys.modules, "megatron.global_vars", types.SimpleNamespace(_GLOBAL_ARGS=args()))
    monkeypatch.setattr(extending, "active", None)
    with pytest.raises(ExtensionError, match="isn't extended"):
        pickle.loads(written)
    monkeypatch.setattr(extending, "active", Spec.of({"qk_norm": "width"}))
    with pytest.raises(ExtensionError, match='qk_norm: "width" here, "head" there'):
        pickle.loads(written)
    monkeypatch.setattr(extending, "active", Spec.of({"qk_norm": "head", "facts": {}}))
    assert pickle.loads(written) == '{"qk_norm":"head"}'


def test_differences() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 2}}) == ["a: 1 here, null there"]


def test_kept_beside_save(tmp_path: Path) -> None:
    save, spec = tmp_path / "save", Spec.of({"qk_norm": "head", "facts": {}})
    keep.keep(spec, str(save))
    kept = save / ".zerofs"
    assert {p.relative_to(kept / "zerofs_megatron") for p in kept.rglob("*.py")} == {
        p.relative_to(PACKAGE / "zerofs_megatron") for p in (PACKAGE / "zerofs_megatron").rglob("*.py")}
    assert json.loads((kept / "extension.json").read_text()) == {"qk_norm": "head", "facts": {}}
    inode = (kept / "extension.json").stat().st_ino
    keep.keep(spec, str(save))
    assert (kept / "extension.json").stat().st_ino == inode      # as it was: left alone
    (kept / "zerofs_megatron/rope.py").write_text("older")
    keep.keep(spec, str(save))
    assert (kept / "zerofs_megatron/rope.py").read_bytes() == (PACKAGE / "zerofs_megatron/rope.py").read_bytes()
    assert [p.name for p in save.iterdir()] == [".zerofs"]
    with pytest.raises(ExtensionError, match="checkpoints of another model"):
        keep.keep(Spec.of({"qk_norm": "width"}), str(save))
