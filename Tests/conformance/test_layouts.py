"""Every layout from one mount: directories named by a layout, and .zerofs."""
import ctypes
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import needs_shared
from mounting import Mount, run, wait_until
from test_golden import CASES, assert_equal, compare  # noqa: F401

HF = "hf/llama_bf16"


def spelled(case: dict) -> str:
    words = [f"tp{case['tp']}", f"pp{case['pp']}", f"dp{case['dp']}", f"zero{case['zero']}", case["dtype"]]
    words += ["nopipe" if case.get("no_pipe") else "pipe"]
    words += [f"it{case['iteration']}"] if "iteration" in case else []
    words += [f"pad{case['pad']}"] if "pad" in case else []
    return "-".join(words)


def of_one_model() -> list[str]:
    return [n for n, c in CASES.items() if c["hf"] == "llama_bf16" and "ds" not in c and c["dtype"] == "bf16"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def forget(m: Mount) -> None:
    """Until the kernel has dropped what nobody uses: it is told to, or does it by itself for root."""
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert wait_until(lambda: not in_use(m), 20), in_use(m)


def in_use(m: Mount) -> list[str]:
    return sorted(set(os.listdir(m.path)) - ROOT)


ROOT = {"global_step0", "latest", "latest_checkpointed_iteration.txt", "lr_state_dict.yaml"}


@needs_shared
def test_goldens_from_one_mount(golden: Path, mount, compare, monkeypatch) -> None:  # noqa: F811
    names = of_one_model()
    assert len(names) >= 8
    with mount(golden / HF, "--dp", 2) as m:
        for name in names:
            assert_equal(compare, golden / "trees" / name, m.path / spelled(CASES[name]), monkeypatch)
        assert set(in_use(m)) <= {spelled(CASES[name]) for name in names}
        forget(m)
        assert_equal(compare, golden / "trees/llama-pipe-tp1pp1dp2-z1-bf16", m.path, monkeypatch)


def test_equal_layouts_are_one_directory(golden: Path, mount) -> None:
    with mount(golden / HF, "--dp", 2) as m:
        one = os.stat(m.path / "tp2-dp2/global_step0/mp_rank_00_model_states.pt")
        for name in ("dp2-tp2", "tp2", "pipe-bf16-zero1-tp2-pp1-it0-div128-padzero-nouniversal"):
            assert os.stat(m.path / name / "global_step0/mp_rank_00_model_states.pt").st_ino == one.st_ino
            assert os.path.samefile(m.path / name, m.path / "tp2-dp2")
        assert in_use(m) == ["tp2-dp2"]
        assert os.stat(m.path / "tp2-it1/global_step1/mp_rank_00_model_states.pt").st_ino != one.st_ino
        # what listings say is what stat says
        for entry in os.scandir(m.path / "tp2/global_step0"):
            assert entry.inode() == os.stat(entry.path).st_ino
    with mount(golden / HF) as m:
        assert os.stat(m.path / "tp2-dp2/global_step0/mp_rank_00_model_states.pt").st_ino == one.st_ino


def test_what_is_not_spelled_is_as_on_the_command_line(golden: Path, mount) -> None:
    with mount(golden / HF, "--dp", 3, "--iteration", 7, "--vocab-padding", "mean") as m:
        files = os.listdir(m.path / "tp2/global_step7")
        assert sum(f.endswith("_optim_states.pt") for f in files) == 6
        assert os.path.samefile(m.path / "tp2", m.path / "tp2-dp3-it7-padmean")
        assert (m.path / "dp1-it0/latest").read_text() == "global_step0"


def test_the_run_is_of_the_layout(golden: Path, mount) -> None:
    """--train-args say one layout; in a directory they are what they would be with its."""
    arguments = ("--num-layers 4 --hidden-size 64 --num-attention-heads 8 --seq-length 32 --micro-batch-size 1 "
                 "--max-position-embeddings 32")
    config = json.loads((golden / HF / "config.json").read_text())
    arguments += (f" --num-key-value-heads {config['num_key_value_heads']} --ffn-hidden-size "
                  f"{config['intermediate_size']} --use-rotary-position-embeddings --normalization rmsnorm "
                  "--swiglu --disable-bias-linear --untie-embeddings-and-output-weights --bf16 --zero-stage 1 "
                  f"--rotary-position-embeddings-theta {int(config['rope_parameters']['rope_theta'])} "
                  f"--layernorm-epsilon {config['rms_norm_eps']} --tensor-model-parallel-size 2 "
                  "--lr 1e-3 --train-iters 10 --deepspeed")
    with mount(golden / HF, f"--train-args={arguments}") as m:
        for name, ranks in {".": 2, "tp4": 4, "tp1-zero2-nopipe": 1, "pp2": 4}.items():
            states = [f for f in os.listdir(m.path / name / "global_step0") if f.startswith("mp_rank_")]
            assert len(states) == ranks, name


def test_what_cannot_be_served(golden: Path, mount, log: Path) -> None:
    with mount(golden / HF, "--log-file", log) as m:
        reasons = {"tp3": "--tp 3", "pp5": "--pp 5", "zero2": "pipeline engine", "zero4": "stages are",
                   "pp2-nopipe": "--pp 2", "dp0": "--dp 0", "dp1000000": "1000000 ranks", "untied": "untied",
                   "tied": "not tied", "div0": "divisible"}
        for name in reasons:
            assert not os.path.exists(m.path / name)
        lines = log.read_text().splitlines()
        assert len(lines) == len(reasons)
        for line, (name, reason) in zip(lines, reasons.items()):
            assert f"ENOENT for {name}: " in line and reason in line
        for name in ("tp", "tp2-tp2", "tp2-tp4", "bf16-fp16", "tp02", "nonsense", ".Trash", "tp2/latest/x"):
            assert not os.path.exists(m.path / name)
        assert not os.path.exists(m.path / "global_step0/tp2"), "only below the root"
        assert not os.path.exists(m.path / "tp2/dp2"), "only below the root"
        assert len(log.read_text().splitlines()) == len(reasons)


def test_a_thousand_layouts(golden: Path, mount, measured) -> None:
    with mount(golden / HF) as m:
        def visit(numbers: range) -> None:
            for n in numbers:
                name = f"tp{1 << n % 3}-pp{1 << n // 3 % 3}-dp{n // 9 % 8 + 1}-it{n}"
                assert os.stat(m.path / name / "latest").st_size == len(f"global_step{n}")
        visit(range(100))
        before = m.rss_anon_kb()
        with open(m.path / "tp2-dp50/global_step0/mp_rank_00_model_states.pt", "rb", buffering=0) as file:
            content = file.read()
            visit(range(100, 1100))
            after = m.rss_anon_kb()
            file.seek(0)
            assert file.read() == content, "an open file outlives the tree that it was found in"
            forget_all_but = wait_until(lambda: in_use(m) == ["tp2-dp50"], 20)
        measured(f"layouts: RssAnon {before} kB after 100, {after} kB after 1100, "
                 f"{m.rss_anon_kb()} kB when {'all but one were' if forget_all_but else 'not all were'} forgotten")
        assert after - before < 8 * 1024


def test_use_while_others_are_evicted(golden: Path, mount, tmp_path: Path) -> None:
    """tar, a working directory and open files, while more layouts are looked up than are kept composed."""
    with mount(golden / HF, "--log-file", tmp_path / "log") as m:
        layout = m.path / "tp2-pp2-dp2"
        numbers = {path: path.stat().st_ino for path in sorted(layout.rglob("*"))}
        code = ("import os, sys; os.chdir(sys.argv[1]); print(flush=True); sys.stdin.readline();"
                "print(os.getcwd(), os.stat('latest').st_ino, len(os.listdir('global_step0')))")
        inside = subprocess.Popen([sys.executable, "-c", code, layout], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        assert inside.stdout.readline()
        archive = subprocess.Popen(["tar", "-cf", tmp_path / "tree.tar", "--blocking-factor=1", "-C", layout, "."],
                                   stderr=subprocess.PIPE, text=True)
        for dp in range(1, 200):
            os.stat(m.path / f"dp{dp}/global_step0")
        assert archive.wait(60) == 0, archive.stderr.read()
        wait_until(lambda: in_use(m) == [layout.name], 20)
        assert layout.name in in_use(m), "a working directory is a use"
        said, _ = inside.communicate("\n", timeout=10)
        expected = [str(layout), str(numbers[layout / "latest"]), str(len(os.listdir(layout / "global_step0")))]
        assert said.split() == expected
        forget(m)
        assert {path: path.stat().st_ino for path in sorted(layout.rglob("*"))} == numbers
        out = tmp_path / "out"
        out.mkdir()
        subprocess.run(["tar", "-xf", tmp_path / "tree.tar", "-C", out], check=True)
        for path in layout.rglob("*"):
            if path.is_file():
                assert path.read_bytes() == (out / path.relative_to(layout)).read_bytes()


class FileHandle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_char * 128)]


