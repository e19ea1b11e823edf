"""Every mounted tree equals what real Megatron-DeepSpeed saved, by the oracle's compare.py."""
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from conftest import SHARED, needs_shared
from layouts import options

CASES = json.loads((SHARED / "golden/cases.json").read_text())


@pytest.fixture(scope="module")
def compare(oracle: Path):
    """compare.py's own main, in this process: torch is imported once for all cases."""
    spec = importlib.util.spec_from_file_location("compare", oracle / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_equal(compare, golden_tree: Path, mounted_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert golden_tree.is_dir()
    monkeypatch.setattr("sys.argv", ["compare.py", str(golden_tree), str(mounted_tree)])
    with pytest.raises(SystemExit) as finished:
        compare.main()
    assert finished.value.code == 0, "compare.py found differences, printed above"


@pytest.mark.parametrize("name", CASES)
def test_equals_golden(name: str, golden: Path, mount, compare, monkeypatch) -> None:
    case = CASES[name]
    with mount(golden / "hf" / case["hf"], *options(case)) as m:
        assert_equal(compare, golden / "trees" / name, m.path, monkeypatch)


NAME = "llama-pipe-tp2pp2dp2-z1-bf16"  # the tree that every form of the same source must give


def test_shards_with_an_index(golden: Path, mount, compare, monkeypatch) -> None:
    with mount(golden / "hf/llama_bf16_sharded", *options(CASES[NAME])) as m:
        assert_equal(compare, golden / "trees" / NAME, m.path, monkeypatch)


def test_cache_snapshot_of_symlinks(golden: Path, tmp_path: Path, mount, compare, monkeypatch) -> None:
    blobs, snapshot = tmp_path / "model/blobs", tmp_path / "model/snapshots/0123abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted((golden / "hf/llama_bf16_sharded").iterdir())):
        shutil.copyfile(file, blobs / f"{number:064x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:064x}")
    with mount(snapshot, *options(CASES[NAME])) as m:
        assert_equal(compare, golden / "trees" / NAME, m.path, monkeypatch)


def test_configuration_of_transformers_4(tiny: Path, golden: Path, mount, compare, monkeypatch) -> None:
    config = json.loads((tiny / "config.json").read_text())
    config |= {"rope_theta": config.pop("rope_parameters")["rope_theta"], "torch_dtype": config.pop("dtype")}
    del config["head_dim"]
    (tiny / "config.json").write_text(json.dumps(config))
    layout = options(CASES[NAME])
    at = layout.index("--dtype")
    with mount(tiny, *layout[:at], *layout[at + 2:]) as m:  # the model's own dtype
        assert_equal(compare, golden / "trees" / NAME, m.path, monkeypatch)


@needs_shared
def test_dtype_that_only_the_weights_tell(golden: Path, tmp_path: Path, mount, compare, monkeypatch) -> None:
    name = "llama-pipe-tp2pp1dp2-z1-fp32"
    hf = golden / "hf" / CASES[name]["hf"]
    config = json.loads((hf / "config.json").read_text())
    del config["dtype"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(hf / "model.safetensors")
    with mount(tmp_path, "--tp", 2, "--dp", 2, "--follow-links") as m:
        assert_equal(compare, golden / "trees" / name, m.path, monkeypatch)


def test_names_of_megatron(golden: Path, mount, compare, monkeypatch) -> None:
    with mount(golden / "hf/llama_bf16", "--tensor-model-parallel-size", 2, "--pipeline-model-parallel-size", 2,
               "--dp", 2) as m:
        assert_equal(compare, golden / "trees" / NAME, m.path, monkeypatch)
