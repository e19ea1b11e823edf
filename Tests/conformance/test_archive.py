"""The archive of `zerofs materialize --compress`: any zstd and tar restore it, and it serves as the directory does."""
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from files import flip, manifest, tree
from layouts import options
from conftest import needs_shared
from mounting import run
from test_golden import CASES, assert_equal, compare  # noqa: F401
from test_refusals import SOURCE, assert_refused

OPTION, IO, TARGET, FULL, PARTIAL, USAGE = 4, 8, 11, 12, 14, 64  # exit statuses
NAME = "llama-pipe-tp2pp2dp2-z1-bf16"
LAYOUT = options(CASES[NAME])


def made(zerofs: Path, hf: Path, out: Path, *words: object) -> dict:
    done = run(zerofs, "materialize", hf, out, "--compress", "zstd", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def archive(zerofs: Path, golden: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "llama.zarc"
    made(zerofs, golden / "hf/llama_bf16", out, *LAYOUT)
    return out


# Without zerofs

@pytest.mark.parametrize("hf", ["llama_bf16", "llama_fp16", "llama_fp32", "llama_bf16_sharded", "llama_tied_bf16"])
def test_restored_by_standard_tools(hf: str, zerofs: Path, golden: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zarc"
    made(zerofs, golden / "hf" / hf, out)
    subprocess.run(["zstd", "-q", "-t", "--no-progress", out], check=True)
    subprocess.run("zstd -q -dc model.zarc | tar x", shell=True, cwd=tmp_path, check=True)
    subprocess.run(["/usr/bin/python3", "-I", tmp_path / "restore.py"], cwd="/", check=True, stdout=subprocess.DEVNULL)
    assert tree(tmp_path / "hf") == tree(golden / "hf" / hf)
    if hf == "llama_bf16_sharded":
        assert len(list((tmp_path / "hf").glob("*.safetensors"))) == 4


def test_restore_notices_damage(archive: Path, tmp_path: Path) -> None:
    subprocess.run(f"zstd -q -dc {archive} | tar x", shell=True, cwd=tmp_path, check=True)
    flip(tmp_path / "hf/model.safetensors.planes", 100_000)
    done = subprocess.run(["/usr/bin/python3", "restore.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "hf/model.safetensors: damaged" in done.stderr
    assert (tmp_path / "hf/model.safetensors.planes").exists()


def test_same_bytes_from_any_number_of_threads(archive: Path, zerofs: Path, golden: Path, tmp_path: Path) -> None:
    for jobs in (1, 5):
        made(zerofs, golden / "hf/llama_bf16", tmp_path / f"{jobs}.zarc", *LAYOUT, "--jobs", jobs)
        assert (tmp_path / f"{jobs}.zarc").read_bytes() == archive.read_bytes()


# In place of the directory

def test_mounts_at_its_layout(archive: Path, golden: Path, mount, compare, monkeypatch) -> None:  # noqa: F811
    with mount(archive) as m, mount(golden / "hf/llama_bf16", *LAYOUT) as directory:
        assert tree(m.path) == tree(directory.path)
        assert_equal(compare, golden / "trees" / NAME, m.path, monkeypatch)
        name = "llama-nopipe-tp2pp1dp2-z3-bf16"
        assert_equal(compare, golden / "trees" / name, m.path / "tp2-pp1-dp2-zero3-nopipe", monkeypatch)
        assert tree(m.path / "tp4-pp1-dp3") == tree(directory.path / "tp4-pp1-dp3")


@pytest.mark.parametrize("words", [("--tp", 4, "--pp", 1), ("--no-pipeline-parallel", "--pp", 1, "--zero-stage", 3),
                                   ("--dtype", "fp16", "--moments", "zeros", "--iteration", 3)], ids=str)
def test_mounts_at_another_layout(archive: Path, golden: Path, mount, words: tuple) -> None:
    with mount(archive, *words) as m, mount(golden / "hf/llama_bf16", *LAYOUT, *words) as directory:
        assert tree(m.path) == tree(directory.path)


def test_as_a_hugging_face_directory(archive: Path, golden: Path, zerofs: Path, mount, tmp_path: Path) -> None:
    model = golden / "hf/llama_bf16"
    with mount(archive, "--as", "hf") as m:
        assert tree(m.path) == tree(model)
    done = run(zerofs, "materialize", archive, tmp_path / "hf", "--as", "hf")
    assert done.returncode == 0, done.stderr
    (tmp_path / "hf/zerofs-manifest.json").unlink()
    assert tree(tmp_path / "hf") == tree(model)
    # Nothing is rounded that would have to be.
    assert_refused(run(zerofs, "plan", archive, "--as", "hf", "--dtype", "fp16"), OPTION, "--dtype", "as they are")
    assert_refused(run(zerofs, "plan", model, "--as", "hf"), OPTION, "already")


def test_plan(archive: Path, zerofs: Path, golden: Path) -> None:
    for words in ((), ("--tp", 1)):
        of_archive = json.loads(run(zerofs, "plan", archive, "--json", *words).stdout)
        of_directory = json.loads(run(zerofs, "plan", golden / "hf/llama_bf16", "--json", *LAYOUT, *words).stdout)
        assert of_archive["files"], of_archive
        for plan in (of_archive, of_directory):
            plan.pop("modified", None)
        assert of_archive == of_directory


@needs_shared
@pytest.mark.parametrize("name", [NAME, "llama-pipe-tp1pp1dp2-z1-bf16-gad32", "llama-pipe-tp1pp1dp1-z1-bf16-mean"])
def test_materializes(name: str, zerofs: Path, golden: Path, tmp_path: Path) -> None:
    """Files that options name are in the archive: the configuration of DeepSpeed."""
    hf, out = golden / "hf" / CASES[name]["hf"], tmp_path / "model.zarc"
    made(zerofs, hf, out, *options(CASES[name]))
    for target, source, words in (("a", out, ()), ("b", hf, options(CASES[name]))):
        done = run(zerofs, "materialize", source, tmp_path / target, *words)
        assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert manifest(tmp_path / "a") == manifest(tmp_path / "b")
    done = run(zerofs, "materialize", out, tmp_path / "b", "--json")
    assert json.loads(done.stdout)["keptFiles"] == len(tree(tmp_path / "b")), "goes on with what the directory gave"


def test_archive_of_an_archive(archive: Path, zerofs: Path, tmp_path: Path) -> None:
    made(zerofs, archive, tmp_path / "again.zarc")
    assert run(zerofs, "verify", tmp_path / "again.zarc", "--against", archive).returncode == 0


def test_moved_archive_is_no_longer_served(archive: Path, tmp_path: Path, mount) -> None:
    copy = shutil.copy(archive, tmp_path / "copy.zarc")
    with mount(copy) as m:
        name = "global_step0/layer_02-model_00-model_states.pt"
        content = (m.path / name).read_bytes()
        os.utime(copy)
        with pytest.raises(OSError):
            (m.path / name).read_bytes()
        assert content


# Made once, made again

def test_made_again(archive: Path, zerofs: Path, golden: Path, tmp_path: Path) -> None:
    out = Path(shutil.copy(archive, tmp_path / "copy.zarc"))
    inode = out.stat().st_ino
    (tmp_path / ".copy.zarc.zerofs-partial").write_bytes(b"killed")
    assert made(zerofs, golden / "hf/llama_bf16", out, *LAYOUT)["keptFiles"] == 1
    assert out.stat().st_ino == inode
    out.unlink()
    assert made(zerofs, golden / "hf/llama_bf16", out, *LAYOUT)["keptFiles"] == 0
    assert out.read_bytes() == archive.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["copy.zarc"]


def weights_changed(hf: Path, out: Path) -> None:
    """Of the same shape and size, as another step of training gives."""
    shard = max(hf.glob("*.safetensors"))
    flip(shard, shard.stat().st_size - 1)


def archive_damaged(hf: Path, out: Path) -> None:
    flip(out, out.stat().st_size // 2)


def something_else(hf: Path, out: Path) -> None:
    out.write_text("mine")


def a_directory(hf: Path, out: Path) -> None:
    out.unlink()
    out.mkdir()


@pytest.mark.parametrize("happens", [weights_changed, archive_damaged, something_else, a_directory])
def test_in_the_way(tiny: Path, zerofs: Path, tmp_path: Path, happens) -> None:
    out = tmp_path / "tiny.zarc"
    made(zerofs, tiny, out)
    happens(tiny, out)
    before = out.is_file() and out.read_bytes()
    done = run(zerofs, "materialize", tiny, out, "--compress", "zstd")
    assert_refused(done, TARGET, "isn't the archive that would be written", "tiny.zarc")
    assert (out.is_file() and out.read_bytes()) == before


def test_other_layout_is_in_the_way(archive: Path, golden: Path, zerofs: Path) -> None:
    before = archive.read_bytes()
    done = run(zerofs, "materialize", golden / "hf/llama_bf16", archive, "--compress", "zstd")
    assert_refused(done, TARGET, "llama.zarc")
    assert archive.read_bytes() == before


@pytest.mark.parametrize("words, word", [
    (("--compress", "zstd", "--rank", 0, "--world", 2), "one file of all"),
    (("--compress", "zstd", "--files", "latest"), "one file of all"),
    (("--compress", "gzip"), "gzip"), (("--compress", "zstd:fast"), "zstd:fast"), ((), "--compress zstd"),
], ids=str)
def test_refused_combinations(golden: Path, zerofs: Path, tmp_path: Path, words: tuple, word: str) -> None:
    done = run(zerofs, "materialize", golden / "hf/llama_bf16", tmp_path / "x.zarc", *words)
    assert done.returncode == USAGE and word in done.stderr
    assert not list(tmp_path.iterdir())


def test_one_process_of_a_launcher_writes_it(golden: Path, zerofs: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.zarc"
    for rank, writes in [(1, False), (0, True), (1, False)]:
        done = subprocess.run([zerofs, "materialize", golden / "hf/llama_bf16", out, "--compress", "zstd",
                               "--patience", "0"], env=os.environ | {"PMI_RANK": str(rank), "PMI_SIZE": "2"}, capture_output=True, text=True)
        assert done.returncode == (0 if writes or out.exists() else PARTIAL), done.stderr
        assert f"rank {rank} of 2 by PMI_RANK and PMI_SIZE" in done.stderr
        assert out.exists() or not writes
    command = ["mpiexec", "-n", "3", zerofs, "materialize", golden / "hf/llama_bf16", tmp_path / "y.zarc", "--compress",
               "zstd"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "y.zarc").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("level", [0, -1, 23, 1000])
def test_levels_that_zstd_lacks(golden: Path, zerofs: Path, tmp_path: Path, level: int) -> None:
    done = run(zerofs, "materialize", golden / "hf/llama_bf16", tmp_path / "x.zarc", "--compress", f"zstd:{level}")
    assert done.returncode == USAGE and f"zstd:{level}: zstd has levels 1 to 22" in done.stderr
    assert not list(tmp_path.iterdir())


def test_level(archive: Path, golden: Path, zerofs: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.zarc"
    done = run(zerofs, "materialize", golden / "hf/llama_bf16", out, *LAYOUT, "--compress", "zstd:19")
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size < archive.stat().st_size, "never larger; the program and the header repeat words"
    assert run(zerofs, "verify", out, "--against", golden / "hf/llama_bf16").returncode == 0


def test_disk_full_and_unwritable(golden: Path, zerofs: Path, tmp_path: Path) -> None:
    hf, top = golden / "hf/llama_bf16", tmp_path / "tmpfs"
    assert_refused(run(zerofs, "materialize", hf, tmp_path / "a/x.zarc", "--compress", "zstd"), TARGET, "No such file")
    top.mkdir()
    # The estimate leaves out small things.
    for size, word in (("200k", "has 204.8 kB free"), ("304k", "No space left")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", top], check=True)
        try:
            done = run(zerofs, "materialize", hf, top / "x.zarc", "--compress", "zstd")
            assert_refused(done, FULL, word, "mount instead" if "has" in word else "Nothing of it is kept")
            assert not list(top.iterdir())
        finally:
            subprocess.run(["umount", top], check=True)


def test_into_a_mount(golden: Path, zerofs: Path, mount) -> None:
    """It is no question of room."""
    hf = golden / "hf/llama_bf16"
    with mount(hf) as m:
        for words in (("x.zarc", "--compress", "zstd"), ("x",)):
            done = run(zerofs, "materialize", hf, m.path / words[0], *words[1:])
            assert_refused(done, TARGET, "Read-only file system")


def test_among_the_files_of_the_model(tiny: Path, zerofs: Path) -> None:
    """Under a name of what belongs to a model: it is no part of it when it is made again."""
    made(zerofs, tiny, tiny / "x.json")
    assert made(zerofs, tiny, tiny / "x.json")["keptFiles"] == 1


def test_dry_run(golden: Path, zerofs: Path, tmp_path: Path, archive: Path) -> None:
    said = made(zerofs, golden / "hf/llama_bf16", tmp_path / "x.zarc", *LAYOUT, "--dry-run")
    assert not list(tmp_path.iterdir())
    assert said["event"] == "plan" and said["seconds"] > 0
    assert said["treeBytes"] == made(zerofs, golden / "hf/llama_bf16", archive, *LAYOUT)["treeBytes"]
    assert 0.9 < said["bytes"] / archive.stat().st_size < 1.1


# Archives that are none

@pytest.mark.parametrize("content", [b"", b"x" * 100, b"x" * 100_000], ids=len)
def test_no_archive(content: bytes, zerofs: Path, tmp_path: Path, mountpoint: Path) -> None:
    (tmp_path / "x.zarc").write_bytes(content)
    for words in (("plan", tmp_path / "x.zarc"), ("mount", tmp_path / "x.zarc", mountpoint),
                  ("materialize", tmp_path / "x.zarc", tmp_path / "out"), ("verify", tmp_path / "x.zarc")):
        assert_refused(run(zerofs, *words), SOURCE, "x.zarc: not an archive")
    assert not (tmp_path / "out").exists()


def test_cut_off(archive: Path, zerofs: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    for keep in (10, 17, 5000, len(content) // 2, len(content) - 1):
        (tmp_path / "x.zarc").write_bytes(content[:keep])
        assert_refused(run(zerofs, "verify", tmp_path / "x.zarc"), SOURCE, "x.zarc: not an archive")


def test_reads_of_a_damaged_frame_fail(archive: Path, zerofs: Path, mount, tmp_path: Path) -> None:
    out = Path(shutil.copy(archive, tmp_path / "x.zarc"))
    flip(out, out.stat().st_size // 2)
    done = run(zerofs, "materialize", out, tmp_path / "out")
    assert_refused(done, IO, "x.zarc: damaged from byte")
    assert not list(tmp_path.glob("out/**/*optim*"))


# A model that is trained

def test_smollm2(zerofs: Path, smollm2: Path, tmp_path: Path, mount, measured) -> None:
    out = tmp_path / "smollm2.zarc"
    said = made(zerofs, smollm2, out, "--moments", "zeros")
    size = out.stat().st_size
    assert size == said["bytes"]
    with mount(out) as m, mount(smollm2, "--moments", "zeros") as directory:
        files = [path.relative_to(m.path) for path in sorted(m.path.rglob("*")) if path.is_file()]
        assert sum((m.path / name).stat().st_size for name in files) == said["treeBytes"]
        measured(f"archive of SmolLM2: {size / 1e6:.1f} MB, the tree is {said['treeBytes'] / size:.2f} times as large")
        assert size * 7 <= said["treeBytes"]
        for name in files:
            with (m.path / name).open("rb", buffering=0) as a, (directory.path / name).open("rb", buffering=0) as b:
                end = os.fstat(a.fileno()).st_size
                position = 0
                while position < end:
                    position = seek_data(a, position, end)
                    b.seek(position)
                    assert (part := a.read(1 << 20)) == b.read(1 << 20), name
                    position += len(part)
        used = m.rss_anon_kb()
        measured(f"mount of the archive of SmolLM2, all of it read: RssAnon {used} kB")
        assert used < 96 * 1024
    assert run(zerofs, "verify", out, "--against", smollm2).returncode == 0


def seek_data(file: io.FileIO, position: int, end: int) -> int:
    try:
        return file.seek(position, os.SEEK_DATA)
    except OSError:
        return end