LIBC = ctypes.CDLL(None, use_errno=True)


def handle_of(path: Path) -> FileHandle:
    """name_to_handle_at(2): what an NFS server gives to its clients."""
    handle, mount_id = FileHandle(size=128), ctypes.c_int()
    failed = LIBC.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount_id), 0)
    assert not failed, os.strerror(ctypes.get_errno())
    return handle


def open_handle(m: Mount, handle: FileHandle) -> int:
    root = os.open(m.path, os.O_RDONLY)
    try:
        file = LIBC.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)
        assert file >= 0, os.strerror(ctypes.get_errno())
        return file
    finally:
        os.close(root)


def test_file_handles_outlive_what_the_kernel_remembers(golden: Path, mount) -> None:
    with mount(golden / HF) as m:
        paths = [m.path / "tp2/global_step0/mp_rank_01_model_states.pt", m.path / "dp3/latest", m.path / "latest"]
        directories = [m.path / "pp2/global_step0", m.path / "pp4", m.path / "global_step0"]
        handles = [(path, path.stat().st_ino, path.read_bytes(), handle_of(path)) for path in paths]
        listed = [(path, path.stat().st_ino, sorted(os.listdir(path)), handle_of(path)) for path in directories]
        forget(m)
        for path, number, content, handle in handles:
            file = open_handle(m, handle)
            assert (os.fstat(file).st_ino, os.pread(file, len(content) + 1, 0)) == (number, content), path
            os.close(file)
        for path, number, names, handle in listed:
            directory = open_handle(m, handle)
            assert (os.fstat(directory).st_ino, sorted(os.listdir(directory))) == (number, names), path
            os.close(directory)
            assert path.stat().st_ino == number
        forget(m)


