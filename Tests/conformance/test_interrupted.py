"""Daemons that are killed, stopped or short of something while others read, and `materialize` that is killed or finds no room:
never a wrong byte, never a wait that can't be ended, and the next run goes on."""
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from files import MANIFEST, tree
from mounting import Mount, mounted, mounts_at, run, wait_until
from test_materialize import FULL, leftovers, tmpfs  # noqa: F401

LAYOUT = ("--dp", 2, "--moments", "zeros")


class Readers:
    """Threads that read files from front to back again and again, and hold each against what it should be."""

    def __init__(self, expected: dict[Path, bytes], count: int) -> None:
        self.expected, self.wrong, self.failed, self.rounds = expected, [], [], 0
        self.lock, self.ending = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.read, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def read(self, seed: int) -> None:
        generator, paths = random.Random(seed), list(self.expected)
        while not self.ending.is_set():
            path = generator.choice(paths)
            try:
                content = path.read_bytes()
            except OSError as error:
                with self.lock:
                    self.failed.append(error.errno)
                if error.errno in (107, 103):  # ENOTCONN, ECONNABORTED: nobody serves any more
                    return
                continue
            with self.lock:
                self.rounds += 1
                if content != self.expected[path]:
                    self.wrong.append(path)

    def go_on(self, more: int = 20) -> bool:
        goal = self.rounds + more
        wait_until(lambda: self.rounds >= goal or not any(thread.is_alive() for thread in self.threads), 60)
        return self.rounds >= goal

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a reader hangs"
        assert not self.wrong


@pytest.fixture
def served(tiny: Path, zerofs: Path, mountpoint: Path) -> Iterator[tuple[Mount, Readers]]:
    with mounted(zerofs, tiny, mountpoint, "--tp", 2) as m:
        files = [path for path in m.path.rglob("*.pt")]
        readers = Readers({path: path.read_bytes() for path in files}, 8)
        try:
            assert readers.go_on()
            yield m, readers
        finally:
            readers.end()


def test_killed_while_others_read(served: tuple[Mount, Readers]) -> None:
    m, readers = served
    os.kill(m.pid, signal.SIGKILL)
    readers.end()
    assert set(readers.failed) <= {107, 103, 5}, "their reads fail; none waits"


def test_stopped_while_others_read(served: tuple[Mount, Readers]) -> None:
    """Who waits for a stopped daemon can be killed, and when it is continued the others have lost nothing."""
    m, readers = served
    os.kill(m.pid, signal.SIGSTOP)
    try:
        file = next(iter(readers.expected))
        waiting = subprocess.Popen([sys.executable, "-c", f"open({str(file)!r}, 'rb', buffering=0).read()"])
        time.sleep(0.5)
        assert waiting.poll() is None
        waiting.kill()
        assert waiting.wait(60) == -signal.SIGKILL
    finally:
        os.kill(m.pid, signal.SIGCONT)
    assert readers.go_on() and not readers.failed


def test_out_of_the_tree_while_others_read(served: tuple[Mount, Readers]) -> None:
    """`umount -l`: what is open goes on, with the right bytes, and then the daemon ends."""
    m, readers = served
    path = next(iter(readers.expected))
    with path.open("rb", buffering=0) as file:
        subprocess.run(["umount", "-l", m.path], check=True)
        assert file.read() == readers.expected[path]
        readers.end()
    assert wait_until(lambda: not Path(f"/proc/{m.pid}").exists(), 60)


def limited(m: Mount, what: int, value: int) -> None:
    resource.prlimit(m.pid, what, (value, value))


