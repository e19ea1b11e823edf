"""The three ways to use the extension, with the fork's own training script and a corpus on disk; and what stops a run."""
import json
import shutil
from pathlib import Path

import pytest

from training import PACKAGE, arguments, losses, run, script_of

SPEC = {"qk_norm": "head", "activation": "gelu_tanh",
        "rope": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                 "original_max_position_embeddings": 16}}
SAID = "zerofs_megatron: Megatron-DeepSpeed extended by qk_norm (head), activation (gelu_tanh), rope (llama3)"
LIMIT = 2e-6


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Path:
    """MNT/.zerofs: the package, and the spec beside it."""
    folder = tmp_path_factory.mktemp("mnt") / ".zerofs"
    shutil.copytree(PACKAGE / "zerofs_megatron", folder / "zerofs_megatron", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "extension.json").write_text(json.dumps(SPEC))
    return folder


@pytest.fixture(scope="session")
def launched(each_checkout: Path, served: Path, tmp_path_factory) -> list[float]:
    """`PYTHONPATH=MNT/.zerofs python3 -m zerofs_megatron SCRIPT …`"""
    done = run(each_checkout, ["-m", "zerofs_megatron", script_of(each_checkout),
                               *arguments(tmp_path_factory.mktemp("run"))], path=(served,))
    assert done.stdout.count(SAID) == 1
    return losses(done)


def test_it_matters(each_checkout: Path, launched: list[float], tmp_path: Path) -> None:
    stock = losses(run(each_checkout, [script_of(each_checkout), *arguments(tmp_path)]))
    assert len(launched) == len(stock) == 4 and abs(stock[1] - launched[1]) > 1e-4


def test_launcher_under_mpiexec(each_checkout: Path, served: Path, launched: list[float], tmp_path: Path) -> None:
    """As a folder, without PYTHONPATH; two ranks (DP 2, so that the weights MDS draws are the same), the pipeline, a worker."""
    done = run(each_checkout, [served / "zerofs_megatron", script_of(each_checkout),
                               *arguments(tmp_path, "--num-workers", 1, dp=2, pipe=True)], ranks=2)
    assert losses(done) == pytest.approx(launched, abs=LIMIT) and done.stdout.count(SAID) == 1


def test_one_import_line(each_checkout: Path, served: Path, launched: list[float], tmp_path: Path) -> None:
    script = tmp_path / "pretrain.py"
    script.write_text("import zerofs_megatron.apply\n" + (each_checkout / script_of(each_checkout)).read_text())
    done = run(each_checkout, [script, *arguments(tmp_path)], path=(served,))
    assert losses(done) == launched and done.stdout.count(SAID) == 1


def test_pythonpath_alone(each_checkout: Path, served: Path, launched: list[float], tmp_path: Path) -> None:
    """The stand-ins are another sitecustomize: the script couldn't import anything if this one hid it."""
    done = run(each_checkout, [script_of(each_checkout), *arguments(tmp_path)], path=(served / "zerofs_megatron/auto",))
    assert losses(done) == launched and done.stdout.count(SAID) == 1


def test_a_model_that_needs_nothing(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("{}")
    stock = losses(run(checkout, [script_of(checkout), *arguments(tmp_path)]))
    done = run(checkout, ["-m", "zerofs_megatron", script_of(checkout), *arguments(tmp_path)], path=(PACKAGE,),
               ZEROFS_MEGATRON_SPEC=tmp_path / "empty.json")
    assert losses(done) == stock and "extended by nothing" in done.stdout


def test_layernorm_of_pipelines(each_checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("{}")
    options = arguments(tmp_path, "--normalization", "layernorm", pipe=True)
    script = script_of(each_checkout)
    stock = run(each_checkout, [script, *options])
    assert stock.returncode and "unexpected keyword argument 'sequence_parallel'" in stock.stdout + stock.stderr
    mended = run(each_checkout, ["-m", "zerofs_megatron", "--spec", tmp_path / "empty.json", script, *options], path=(PACKAGE,))
    without = run(each_checkout, [script, *arguments(tmp_path, "--normalization", "layernorm")])
    assert losses(mended) == pytest.approx(losses(without), abs=LIMIT)


def launch(checkout: Path, folder: Path, spec: dict, *more: object, ranks: int = 1, **layout):
    (folder / "spec.json").write_text(json.dumps(spec))
    return run(checkout, ["-m", "zerofs_megatron", "--spec", folder / "spec.json", script_of(checkout),
                          *arguments(folder, *more, **layout)], path=(PACKAGE,), ranks=ranks)


def test_facts_stop_every_rank_with_one_table(checkout: Path, tmp_path: Path) -> None:
    facts = {"rope_theta": {"value": 500000.0, "otherwise": "other positions", "kind": "loss"},
             "hidden_size": {"value": 64, "otherwise": "other shapes", "kind": "stops"},
             "lr": {"value": 0.01, "otherwise": "-", "kind": "loss"}}
    done = launch(checkout, tmp_path, {**SPEC, "facts": facts}, "--save", tmp_path / "save", ranks=2, tp=2)
    assert done.returncode == 10 and " ".join(done.stderr.split()).count(
        "argument given has to be otherwise rope_theta 10000 500000.0 another loss: other positions") == 1
    assert "rank 1: not as the model needs it: rope_theta" in done.stderr and "hidden_size " not in done.stderr
    assert "building GPT model" not in done.stdout and not (tmp_path / "save").exists()
    facts["rope_theta"]["value"] = 10000.0000001      # the same in fp32
    assert len(losses(launch(checkout, tmp_path, {**SPEC, "facts": facts}))) == 4


@pytest.mark.parametrize(("spec", "more", "words"), [
    ({"one_kv_head": True}, ["--num-key-value-heads", 1, "--tensor-model-parallel-size", 2], "one key-value head can't be cut"),
    ({"block": "post"}, ["--normalization", "layernorm"], "--normalization rmsnorm"),
    ({"head_bias": True}, ["--zero-stage", 3], "ZeRO stage 3"),
])
def test_refuses_by_name(spec: dict, more: list, words: str, checkout: Path, tmp_path: Path) -> None:
    ranks = 2 if "--tensor-model-parallel-size" in more else 1
    done = launch(checkout, tmp_path, spec, *more, ranks=ranks)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


def test_a_checkout_is_known_by_the_source_of_what_is_replaced(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    shutil.copytree(checkout / "megatron", other / "megatron", ignore=shutil.ignore_patterns("__pycache__", "static"))
    (other / "tools").symlink_to(checkout / "tools")
    source = other / "megatron/model/transformer.py"
    stock = source.read_text()
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    (tmp_path / "script.py").write_text("import zerofs_megatron.apply, megatron.training\nprint('extended')\n")

    def extended():
        return run(other, [tmp_path / "script.py"], path=(PACKAGE,), ZEROFS_MEGATRON_SPEC=tmp_path / "spec.json")
    source.write_text("# A comment before.\n" + stock.replace("def repeat_kv(", "def repeat_key_values("))
    assert "extended" in extended().stdout      # nothing of this spec replaces repeat_kv
    source.write_text(stock.replace("torch.squeeze(value_layer, -2)", "value_layer.squeeze(-2)"))
    done = extended()
    assert done.returncode and "ParallelAttention.split_tensor" in done.stderr and str(source) in done.stderr
    assert "ParallelAttention.forward" not in done.stderr.split("Another form of")[1]


def test_the_table_of_known_functions(each_checkout: Path) -> None:
    from known import digests
    from zerofs_megatron.known import KNOWN
    found = digests([each_checkout])
    assert not {name: d for name, d in found.items() if d[0] not in KNOWN[name]}
