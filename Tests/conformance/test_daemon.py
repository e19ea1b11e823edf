"""zerofs as a process: its limits, and mounts that ask too much of it."""
import resource
import subprocess
from pathlib import Path

import pytest

from mounting import mounts_at, run

LAYOUT = 4  # exit status


def test_more_shards_than_the_soft_limit_of_descriptors(tiny: Path, zerofs: Path) -> None:
    shards = len(list(tiny.glob("*.safetensors")))
    assert shards >= 4
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    done = subprocess.run([zerofs, "plan", tiny], capture_output=True, text=True, timeout=60,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (shards + 2, hard)))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("layout", [("--tp", 2, "--dp", 1048576, "--zero-stage", 3, "--no-pipeline-parallel"),
                                    ("--dp", 1048576, "--sp", 1048576), ("--tp", 1048576, "--pp", 1048576, "--dp", 1048576, "--sp", 1048576)])
@pytest.mark.parametrize("verb", ["mount", "plan", "materialize"])
def test_more_ranks_than_there_can_be(tiny: Path, zerofs: Path, mountpoint: Path, verb: str, layout: tuple) -> None:
    """Refused before the names of its files are made, which would take gigabytes."""
    limit = 2 << 30
    done = subprocess.run([zerofs, verb, tiny, *([] if verb == "plan" else [mountpoint]), *map(str, layout)],
                          capture_output=True, text=True, timeout=60,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert done.returncode == LAYOUT, done.stderr
    assert "more than 1048576 ranks" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not mounts_at(mountpoint)


def test_control_characters_of_json_are_escaped(tiny: Path, zerofs: Path) -> None:
    index = tiny / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"x\\n\\u001b[31mzerofs: all is well": "absent\\u001b[0m"}}')
    done = run(zerofs, "plan", tiny)
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr and "\\u{1b}" in done.stderr
