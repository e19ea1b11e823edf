"""Models by the Hub's names, from its cache on this machine."""
import os
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tiny: Path, tmp_path: Path) -> Path:
    """HF_HOME as hf download leaves it: blobs, links to them, a branch."""
    folder = tmp_path / "home/hub/models--org--tiny"
    for name in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (folder / name).mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    for number, file in enumerate(sorted(tiny.iterdir())):
        file.rename(folder / f"blobs/{number}")
        (folder / f"snapshots/{COMMIT}" / file.name).symlink_to(f"../../blobs/{number}")
    return tmp_path / "home"


def plan(zerofs: Path, name: str, **variables: object) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE", "XDG_"))}
    return subprocess.run([zerofs, "plan", name, "--json"], capture_output=True, text=True,
                          env=environment | {k: str(v) for k, v in variables.items()})


def test_a_name_is_its_snapshot(home: Path, zerofs: Path) -> None:
    found = Path(try_to_load_from_cache("org/tiny", "config.json", cache_dir=home / "hub")).parent
    wanted = plan(zerofs, str(found)).stdout
    assert wanted
    for variables in ({"HF_HOME": home}, {"HF_HUB_CACHE": home / "hub"}):
        assert plan(zerofs, "org/tiny", **variables).stdout == wanted
    for revision in ("main", COMMIT):
        assert plan(zerofs, f"org/tiny@{revision}", HF_HOME=home).stdout == wanted


@pytest.mark.parametrize("name", ["org/other", "org/tiny@v2", "org/tiny@../main"])
def test_what_is_not_there_is_said(name: str, home: Path, zerofs: Path) -> None:
    done = plan(zerofs, name, HF_HOME=home)
    assert done.returncode == 5 and "no such" in done.stderr.lower()