def test_a_checkout_by_a_relative_path(golden: Path, zerofs: Path, tmp_path: Path, monkeypatch) -> None:
    """The daemon is in another directory when layouts are looked up."""
    from mounting import mounted
    (tmp_path / "mds/megatron/model").mkdir(parents=True)
    (tmp_path / "mds/megatron/checkpointing.py").write_text("import deepspeed")
    (tmp_path / "mds/megatron/model/transformer.py").touch()
    (tmp_path / "mnt").mkdir()
    monkeypatch.chdir(tmp_path)
    with mounted(zerofs, golden / HF, tmp_path / "mnt", "--megatron", "mds") as m:
        assert sorted(os.listdir(m.path / "tp2")) == sorted(ROOT - {"lr_state_dict.yaml"})


def test_layouts_of_transformers(golden: Path, mount, log: Path) -> None:
    with mount(golden / HF, "--flavor", "hf", "--log-file", log) as m:
        names = os.listdir(m.path / "dp4-zero3/global_step0")
        assert sum(n.startswith("bf16_zero_pp_rank_") for n in names) == 4
        assert os.path.samefile(m.path / "dp4-zero3", m.path / "zero3-dp4-nopipe-bf16-it0")
        for name in ("pipe", "tp2", "padmean", "div64", "universal", "untied"):
            assert not os.path.exists(m.path / name), name
            assert f"ENOENT for {name}: " in log.read_text(), name


def test_reports(golden: Path, zerofs: Path, tiny: Path, mount) -> None:
    with mount(tiny, "--tp", 2) as m:
        control = m.path / ".zerofs"
        assert set(os.listdir(m.path)) == ROOT, ".zerofs is not listed"
        assert sorted(os.listdir(control)) == [
            "extension.json", "log", "origin.json", "plan.json", "source.json", "version", "zerofs_megatron"]
        assert stat.S_ISDIR(os.stat(control).st_mode)
        for name in set(os.listdir(control)) - {"zerofs_megatron"}:
            text = (control / name).read_bytes()
            assert len(text) == os.stat(control / name).st_size, name
        plan = subprocess.run([zerofs, "plan", tiny, "--tp", "2", "--json"], capture_output=True, check=True)
        assert json.loads((control / "plan.json").read_text()) == json.loads(plan.stdout)
        assert (control / "version").read_text() == run(zerofs, "--version").stdout != ""

        source = json.loads((control / "source.json").read_text())
        assert source["path"] == str(tiny)
        files = {file["name"]: file for file in source["files"]}
        assert set(files) == {file.name for file in tiny.glob("*.safetensors")} | {
            "config.json", "model.safetensors.index.json"}
        for name, file in files.items():
            content = (tiny / name).read_bytes()
            assert file["size"] == len(content)
            if name.endswith(".json"):
                assert file["sha256"] == hashlib.sha256(content).hexdigest()
            else:
                header = content[:8 + int.from_bytes(content[:8], "little")]
                assert file["headerSHA256"] == hashlib.sha256(header).hexdigest()

        assert "tp3" not in (control / "log").read_text()
        assert not os.path.exists(m.path / "tp3")
        assert "ENOENT for tp3: --tp 3" in (control / "log").read_text()
        (tiny / "config.json").write_text("{}")
        changed = json.loads((control / "source.json").read_text())["files"]
        assert ["changed" in file for file in changed] == [file["name"] == "config.json" for file in changed]
