"""Random windows, each read in one of six ways, against trees that real Megatron-DeepSpeed saved: `make windows` in short."""
import random
from pathlib import Path

import pytest

import windows
from conftest import IS_BARE

SAVED = list(windows.saved_cases())
# Some of each kind: a thousandth of what `make windows` reads.
SHORT = SAVED[::16] if not IS_BARE else SAVED


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_windows_of_saved_trees(case: windows.Case, zerofs: Path, measured) -> None:
    counts = windows.Counts()
    windows.check(case, zerofs, None, 1, counts, 0, 500)
    measured(f"{case.name}: {counts.through_mount} windows through the mount")


@pytest.mark.skipif(IS_BARE, reason="mk_min.py needs SHARED/oracle")
def test_windows_of_a_layout_that_nobody_saved(zerofs: Path) -> None:
    seed = random.randrange(1 << 32)
    case = windows.random_case(random.Random(seed))
    windows.check(case, zerofs, None, seed, windows.Counts(), 0, 500)


def test_a_wrong_byte_is_found(golden: Path, mount, tmp_path: Path) -> None:
    """What all of this relies on."""
    with mount(golden / "hf/llama_bf16") as m:
        windows.copied(m.path, tmp_path / "reference")
        path = next((tmp_path / "reference").rglob("layer_03*"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(AssertionError, match="layer_03"):
            windows.read_windows(m.path, tmp_path / "reference", 3000, "1")
