"""Tiny models of many families in real MDS, through oracle.py: one process for many cases, one MDS for each."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


class Result(NamedTuple):
    said: str
    difference: float | None      # the largest, of the logits, from transformers'; None where MDS failed
    losses: list[float]
    ranks: list[dict]


def start(checkout: Path, out: Path, cases: list[str], *options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", str(HERE / "oracle.py"), str(out), *cases, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE, timeout=3600,
                          env=os.environ | {"MEGATRON_DEEPSPEED": str(checkout)})


def make(checkout: Path, out: Path, cases: list[str], *options: object) -> None:
    """The models alone, in `out`/hf."""
    done = start(checkout, out, cases, "--make", *options)
    assert done.returncode == 0, done.stderr[-4000:]


def run(checkout: Path, out: Path, cases: list[str], *options: object, extended: bool = True) -> dict[str, Result]:
    done = start(checkout, out, cases, *options, *["--extension"] * extended)
    lines = re.findall(r"^tp\d.*$", done.stdout, re.M)
    assert done.returncode == 0 and len(lines) == len(cases), f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return {case: result(out, case, line) for case, line in zip(cases, lines)}


def result(out: Path, case: str, line: str) -> Result:
    files = [p for p in (out / f"trees/{case}.load.json", out / f"trees/{case}.save.json") if p.is_file()]
    ranks = json.loads(files[0].read_text())["ranks"]
    found = re.search(r" d32=(\S+)", line)
    return Result(line, float(found[1]) if found else None, ranks[0].get("losses", []) if ranks else [], ranks)
