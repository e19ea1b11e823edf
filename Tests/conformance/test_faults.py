"""A mount while things happen to it: writes, sources that change under it, signals, a daemon that was killed."""
import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mounting import daemon_of, mounted, mounts_at, run, wait_until

STATES = "global_step0/mp_rank_00_model_states.pt"


@pytest.mark.parametrize("write", [
    pytest.param(lambda top: open(top / STATES, "r+b"), id="open for writing"),
    pytest.param(lambda top: open(top / "new", "wb"), id="create"),
    pytest.param(lambda top: os.truncate(top / STATES, 0), id="truncate"),
    pytest.param(lambda top: (top / STATES).unlink(), id="unlink"),
    pytest.param(lambda top: (top / "latest").rename(top / "last"), id="rename"),
    pytest.param(lambda top: (top / "new").mkdir(), id="mkdir"),
    pytest.param(lambda top: (top / "global_step0").rmdir(), id="rmdir"),
    pytest.param(lambda top: (top / "new").symlink_to("latest"), id="symlink"),
    pytest.param(lambda top: os.link(top / "latest", top / "last"), id="link"),
    pytest.param(lambda top: (top / "latest").chmod(0o600), id="chmod"),
    pytest.param(lambda top: os.chown(top / "latest", 1, 1), id="chown"),
    pytest.param(lambda top: os.utime(top / "latest"), id="utime"),
    pytest.param(lambda top: os.setxattr(top / "latest", "user.a", b"b"), id="setxattr"),
])
def test_writes_get_erofs(tiny: Path, mount, write: Callable[[Path], object]) -> None:
    with mount(tiny) as m:
        with pytest.raises(OSError) as refused:
            write(m.path)
        assert refused.value.errno == errno.EROFS
        assert (m.path / "latest").read_text() == "global_step0"


def change(shard: Path) -> None:
    with shard.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")


def truncate(shard: Path) -> None:
    os.truncate(shard, shard.stat().st_size // 2)


def replace(shard: Path) -> None:
    copy = shard.with_suffix(".copy")
    shutil.copy(shard, copy)
    copy.rename(shard)


def remove(shard: Path) -> None:
    shard.unlink()


def rewrite(shard: Path) -> None:
    """In place, and the time is set back."""
    before = shard.stat()
    change(shard)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("happens", [change, truncate, replace, remove, rewrite])
def test_source_that_is_no_longer_what_it_was(tiny: Path, zerofs: Path, mountpoint: Path, tmp_path: Path,
                                              happens: Callable[[Path], None]) -> None:
    shards = json.loads((tiny / "model.safetensors.index.json").read_text())["weight_map"]
    shard = shards["model.layers.1.mlp.down_proj.weight"]
    assert shard != shards["model.embed_tokens.weight"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        daemon = subprocess.Popen([zerofs, "mount", "-f", tiny, mountpoint], stderr=stderr)
    try:
        assert wait_until(lambda: mounts_at(mountpoint)), log.read_text()
        step = mountpoint / "global_step0"
        whole = (step / "layer_03-model_00-model_states.pt").read_bytes()
        assert len(whole) == (step / "layer_03-model_00-model_states.pt").stat().st_size
        time.sleep(0.02)
        happens(tiny / shard)
        for name in ("layer_03-model_00-model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"):
            with pytest.raises(OSError) as refused:
                (step / name).read_bytes()
            assert refused.value.errno == errno.EIO, name
        assert (step / "layer_01-model_00-model_states.pt").read_bytes(), "another shard's file still reads"
        assert daemon.poll() is None, "the daemon must survive"
        assert shard in log.read_text(), "the log says which source"
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0, log.read_text()
    assert not mounts_at(mountpoint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_signals_unmount(tiny: Path, zerofs: Path, mountpoint: Path, number: signal.Signals) -> None:
    with mounted(zerofs, tiny, mountpoint) as m:
        os.kill(m.pid, number)
        assert wait_until(lambda: not mounts_at(mountpoint)), f"still mounted after {number.name}"
        assert wait_until(lambda: not Path(f"/proc/{m.pid}").exists()), "the daemon is still there"
    assert not list(mountpoint.iterdir())


def is_dead(mountpoint: Path) -> bool:
    """The kernel remembers attributes, so only a question to the daemon tells."""
    try:
        os.statvfs(mountpoint)
        return False
    except OSError as error:
        return error.errno == errno.ENOTCONN


def test_mounts_over_the_dead_mount_of_a_killed_daemon(tiny: Path, zerofs: Path, mountpoint: Path) -> None:
    assert run(zerofs, "mount", tiny, mountpoint).returncode == 0
    os.kill(daemon_of(mountpoint), signal.SIGKILL)
    assert wait_until(lambda: is_dead(mountpoint)), "the mount should be dead by now"
    with mounted(zerofs, tiny, mountpoint) as m:
        assert (m.path / "latest").read_text() == "global_step0"
        assert len(mounts_at(mountpoint)) == 1


def test_umount_of_what_is_not_mounted(zerofs: Path, mountpoint: Path) -> None:
    done = run(zerofs, "umount", mountpoint)
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 1
