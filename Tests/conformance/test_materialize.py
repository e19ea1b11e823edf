"""Files of `zerofs materialize`: the mount's with exact checksums, whatever stops it and however many write."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import sparse_llama
from files import MANIFEST, flip, manifest, sizes_and_checksums, tree, without_checksums
from layouts import options
from conftest import needs_shared
from mounting import run, wait_until
from test_golden import CASES, assert_equal, compare  # noqa: F401
from test_refusals import LAYOUT, assert_refused

IO, BUSY, TARGET, FULL, PARTIAL, USAGE = 8, 9, 11, 12, 14, 64  # exit statuses
ZEROS = ("--tp", 2, "--dp", 2, "--moments", "zeros")
NAMES = ["llama-pipe-tp2pp2dp2-z1-bf16", "llama_tied-pipe-tp1pp2dp2-z1-bf16", "llama-nopipe-tp2pp1dp2-z3-bf16",
         "llama-pipe-tp2pp2dp2-z1-fp16", "llama-pipe-tp1pp1dp1-z0-fp32", "llama-nopipe-tp1pp1dp2-z0-bf16"]


@pytest.fixture
def materialize(zerofs: Path) -> Callable[..., dict]:
    """materialize(hf, out, *options): must succeed; what the last line of --json says."""
    def check(hf: Path, out: Path, *words: object) -> dict:
        done = run(zerofs, "materialize", hf, out, "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
    return check


@pytest.fixture
def llama(golden: Path) -> Path:
    return golden / "hf/llama_bf16"


def leftovers(out: Path) -> list[str]:
    """Names of files that aren't of the checkpoint."""
    return sorted(p.name for p in out.rglob("*") if p.is_file() and p.name.startswith("."))


