"""Sources that are slow, or stall: how much of them is read, and that nobody else waits for them (shared/tools/slow.c)."""
import contextlib
import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparse_llama
from conftest import SHARED
from mounting import daemon_of, mounts_at, run, wait_until

READER = "import sys\nfor path in sys.argv[1:]: open(path, 'rb', buffering=0).read()"
# More than a source gets threads (ColdReads.maxPerSource).
READERS = 80
READ = {"x86_64": "0", "aarch64": "63"}[platform.machine()]  # read(2) in /proc/PID/syscall


class Slow:
    """A file system of the files below `root`, each request of which takes so many milliseconds."""

    def __init__(self, program: Path, root: Path, path: Path, milliseconds: int) -> None:
        self.path, self.stats = path, path.with_suffix(".stats")
        path.mkdir()
        self.stats.write_text("")
        self.process = subprocess.Popen([program, root, str(milliseconds * 1000), "2", path],
                                        env=os.environ | {"STATS": str(self.stats)}, stderr=subprocess.DEVNULL)
        assert wait_until(lambda: mounts_at(path))

    def counted(self) -> tuple[int, int]:
        """Requests and bytes since the last call."""
        lines = len(self.stats.read_text().splitlines())
        self.process.send_signal(signal.SIGUSR1)
        assert wait_until(lambda: len(self.stats.read_text().splitlines()) > lines)
        requests, count = self.stats.read_text().splitlines()[-1].split()
        return int(requests), int(count)

    def stall(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """The page cache drops what it has of the files."""
        for file in self.path.iterdir():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def close(self) -> None:
        self.resume()
        subprocess.run(["umount", "-l", self.path], check=True)
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("slow") / "slow"
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True).split()
    subprocess.run(["cc", "-O2", "-w", SHARED / "tools/slow.c", "-o", out, *flags], check=True)
    return out


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 160 MB, of holes."""
    out = tmp_path_factory.mktemp("llama") / "hf"
    out.mkdir()
    model = dict(layers=4, hidden=256, heads=8, ffn=1024)
    tensors = dict(sparse_llama.tensors(model))
    sparse_llama.write_shard(out / "model.safetensors", tensors)
    (out / "config.json").write_text(json.dumps(sparse_llama.config(model)))
    return out


@contextlib.contextmanager
def slow_files(program: Path, root: Path, path: Path, milliseconds: int = 0) -> Iterator[Slow]:
    slow = Slow(program, root, path, milliseconds)
    try:
        yield slow
    finally:
        slow.close()


def rank_files(top: Path, rank: int) -> list[Path]:
    step = top / "global_step0"
    return [*sorted(step.glob(f"layer_*-model_{rank:02}-*")), *sorted(step.glob(f"*_mp_rank_{rank:02}_optim*"))]


def test_a_mount_reads_headers_alone(program: Path, llama: Path, mount, tmp_path: Path) -> None:
    with slow_files(program, llama, tmp_path / "slow") as slow, mount(slow.path) as m:
        assert all(file.stat().st_size for file in rank_files(m.path, 0))
        time.sleep(0.5)     # for what would be read ahead
        assert slow.counted()[1] < 1 << 20


def test_ranks_share_what_is_read(program: Path, llama: Path, mount, tmp_path: Path, measured) -> None:
    with slow_files(program, llama, tmp_path / "slow", 2) as slow, mount(slow.path, "--tp", 4) as m:
        slow.forget()
        slow.counted()
        readers = [subprocess.Popen(["python3", "-c", READER, *rank_files(m.path, rank)]) for rank in range(4)]
        assert [reader.wait() for reader in readers] == [0] * 4
        requests, count = slow.counted()
        needed = (llama / "model.safetensors").stat().st_size
        measured(f"four ranks on a slow source: {count / needed:.2f} times the model in {requests} requests")
        assert 0.9 * needed <= count <= 1.1 * needed


def test_warm_reads_what_ranks_need(program: Path, llama: Path, zerofs: Path, mount, tmp_path: Path) -> None:
    with slow_files(program, llama, tmp_path / "slow") as slow, mount(slow.path, "--tp", 2, "--dp", 2) as m:
        slow.forget()
        slow.counted()
        done = run(zerofs, "warm", m.path, "--ranks", "0-1")
        assert done.returncode == 0, done.stderr
        assert "of the model read" in done.stdout
        _, count = slow.counted()
        assert count >= 0.9 * (llama / "model.safetensors").stat().st_size
        for file in rank_files(m.path, 1):
            file.read_bytes()
        _, more = slow.counted()
        assert more == 0, "all of it was in memory"
        refused = run(zerofs, "warm", m.path, "--ranks", "2-4")
        assert refused.returncode and "from 0 to 3" in refused.stderr


@pytest.fixture
def halves(program: Path, tiny: Path, tmp_path: Path) -> Iterator[tuple[Path, Slow]]:
    """A model one of whose shards is on a file system that can be told to stall: that of the embedding."""
    shards = json.loads((tiny / "model.safetensors.index.json").read_text())["weight_map"]
    stalling = shards["model.embed_tokens.weight"]
    assert stalling != shards["model.layers.1.mlp.down_proj.weight"]
    apart = tmp_path / "apart"
    apart.mkdir()
    shutil.move(tiny / stalling, apart / stalling)
    with slow_files(program, apart, tmp_path / "slow") as slow:
        (tiny / stalling).symlink_to(slow.path / stalling)
        yield tiny, slow


def test_a_source_that_stalls(halves: tuple[Path, Slow], zerofs: Path, mountpoint: Path) -> None:
    hf, slow = halves
    assert run(zerofs, "mount", hf, mountpoint, "--follow-links").returncode == 0
    daemon = daemon_of(mountpoint)
    step = mountpoint / "global_step0"
    embedding, other = step / "layer_01-model_00-model_states.pt", step / "layer_03-model_00-model_states.pt"
    slow.forget()
    slow.stall()
    readers = [reading(embedding) for _ in range(READERS)]
    try:
        assert wait_until(lambda: all(is_reading(reader.pid, embedding) for reader in readers), 60)

        def goes_on(*command: object) -> bytes:
            return subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=60).stdout

        assert b"global_step0" in goes_on("ls", mountpoint)
        assert goes_on("stat", embedding) and goes_on("cat", mountpoint / "latest") == b"global_step0"
        goes_on("cat", mountpoint / ".zerofs/log")
        assert goes_on("cat", other), "a file of other sources"
        for reader, sent in zip(readers, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
            reader.send_signal(sent)
            reader.wait(timeout=60)
        assert all(reader.poll() is None for reader in readers[3:]), "the others wait"
        os.kill(daemon, signal.SIGTERM)
        assert wait_until(lambda: not mounts_at(mountpoint), 60)
        assert wait_until(lambda: not Path(f"/proc/{daemon}").exists(), 60), "the daemon ends"
        assert all(reader.wait(timeout=60) for reader in readers), "their reads failed"
    finally:
        slow.resume()
        for reader in readers:
            reader.kill()
            reader.wait()


def test_a_source_that_stalls_and_goes_on(halves: tuple[Path, Slow], mount) -> None:
    hf, slow = halves
    # By a mount of its own: pages that a process has mapped aren't dropped.
    with mount(hf, "--follow-links") as m:
        expected = (m.path / "global_step0/layer_01-model_00-model_states.pt").read_bytes()
    with mount(hf, "--follow-links") as m:
        file = m.path / "global_step0/layer_01-model_00-model_states.pt"
        slow.forget()
        slow.stall()
        reader = subprocess.Popen(["cat", file], stdout=subprocess.PIPE)
        assert wait_until(lambda: is_reading(reader.pid, file))
        slow.resume()
        assert reader.communicate(timeout=60)[0] == expected


def test_a_source_that_stalls_after_it_was_read_ahead(halves: tuple[Path, Slow], mount) -> None:
    """What was read a moment ago isn't in memory for sure: its readers can be interrupted, too."""
    hf, slow = halves
    slow.forget()
    shard = sum(file.stat().st_size for file in slow.path.iterdir())
    seen = slow.counted()[1]
    with mount(hf, "--follow-links") as m:
        with next(m.path.glob("*/*_optim_states.pt")).open("rb", buffering=0) as start:
            start.read(4096)        # of its pickle; the parameters are read ahead
            while seen < shard:
                seen += slow.counted()[1]
                time.sleep(0.02)
        file = m.path / "global_step0/layer_01-model_00-model_states.pt"
        slow.forget()
        slow.stall()
        reader = reading(file)
        try:
            assert wait_until(lambda: is_reading(reader.pid, file))
            reader.send_signal(signal.SIGINT)
            assert reader.wait(timeout=60)
        finally:
            slow.resume()
            reader.kill()
            reader.wait()


