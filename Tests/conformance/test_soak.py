"""`make soak` in short: readers who compare every byte, open files, layouts, and the daemon's memory meanwhile."""
from pathlib import Path

import soak


def test_load(zerofs: Path, measured) -> None:
    figures = soak.soak(zerofs, 10, readers=8, files=500, layouts=100)
    measured(f"soak: {figures}")
    assert figures.windows > 0 and soak.is_flat(figures.memory_kb)


def test_memory_that_grows_is_seen() -> None:
    assert soak.is_flat([50_000] * 10 + [51_000] * 10)
    assert not soak.is_flat([50_000 + 1000 * i for i in range(40)])