def test_no_more_descriptors(served: tuple[Mount, Readers]) -> None:
    """The daemon has opened what it needs."""
    m, readers = served
    limited(m, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{m.pid}/fd")))
    assert readers.go_on(100)
    handles = [path.open("rb", buffering=0) for path in readers.expected for _ in range(20)]
    for handle in handles:
        handle.close()
    assert not readers.failed


def test_no_more_memory(tiny: Path, zerofs: Path, mountpoint: Path) -> None:
    """A daemon that gets no more may end; bytes are right or there are none."""
    with mounted(zerofs, tiny, mountpoint, "--tp", 2) as m:
        files = {path: path.read_bytes() for path in m.path.rglob("*.pt")}
        size = int(Path(f"/proc/{m.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        limited(m, resource.RLIMIT_AS, size)
        readers = Readers(files, 16)
        for layout in range(2, 40):
            try:
                (m.path / f"dp{layout}/latest").read_text()
            except OSError:
                break
        readers.go_on(50) if Path(f"/proc/{m.pid}/stat").exists() else None
        readers.end()
        assert set(readers.failed) <= {107, 103, 5, 12}
        if set(readers.failed) & {107, 103}:
            subprocess.run(["umount", "-l", m.path], check=True)


# materialize

@pytest.fixture
def whole(tiny: Path, zerofs: Path, tmp_path: Path) -> dict[str, bytes]:
    """What every interrupted run comes to in the end."""
    done = run(zerofs, "materialize", tiny, tmp_path / "whole", *LAYOUT)
    assert done.returncode == 0, done.stderr
    return tree(tmp_path / "whole")


def test_killed_fifty_times(tiny: Path, zerofs: Path, tmp_path: Path, whole: dict, measured) -> None:
    """At a random moment each, some of them twice: the next run goes on to the same tree."""
    seed = random.randrange(1 << 32)
    generator, hits = random.Random(seed), 0
    command = [zerofs, "materialize", tiny, tmp_path / "out", "--jobs", "1", *map(str, LAYOUT)]
    start = time.monotonic()
    subprocess.run([*command[:3], tmp_path / "timed", *command[4:]], check=True, capture_output=True)
    seconds = time.monotonic() - start
    for kill in range(50):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        for _ in range(generator.choice([1, 1, 2])):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(generator.uniform(0, seconds))
            process.kill()
            hits += process.wait() == -signal.SIGKILL
        if (tmp_path / "out" / MANIFEST).exists():
            assert tree(tmp_path / "out") == whole, f"Random({seed}), kill {kill}"
        done = run(*command)
        assert done.returncode == 0, f"Random({seed}), kill {kill}: {done.stderr}"
        assert tree(tmp_path / "out") == whole and leftovers(tmp_path / "out") == [], f"Random({seed}), kill {kill}"
    measured(f"materialize: {hits} kills hit a run of {seconds:.2f} s")
    assert hits >= 10


@pytest.mark.skipif(not shutil.which("strace"), reason="strace injects the errors")
@pytest.mark.parametrize("call", ["pwrite64", "ftruncate", "fsync", "renameat"])
def test_no_room_at_every_write(tiny: Path, zerofs: Path, whole: dict, tmp_path: Path, call: str, measured) -> None:
    """The first, second, … call finds no room: the run says so and leaves nothing half, and the next goes on to the same tree."""
    stride = int(os.environ.get("EVERY", "9"))
    command = [zerofs, "materialize", tiny, tmp_path / "out", "--jobs", "1", *map(str, LAYOUT)]
    runs = 0
    for number in range(1, 10_000, stride):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        inject = ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", f"trace={call}", "-e", f"inject={call}:error=ENOSPC:when={number}"]
        done = subprocess.run(list(map(str, [*inject, *command])), capture_output=True, text=True, timeout=120)
        if "(INJECTED)" not in (tmp_path / "trace").read_text():
            assert done.returncode == 0
            break
        runs += 1
        assert done.returncode == FULL and "No space left" in done.stderr.splitlines()[-1], (number, done.stderr)
        assert not (tmp_path / "out" / MANIFEST).exists() and leftovers(tmp_path / "out") == [], number
        assert all(content == whole[name] for name, content in tree(tmp_path / "out").items()), "what is there is whole"
        done = run(*command)
        assert done.returncode == 0 and tree(tmp_path / "out") == whole, number
    measured(f"materialize: {runs} calls of {call} without room, each gone on from")
    assert runs >= 2


def test_a_disk_that_grows(tiny: Path, zerofs: Path, tmpfs: Callable, whole: dict) -> None:  # noqa: F811
    kilobytes, runs = 64, 0
    while (done := run(zerofs, "materialize", tiny, out := tmpfs(f"size={kilobytes}k") / "out", *LAYOUT)).returncode:
        assert done.returncode == FULL and not (out / MANIFEST).exists() and leftovers(out) == [], done.stderr
        assert all(content == whole[name] for name, content in tree(out).items()), "what is there is whole"
        kilobytes, runs = kilobytes + 64, runs + 1
    assert tree(out) == whole and runs > 3


# Places in each other

def test_targets_and_mounts_inside_sources(tiny: Path, zerofs: Path, whole: dict, tmp_path: Path) -> None:
    """A tree, an archive and a mount below the model directory: they are none of its files."""
    assert run(zerofs, "materialize", tiny, tiny / "out", *LAYOUT).returncode == 0
    assert tree(tiny / "out") == whole
    assert run(zerofs, "materialize", tiny, tiny / "a.zarc", "--compress", "zstd", *LAYOUT).returncode == 0
    (tiny / "mnt").mkdir()
    with mounted(zerofs, tiny, tiny / "mnt", *LAYOUT) as m:
        assert run(zerofs, "materialize", tiny / "a.zarc", tmp_path / "again").returncode == 0
        assert tree(tmp_path / "again") == whole
        # The mount serves what it did, though files came into its source's directory.
        assert run(zerofs, "verify", tiny / "out", "--against", tiny).returncode == 0
        assert all((m.path / name).stat().st_size == len(content) for name, content in whole.items())


def test_nothing_is_written_into_a_mount(tiny: Path, zerofs: Path, mountpoint: Path, tmp_path: Path) -> None:
    """And nothing is mounted over it, or over what is in it."""
    with mounted(zerofs, tiny, mountpoint) as m:
        for words in [("materialize", tiny, m.path / "out"), ("materialize", tiny, m.path / "a.zarc", "--compress", "zstd"),
                      ("mount", tiny, m.path), ("mount", tiny, m.path / "global_step0"), ("mount", tiny, m.path / "absent")]:
            done = run(zerofs, *words)
            assert done.returncode in (6, 11) and str(m.path) in done.stderr.splitlines()[-1], (words, done.stderr)
        assert len(mounts_at(mountpoint)) == 1 and (m.path / "latest").read_text() == "global_step0"