def assert_same_as_mount(out: Path, mounted: Path) -> None:
    written, served = tree(out), tree(mounted)
    assert written.keys() == served.keys()
    for name, content in written.items():
        path = out / name
        assert path.stat().st_mode & 0o111 == (mounted / name).stat().st_mode & 0o111 & ~umask(), name
        if name.endswith(".pt"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None, name
            content, served[name] = without_checksums(content), without_checksums(served[name])
        assert content == served[name], name


def umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


# What is written

@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_is_the_mount_with_checksums(name: str, golden: Path, tmp_path: Path, materialize, mount, compare,  # noqa: F811
                                     monkeypatch) -> None:
    hf, layout, out = golden / "hf" / CASES[name]["hf"], options(CASES[name]), tmp_path / "out"
    said = materialize(hf, out, *layout)
    with mount(hf, *layout) as m:
        assert_same_as_mount(out, m.path)
    files = tree(out)
    assert manifest(out) == sizes_and_checksums(files)
    assert (said["event"], said["complete"], said["files"]) == ("done", True, len(files))
    assert said["bytes"] == sum(map(len, files.values()))
    for path in out.rglob("*.pt"):
        torch.load(path, weights_only=False, map_location="cpu")
    (out / MANIFEST).unlink()
    assert_equal(compare, golden / "trees" / name, out, monkeypatch)


def test_zeros_are_holes(llama: Path, tmp_path: Path, materialize) -> None:
    out = tmp_path / "out"
    materialize(llama, out, *ZEROS)
    states = sorted(out.rglob("*optim_states.pt"))
    assert len(states) == 4
    for path in states:
        # The moments are two thirds, but for blocks that they share with their neighbours.
        assert path.stat().st_blocks * 512 < 0.45 * path.stat().st_size, path.name
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


@pytest.mark.parametrize("jobs", [1, 7])
def test_jobs(llama: Path, tmp_path: Path, materialize, jobs: int) -> None:
    materialize(llama, tmp_path / "one", *ZEROS)
    materialize(llama, tmp_path / "other", *ZEROS, "--jobs", jobs)
    assert tree(tmp_path / "one") == tree(tmp_path / "other")
    assert manifest(tmp_path / "one") == manifest(tmp_path / "other")


def test_chosen_files_and_then_the_rest(llama: Path, tmp_path: Path, zerofs: Path, materialize) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    materialize(llama, whole, *ZEROS)
    chosen = ["global_step0/layer_0[12]*", "latest"]
    materialize(llama, out, *ZEROS, "--files", *chosen)
    assert sorted(tree(out)) == [f"global_step0/layer_0{n}-model_0{tp}-model_states.pt" for n in (1, 2) for tp in (0, 1)
                                 ] + ["latest"]
    assert manifest(out).keys() == tree(out).keys()
    inodes = {name: (out / name).stat().st_ino for name in tree(out)}
    assert materialize(llama, out, *ZEROS)["keptFiles"] == len(inodes)
    assert tree(out) == tree(whole) and manifest(out) == manifest(whole)
    assert all((out / name).stat().st_ino == inode for name, inode in inodes.items())
    before = tree(out)
    done = run(zerofs, "materialize", llama, out, *ZEROS, "--files", "layer_01*")
    assert_refused(done, LAYOUT, r"layer_01\*", "plan")
    assert tree(out) == before


def test_dry_run(llama: Path, tmp_path: Path, zerofs: Path, materialize) -> None:
    out = tmp_path / "out"
    said = materialize(llama, out, *ZEROS, "--dry-run")
    assert not out.exists() and not list(tmp_path.iterdir())
    done = materialize(llama, out, *ZEROS)
    assert {key: said[key] for key in ("files", "bytes", "dataBytes")} == {
        key: done[key] for key in ("files", "bytes", "dataBytes")}
    assert said["event"] == "plan" and said["seconds"] > 0 and said["bytesPerSecond"] > 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert materialize(llama, out, *ZEROS, "--dry-run")["keptFiles"] == done["files"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    said = run(zerofs, "materialize", llama, out, *ZEROS, "--dry-run").stdout
    assert "23 files" in said and "nothing was written" in said


@pytest.mark.parametrize("spelled", ["out/", "out//", "./out"])
def test_names_of_the_target(llama: Path, tmp_path: Path, zerofs: Path, monkeypatch, spelled: str) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        done = run(zerofs, "materialize", llama, spelled)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/latest").read_text() == "global_step0"


# What is there already

@pytest.fixture
def written(llama: Path, tmp_path: Path, materialize) -> Path:
    out = tmp_path / "out"
    materialize(llama, out, *ZEROS)
    return out


def snapshot(out: Path) -> dict[str, object]:
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns,
                        path.read_bytes() if path.is_file() else None) for path in [out, *sorted(out.rglob("*"))]}


STATES = "global_step0/mp_rank_00_model_states.pt"


def other_file(out: Path) -> None:
    (out / "global_step0/precious").write_text("mine")


def file_of_other_size(out: Path) -> None:
    (out / "latest").write_text("global_step100")


def directory_for_file(out: Path) -> None:
    (out / STATES).unlink()
    (out / STATES).mkdir()


def file_for_directory(out: Path) -> None:
    shutil.rmtree(out / "global_step0")
    (out / "global_step0").write_text("mine")


def link_for_file(out: Path) -> None:
    (out / STATES).rename(out.parent / "elsewhere")
    (out / STATES).symlink_to(out.parent / "elsewhere")


def changed_byte(out: Path) -> None:
    flip(out / STATES, 4000)


