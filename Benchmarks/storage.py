"""Trees on disk and archives (materialize, verify): SmolLM2-135M at ZeRO 1, and one layer's files of a 70B model."""
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import inputs
import sparse_llama
from measure import Probe, Row, run_measured, run_rounds

LAYOUT = ["--tp", 1, "--pp", 1, "--dp", 2, "--zero-stage", 1]
MOMENTS = ["--moments", "zeros"]


@dataclass
class Archive:
    """Sizes in bytes; rates in bytes of the tree per second."""
    title: str
    tree: int
    archive: int
    compress: list[float]
    decompress: list[float]


@dataclass
class Found:
    rows: list[Row]
    archives: list[Archive]
    peak_kb: dict[str, int]


def measure(binary: Path, scratch: Path, disk: Path, smollm2: Path, rounds: int) -> Found:
    """`scratch` is on tmpfs, `disk` on a disk."""
    peak: dict[str, int] = {}

    def zerofs(name: str, *arguments: object) -> None:
        _, kb = run_measured(binary, *arguments)
        peak[name] = max(peak.get(name, 0), kb)

    trees = {"tmpfs": scratch / "tree", "disk": disk / "tree"}
    for tree in trees.values():
        zerofs("materialize", "materialize", smollm2, tree, *LAYOUT, *MOMENTS)
    size = size_of(trees["tmpfs"])

    def materialize(place: Path) -> Probe:
        def run() -> int:
            zerofs("materialize", "materialize", smollm2, place, *LAYOUT, *MOMENTS)
            return size
        return Probe(run, after=lambda: shutil.rmtree(place))

    def copy(tree: Path, place: Path, sync: bool) -> Probe:
        def run() -> int:
            subprocess.run(["cp", "-r", tree, place], check=True)
            if sync:
                subprocess.run(["sync", "-f", place], check=True)
            return size
        return Probe(run, after=lambda: shutil.rmtree(place))

    rows = [Row("materialize / cp -r of the tree, tmpfs", "tmpfs", "cp: tmpfs", 1.0),
            Row("materialize / cp -r of the tree and sync, disk", "disk", "cp: disk", 1.0)]
    run_rounds({"tmpfs": materialize(scratch / "out"), "cp: tmpfs": copy(trees["tmpfs"], scratch / "out", False),
                "disk": materialize(disk / "out"), "cp: disk": copy(trees["disk"], disk / "out", True)}, rows, rounds)

    archives = []
    for title, options in (("moments: zeros", MOMENTS), ("moments: none", [])):
        archive, out = scratch / "model.zarc", scratch / "out"
        rates: dict[str, list[float]] = {"compress": [], "decompress": []}
        for _ in range(rounds):
            archive.unlink(missing_ok=True)
            seconds = timed(lambda: zerofs("compress", "materialize", smollm2, archive, *LAYOUT, *options,
                                           "--compress", "zstd"))
            rates["compress"].append(seconds)
            rates["decompress"].append(timed(lambda: zerofs("decompress", "materialize", archive, out)))
            tree = size_of(out)
            shutil.rmtree(out)
        archives.append(Archive(title, tree, archive.stat().st_size,
                                *[[tree / seconds for seconds in rates[name]] for name in ("compress", "decompress")]))

    hf = disk / "llama-3.3-70b-storage"
    inputs.sparse_model(hf, sparse_llama.MODELS["llama-3.3-70b"])
    zerofs("materialize, 70B", "materialize", hf, scratch / "out", "--tp", 8, "--pp", 6, "--dp", 64,
           "--files", "global_step0/layer_02-*", "global_step0/*_rank_0_mp_rank_0[01]_*")
    shutil.rmtree(scratch / "out")
    for tree in trees.values():
        shutil.rmtree(tree)
    return Found(rows, archives, peak)


def size_of(tree: Path) -> int:
    return sum(file.stat().st_size for file in tree.rglob("*") if file.is_file() and "manifest" not in file.name)


def timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
