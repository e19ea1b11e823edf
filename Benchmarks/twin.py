"""The C twin (twin.c): built, and mounted for the length of a block."""
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from measure import compiled
from mounting import Mount, wait_until


def build(out: Path) -> Path:
    return compiled("twin.c", out, *subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True).split())


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
