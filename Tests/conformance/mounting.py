"""The zerofs program as tests and the demo use it: run it, mount for the length of a block, look at its daemon."""
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Mount:
    path: Path
    pid: int
    seconds: float  # from exec to the command's return, when the mount can be read

    def rss_anon_kb(self) -> int:
        """The daemon's private memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise LookupError(f"no RssAnon for process {self.pid}")

    def bytes_written(self) -> int:
        """Bytes that the daemon caused to be sent to storage."""
        counters = dict(line.split(": ") for line in Path(f"/proc/{self.pid}/io").read_text().splitlines())
        return int(counters["write_bytes"])


def run(binary: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def mounts_at(mountpoint: Path) -> list[str]:
    # By b"\n" and b" " alone: sources of other mounts may have whatever Unicode takes for a line's end or a space.
    lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")[:-1]
    wanted = os.fsencode(mountpoint.resolve()).replace(b"\\", b"\\134").replace(b" ", b"\\040")
    return [os.fsdecode(line) for line in lines if line.split(b" ")[4] == wanted]


def daemon_of(mountpoint: Path) -> int:
    """The process whose command line names the mountpoint."""
    wanted = os.fsencode(mountpoint)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if wanted in words and b"mount" in words:
                return int(process.name)
    raise LookupError(f"no process serves {mountpoint}")


def wait_until(condition, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(done)


@contextlib.contextmanager
def mounted(binary: Path, hf: Path, mountpoint: Path, *layout: object) -> Iterator[Mount]:
    mountpoint = mountpoint.resolve()
    start = time.perf_counter()
    result = run(binary, "mount", hf, mountpoint, *layout)
    seconds = time.perf_counter() - start
    assert result.returncode == 0, f"zerofs mount failed ({result.returncode}): {result.stderr}"
    try:
        yield Mount(mountpoint, daemon_of(mountpoint), seconds)
    finally:
        if mounts_at(mountpoint):
            result = run(binary, "umount", mountpoint)
            assert result.returncode == 0, f"zerofs umount failed ({result.returncode}): {result.stderr}"


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[tuple[Path, list[subprocess.Popen]]]:
    """Two nodes, as mount namespaces with a runtime directory each: a program that goes to the node of its MPI rank, of two ranks
    each, and the processes that keep the nodes. Needs root."""
    keep = "mount -t tmpfs tmpfs /run && exec sleep 1000"
    kept = [subprocess.Popen(["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", keep]) for _ in range(2)]
    enter = folder / "enter"
    enter.write_text("#!/bin/sh\nif [ $PMI_RANK -lt 2 ]; then node={}; else node={}; fi\n"
                     "exec nsenter -t $node -m -u -- sh -c 'cd \"$0\" && exec \"$@\"' \"$PWD\" \"$@\"\n"
                     .format(*(process.pid for process in kept)))
    enter.chmod(0o755)
    try:
        while not all("sleep" in Path(f"/proc/{process.pid}/comm").read_text() for process in kept):
            time.sleep(0.01)
        yield enter, kept
    finally:
        for process in kept:
            process.kill()
            process.wait()
