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
    with serving(mountpoint, binary, mountpoint, source, offset, count, head) as mount:
        yield mount


@contextlib.contextmanager
def serving(mountpoint: Path, *command: object) -> Iterator[Mount]:
    """A file system of another program, in the foreground, at `mountpoint`."""
    mountpoint.mkdir(exist_ok=True)
    # A session of its own, like the daemon's: the scheduler shares a busy machine out among sessions (autogroup).
    program = subprocess.Popen([*map(str, command)], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: os.path.ismount(mountpoint)), f"{command[0]} did not mount"
        yield Mount(mountpoint, program.pid, 0)
    finally:
        program.terminate()
        program.wait()