def byte_in_a_hole(out: Path) -> None:
    path = min(out.rglob("*optim_states.pt"))
    flip(path, os.path.getsize(path) * 2 // 3)


def changed_text(out: Path) -> None:
    (out / "latest").write_text("global_step1")


def no_manifest(out: Path) -> None:
    (out / MANIFEST).write_text("{}")


def not_a_directory(out: Path) -> None:
    shutil.rmtree(out)
    out.write_text("mine")


@pytest.mark.parametrize("place, word", [
    (other_file, "precious: does not belong"), (file_of_other_size, "latest: is not the 12 bytes"),
    (directory_for_file, f"{STATES}: is not a file but a directory"),
    (file_for_directory, "global_step0: is not a directory but a file"),
    (link_for_file, f"{STATES}: is not a file but a symbolic link"), (changed_byte, f"{STATES}: holds other bytes"),
    (byte_in_a_hole, "optim_states.pt: holds other bytes"), (changed_text, "latest: holds other bytes"),
    (no_manifest, f"{MANIFEST}: not a manifest"), (not_a_directory, "out: is not a directory"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_in_the_way(llama: Path, written: Path, zerofs: Path, place: Callable[[Path], None], word: str) -> None:
    place(written)
    before = snapshot(written)
    assert_refused(run(zerofs, "materialize", llama, written, *ZEROS), TARGET, word, "Nothing of it was changed")
    assert snapshot(written) == before


@pytest.mark.parametrize("layout", [("--tp", 2, "--dp", 1), ("--tp", 2, "--dp", 2), (*ZEROS, "--seed", 7)], ids=str)
def test_other_layout(llama: Path, written: Path, zerofs: Path, layout: tuple) -> None:
    before = snapshot(written)
    assert_refused(run(zerofs, "materialize", llama, written, *layout), TARGET, "another checkpoint", "tp2-pp1-dp2")
    assert snapshot(written) == before


def test_other_model(tiny: Path, llama: Path, written: Path, zerofs: Path) -> None:
    before = snapshot(written)
    assert_refused(run(zerofs, "materialize", tiny, written, *ZEROS), TARGET, "another checkpoint", str(llama))
    assert snapshot(written) == before


def test_leftovers_of_killed_runs(llama: Path, written: Path, zerofs: Path, materialize) -> None:
    whole = manifest(written)
    (written / STATES).unlink()
    (written / MANIFEST).unlink()
    (written / f"global_step0/.{Path(STATES).name}.zerofs-partial").write_bytes(b"x" * 1_000_000)
    for name in (".zerofs-manifest.json.zerofs-partial", ".zerofs-manifest.2-of-4.json.zerofs-partial",
                 ".zerofs-manifest.3-of-4.json"):
        (written / name).write_text("{")
    materialize(llama, written, *ZEROS)
    assert manifest(written) == whole == sizes_and_checksums(tree(written))
    assert leftovers(written) == []


# Where it can't be written

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.parametrize("where", ["out", "out/new"])
def test_not_permitted(llama: Path, zerofs: Path, where: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        top.chmod(0o755)
        (top / "out").mkdir(mode=0o755)
        shutil.copytree(llama, top / "hf")
        binary = shutil.copy(zerofs, top / "zerofs")
        done = run(Path("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", binary, "materialize",
                   top / "hf", top / where)
        assert_refused(done, TARGET, re.escape(str(top / where)), "Permission denied")
        assert not list((top / "out").iterdir())


def test_no_such_directory(llama: Path, tmp_path: Path, zerofs: Path) -> None:
    assert_refused(run(zerofs, "materialize", llama, tmp_path / "a/b"), TARGET, "a/b", "No such file")
    (tmp_path / "file").touch()
    assert_refused(run(zerofs, "materialize", llama, tmp_path / "file/b"), TARGET, "file/b", "Not a directory")


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """tmpfs(options): mounts one, or mounts it again with other options."""
    top = tmp_path / "tmpfs"
    top.mkdir()

    def mount(words: str) -> Path:
        again = "remount," if os.path.ismount(top) else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", again + words, "none", top], check=True)
        return top
    yield mount
    if os.path.ismount(top):
        subprocess.run(["umount", top], check=True)


def test_too_small(llama: Path, tmpfs, zerofs: Path, materialize) -> None:
    top = tmpfs("size=1m")
    done = run(zerofs, "materialize", llama, top / "out", *ZEROS)
    assert_refused(done, FULL, "1.4 MB", "1.0 MB free", "mount instead")
    assert not list(top.iterdir())
    tmpfs("size=2m")  # less than the tree, whose holes take no room
    assert materialize(llama, top / "out", *ZEROS)["bytes"] > 3_000_000


@pytest.mark.parametrize("limit, more", [("size=16m,nr_inodes=12", "nr_inodes=100"), ("size=1440k", "size=2m")],
                         ids=["inodes", "blocks"])
def test_fills_up(llama: Path, tmpfs, zerofs: Path, materialize, tmp_path: Path, limit: str, more: str) -> None:
    """Sums of bytes fit: what ends is inodes, or blocks that are not full."""
    out = tmpfs(limit) / "out"
    assert_refused(run(zerofs, "materialize", llama, out, *ZEROS), FULL, "No space left", "goes on from there")
    assert leftovers(out) == [] and not (out / MANIFEST).exists()
    inodes = {name: (out / name).stat().st_ino for name in tree(out)}
    assert 0 < len(inodes) < 23
    tmpfs(more)
    assert materialize(llama, out, *ZEROS)["keptFiles"] == len(inodes)
    assert all((out / name).stat().st_ino == inode for name, inode in inodes.items())
    materialize(llama, tmp_path / "whole", *ZEROS)
    assert tree(out) == tree(tmp_path / "whole") and manifest(out) == manifest(tmp_path / "whole")


def test_room_that_a_killed_run_took(llama: Path, tmpfs, materialize) -> None:
    """What a partial file takes is free again for the run that writes it anew."""
    top = tmpfs("size=16m")
    materialize(llama, top / "out", *ZEROS)
    biggest = max(top.rglob("*optim_states.pt"))
    biggest.rename(biggest.with_name(f".{biggest.name}.zerofs-partial"))
    used = os.statvfs(top)
    kilobytes = (used.f_blocks - used.f_bfree) * used.f_frsize // 1024
    tmpfs(f"size={kilobytes + 64}k")
    materialize(llama, top / "out", *ZEROS)
    assert leftovers(top / "out") == []


# Processes that are stopped

def partial_file(pid: int) -> str | None:
    """The partial file that a process has open."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if (name := os.readlink(descriptor)).endswith(".zerofs-partial"):
                    return name
    return None


def killed_while_writing(pid: int) -> bool:
    """Kills a process if it is in the middle of a file of the checkpoint."""
    os.kill(pid, signal.SIGSTOP)
    is_writing = "global_step0" in (partial_file(pid) or "")
    os.kill(pid, signal.SIGKILL if is_writing else signal.SIGCONT)
    return is_writing


@pytest.fixture(scope="module")
def smollm2_tree(zerofs: Path, smollm2: Path, tmp_path_factory) -> Path:
    """SmolLM2 for four data-parallel ranks, written by one process that was killed twice and went on."""
    out = tmp_path_factory.mktemp("smollm2") / "out"
    command = [zerofs, "materialize", smollm2, out, *map(str, SMOLLM2)]
    kept: dict[str, int] = {}
    for count in (2, 9):
        process = subprocess.Popen(command)
        assert wait_until(lambda: len(list(out.rglob("*.pt"))) >= count and killed_while_writing(process.pid), 60)
        assert process.wait() == -signal.SIGKILL
        assert any(name.endswith(".zerofs-partial") for name in leftovers(out))
        assert not (out / MANIFEST).exists()
        assert all((out / name).stat().st_ino == inode for name, inode in kept.items())
        kept = {str(path.relative_to(out)): path.stat().st_ino for path in out.rglob("*.pt") if path.name[0] != "."}
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["keptFiles"] == len(kept)
    assert all((out / name).stat().st_ino == inode for name, inode in kept.items()), "finished files are kept"
    assert leftovers(out) == []
    return out


SMOLLM2 = ("--dp", 4, "--moments", "zeros")


def test_killed_runs_go_on(smollm2_tree: Path, smollm2: Path, zerofs: Path) -> None:
    done = run(zerofs, "verify", smollm2_tree)
    assert done.returncode == 0, done.stdout
    done = run(zerofs, "verify", smollm2_tree, "--against", smollm2)
    assert done.returncode == 0, done.stdout


def started_by_mpiexec(rank: int) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text() == "zerofs\n" and \
                    f"PMI_RANK={rank}".encode() in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
    return None


def test_four_processes_of_which_one_is_killed(smollm2_tree: Path, smollm2: Path, zerofs: Path, tmp_path: Path,
                                               materialize) -> None:
    out = tmp_path / "out"
    # MPICH ends all processes when it sees one killed; a shell keeps that from it.
    shell = ["sh", "-c", '"$@" || echo $PMI_RANK: $?', "sh"]
    command = ["mpiexec", "-n", "4", *shell, zerofs, "materialize", smollm2, out, *map(str, SMOLLM2)]
    mpiexec = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: (pid := started_by_mpiexec(2)) and killed_while_writing(pid), 60)
    said, _ = mpiexec.communicate(timeout=120)
    assert said.split() == ["2:", "137"]
    left = [f".zerofs-manifest.{rank}-of-4.{kind}" for rank, kind in
            ((0, "json"), (1, "json"), (2, "begun"), (3, "json"))]
    assert [name for name in leftovers(out) if "partial" not in name] == left
    assert any(name.endswith("zerofs-partial") for name in leftovers(out))
    assert not (out / MANIFEST).exists(), "complete only with all ranks"
    said = materialize(smollm2, out, *SMOLLM2, "--rank", 2, "--world", 4)
    assert said["complete"] and said["files"] < len(manifest(smollm2_tree))
    assert leftovers(out) == []
    assert manifest(out) == manifest(smollm2_tree)
    assert run(zerofs, "verify", out).returncode == 0


def test_four_processes(llama: Path, tmp_path: Path, zerofs: Path, materialize) -> None:
    """Small files, so that all finish at the same time."""
    materialize(llama, tmp_path / "one", *ZEROS)
    for attempt in range(5):
        out = tmp_path / f"out{attempt}"
        command = ["mpiexec", "-n", "4", zerofs, "materialize", llama, out, *map(str, ZEROS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert leftovers(out) == []
        assert tree(out) == tree(tmp_path / "one") and manifest(out) == manifest(tmp_path / "one")


@pytest.mark.parametrize("variables", [
    ("PALS_RANKID", "PALS_SIZE"), ("PALS_RANKID", "PMI_SIZE"), ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"), ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
], ids="-".join)
def test_launchers(llama: Path, tmp_path: Path, zerofs: Path, monkeypatch, variables: tuple) -> None:
    """One by one, as in shells that inherited the variables: it isn't done before all were there, and it is said by what."""
    out, files = tmp_path / "out", 0
    for rank, status in ((1, PARTIAL), (0, PARTIAL), (2, 0)):
        monkeypatch.setenv(variables[0], str(rank))
        monkeypatch.setenv(variables[1], "3")
        done = run(zerofs, "materialize", llama, out, *ZEROS, "--json", "--patience", 0)
        assert done.returncode == status, done.stderr
        begun, said = map(json.loads, done.stdout.splitlines())
        assert begun == {"event": "share", "rank": rank, "world": 3, "variables": list(variables)}
        first, *rest = done.stderr.splitlines()
        assert first.endswith(f"writing the share of rank {rank} of 3 by {variables[0]} and {variables[1]}")
        assert (status == 0) == (not any("incomplete" in line for line in rest)), rest
        if rank == 1:
            assert "no sign of ranks 0, 2" in rest[-1] and "--rank 0 --world 1" in rest[-1]
        files += said["files"]
        assert said["complete"] == (out / MANIFEST).exists() == (rank == 2)
    assert files == len(tree(out)) == 23
    assert manifest(out) == sizes_and_checksums(tree(out)) and leftovers(out) == []


def test_asked_for_shares_are_done(llama: Path, tmp_path: Path, materialize, monkeypatch) -> None:
    """--rank wins over what a shell inherited, and who asked for a part has it."""
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "4")
    assert not materialize(llama, tmp_path / "part", *ZEROS, "--rank", 0, "--world", 2)["complete"]
    assert materialize(llama, tmp_path / "whole", *ZEROS, "--rank", 0, "--world", 1)["complete"]


@pytest.mark.parametrize("variables", [
    {}, {"SLURM_STEP_ID": "4294967291"}, {"SLURM_STEP_ID": "4294967290"},
    {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PTY_PORT": "40000"},
], ids=["sbatch", "step of the batch script", "salloc", "srun --pty"])
def test_shells_of_slurm(llama: Path, tmp_path: Path, zerofs: Path, materialize, monkeypatch, variables: dict) -> None:
    for name, value in ({"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"} | variables).items():
        monkeypatch.setenv(name, value)
    assert materialize(llama, tmp_path / "out")["complete"]
    assert (tmp_path / "out" / MANIFEST).exists()
    monkeypatch.delenv("SLURM_PTY_PORT", raising=False)
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    done = run(zerofs, "materialize", llama, tmp_path / "step", "--patience", 0)
    assert done.returncode == PARTIAL, done.stderr


@pytest.mark.parametrize("words, status, word", [
    (("--rank", 4, "--world", 4), LAYOUT, "rank 4 of 4"), (("--rank", 0, "--world", 0), LAYOUT, "rank 0 of 0"),
    (("--rank", 1), USAGE, "go together"), (("--world", 2), USAGE, "go together"), (("--jobs", 0), USAGE, "--jobs 0"),
    (("--rank", 0, "--world", 2**63 - 1), LAYOUT, "rank 0 of 9223372036854775807"),
    (("--jobs", 2**63 - 1), USAGE, "from 1 to 1024"), (("--patience", -1), USAGE, "patience"),
], ids=str)
def test_wrong_shares(llama: Path, tmp_path: Path, zerofs: Path, words: tuple, status: int, word: str) -> None:
    done = run(zerofs, "materialize", llama, tmp_path / "out", *words)
    assert done.returncode == status and word in done.stderr
    assert not (tmp_path / "out").exists()


def test_world_of_a_launcher(llama: Path, tmp_path: Path, zerofs: Path, monkeypatch) -> None:
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", str(2**63 - 1))
    assert_refused(run(zerofs, "materialize", llama, tmp_path / "out"), LAYOUT, "rank 0 of 9223372036854775807")


# What was planted, and limits

@pytest.mark.parametrize("plant", ["symlink_to", "hardlink_to", "mkfifo"])
@pytest.mark.parametrize("name, words", [("out/.latest.zerofs-partial", ZEROS),
                                         (".a.zarc.zerofs-partial", ("--compress", "zstd"))], ids=["tree", "archive"])
def test_nothing_planted_is_followed(llama: Path, tmp_path: Path, zerofs: Path, plant: str, name: str,
                                     words: tuple) -> None:
    victim, partial = tmp_path / "victim", tmp_path / name
    victim.write_text("precious")
    partial.parent.mkdir(exist_ok=True)
    os.mkfifo(partial) if plant == "mkfifo" else getattr(partial, plant)(victim)
    target = tmp_path / ("out" if words == ZEROS else "a.zarc")
    assert_refused(run(zerofs, "materialize", llama, target, *words), TARGET, re.escape(str(partial)))
    assert victim.read_text() == "precious" and not (target / MANIFEST).exists()


def test_two_checkpoints_into_one_directory(llama: Path, tmp_path: Path, zerofs: Path, materialize) -> None:
    """One of them, whole; the other is refused, whoever comes first."""
    whole = {}
    for dp in (2, 4):
        materialize(llama, tmp_path / f"dp{dp}", "--dp", dp)
        whole[dp] = tree(tmp_path / f"dp{dp}")
    statuses = set()
    for attempt in range(6):
        out = tmp_path / f"out{attempt}"
        both = {dp: subprocess.Popen([zerofs, "materialize", llama, out, "--dp", str(dp)], stderr=subprocess.PIPE)
                for dp in (2, 4)}
        ends = {dp: process.wait(60) for dp, process in both.items()}
        (winner,) = [dp for dp, status in ends.items() if status == 0]
        statuses |= set(ends.values())
        assert tree(out) == whole[winner] and leftovers(out) == []
        assert run(zerofs, "verify", out).returncode == 0
        for process in both.values():
            process.stderr.close()
    assert statuses <= {0, BUSY, TARGET}


@pytest.mark.parametrize("words", [ZEROS, ("--compress", "zstd")], ids=["tree", "archive"])
def test_limit_of_file_sizes(llama: Path, tmp_path: Path, zerofs: Path, words: tuple) -> None:
    """Not SIGXFSZ, which leaves what it interrupts: a line and a status."""
    out = tmp_path / "out"
    limited = ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh", zerofs, "materialize", llama, out, *map(str, words)]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert_refused(done, TARGET, "File too large")
    assert not list(tmp_path.rglob("*partial")) and not (out / MANIFEST).exists()


@pytest.mark.parametrize("words", [("plan",), ("plan", "--json"), ("parameter-order",), ("materialize", "--dry-run"),
                                   ("materialize", "--json"), ("verify",)], ids=" ".join)
def test_full_standard_output(llama: Path, tmp_path: Path, zerofs: Path, materialize, words: tuple) -> None:
    verb, *options = words
    out = tmp_path / "out"
    if verb == "verify":
        materialize(llama, out)
    arguments = {"plan": [llama], "parameter-order": [], "materialize": [llama, out], "verify": [out]}[verb]
    with open("/dev/full", "w") as full:
        done = subprocess.run([zerofs, verb, *arguments, *options], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == IO
    assert done.stderr.splitlines()[-1].startswith("zerofs: standard output can't be written: No space left on device")


# Models that take long: sparse ones, so that a test can be quick

@pytest.fixture
def slow(tmp_path: Path, monkeypatch) -> Path:
    hf = tmp_path / "70b"
    monkeypatch.setattr("sys.argv", ["sparse_llama.py", str(hf)])
    sparse_llama.main()
    return hf


def test_source_changes_meanwhile(slow: Path, tmp_path: Path, zerofs: Path) -> None:
    out = tmp_path / "out"
    command = [zerofs, "materialize", slow, out, "--jobs", "1", "--files", "global_step0/layer_03*"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: (name := partial_file(process.pid)) and Path(name).stat().st_size > 0, 30)
    index = json.loads((slow / "model.safetensors.index.json").read_text())["weight_map"]
    for shard in {shard for name, shard in index.items() if ".layers.0." in name}:
        os.utime(slow / shard)
    _, said = process.communicate(timeout=60)
    assert process.returncode == IO, said
    assert "was changed" in said.splitlines()[-1]
    assert tree(out) == {} and leftovers(out) == []


def test_two_runs_of_one_share(slow: Path, tmp_path: Path, zerofs: Path) -> None:
    out = tmp_path / "out"
    command = [zerofs, "materialize", slow, out, "--jobs", "1", "--files", "global_step0/layer_03*"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: partial_file(process.pid), 30)
        assert_refused(run(*command), BUSY, "another zerofs")
        assert partial_file(process.pid), "the first one goes on"
    finally:
        process.kill()
        process.communicate()
