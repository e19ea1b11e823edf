"""The C twin (twin.c): built, and mounted for the length of a block."""
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mounting import Mount, wait_until


def build(out: Path) -> Path:
    """-O3, because gcc's -O2 does not vectorise everything that swiftc -O does."""
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True).split()
    source = Path(__file__).with_name("twin.c")
    subprocess.run(["gcc", "-std=c11", "-O3", "-Wall", "-Werror", "-o", out, source, *flags], check=True)
    return out


@contextlib.contextmanager
def mounted(binary: Path, mountpoint: Path, source: Path, offset: int, count: int, head: int) -> Iterator[Mount]:
    """Serves `count` bytes of `source` from `offset` on, behind `head` bytes."""
    mountpoint.mkdir(exist_ok=True)
    # A session of its own, like the daemon's: the scheduler shares a busy machine out among sessions (autogroup).
    twin = subprocess.Popen([binary, mountpoint, source, *map(str, (offset, count, head))], start_new_session=True)
    try:
        assert wait_until(lambda: os.path.ismount(mountpoint)), "the C twin did not mount"
        yield Mount(mountpoint, twin.pid, 0)
    finally:
        twin.terminate()
        twin.wait()
