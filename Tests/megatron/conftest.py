"""Real Megatron-DeepSpeed with zerofs_megatron: make megatron MEGATRON_DEEPSPEED=CHECKOUT [OTHER_MEGATRON_DEEPSPEED=CHECKOUT]

The second checkout, of the other fork, is tried with a subset. A session ends with a table of what was measured.
"""
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "conformance"))
import environment  # noqa: F401  (what torch and DeepSpeed need on a CPU)
from training import SHARED


def checkout_of(variable: str) -> Path | None:
    path = os.environ.get(variable)
    if path and not (Path(path) / "megatron/model").is_dir():
        raise pytest.UsageError(f"{variable}: {path} is no checkout of Megatron-DeepSpeed")
    return Path(path).resolve() if path else None


CHECKOUT, OTHER = checkout_of("MEGATRON_DEEPSPEED"), checkout_of("OTHER_MEGATRON_DEEPSPEED")
CASES = json.loads((SHARED / "golden/extension/cases.json").read_text())
SERVED = [name for name in CASES if name != "x_qwen3_moe"]      # DeepSpeed 0.19 can't save MDS's MoE models
CUTTABLE = [name for name in SERVED if not CASES[name]["extension"].get("one_kv_head")]
MEASURED: dict[str, dict[str, str]] = {}      # row: column: cell


def pytest_configure() -> None:
    if CHECKOUT is None:
        raise pytest.UsageError("MEGATRON_DEEPSPEED names no checkout of Megatron-DeepSpeed: see `make help`")


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(params=[p for p in (CHECKOUT, OTHER) if p], ids=lambda p: p.name, scope="session")
def each_checkout(request) -> Path:
    return request.param


@pytest.fixture(scope="session")
def measured():
    def write(row: str, column: str, cell: str) -> None:
        MEASURED.setdefault(row, {})[column] = cell
    return write


def pytest_terminal_summary(terminalreporter) -> None:
    if not MEASURED:
        return
    terminalreporter.section("measured")
    columns = list(dict.fromkeys(c for cells in MEASURED.values() for c in cells))
    rows = [["", *columns], *([name, *(cells.get(c, "") for c in columns)] for name, cells in MEASURED.items())]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        terminalreporter.write_line("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip())