def reading(*paths: Path) -> subprocess.Popen:
    """A reader that SIGINT ends, though it may be ignored here, as it is in a shell's background."""
    return subprocess.Popen(["python3", "-c", READER, *paths], stderr=subprocess.DEVNULL,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def is_reading(process: int, path: Path) -> bool:
    """Whether it is in read(2) of the file: Python notes a signal that comes before, and reads all the same."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        number, descriptor = Path(f"/proc/{process}/syscall").read_text().split()[:2]
        return number == READ and os.readlink(f"/proc/{process}/fd/{int(descriptor, 16)}") == str(path)
    return False


def test_a_source_whose_server_dies(halves: tuple[Path, Slow], mount) -> None:
    """Its files give EIO, and the log says which; other files go on, and unmounting does."""
    hf, slow = halves
    names = "layer_01-model_00-model_states.pt", "layer_03-model_00-model_states.pt"
    # By a mount of its own: pages that a process has mapped aren't dropped.
    with mount(hf, "--follow-links") as m:
        right = {name: (m.path / "global_step0" / name).read_bytes() for name in names}
    with mount(hf, "--follow-links") as m:
        embedding, other = (m.path / "global_step0" / name for name in names)
        slow.forget()
        slow.process.kill()
        slow.process.wait()
        for _ in range(3):
            with pytest.raises(OSError) as failed:
                embedding.read_bytes()
            assert failed.value.errno == errno.EIO
            assert other.read_bytes() == right[names[1]]
        log = (m.path / ".zerofs/log").read_text()
        assert os.readlink(hf / next(name for name in os.listdir(hf) if (hf / name).is_symlink())).split("/")[-1] in log
