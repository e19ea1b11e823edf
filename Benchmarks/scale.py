"""Full size and growth (issue 6, points 3 and 4), on models whose tensors are holes."""
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import inputs
import sparse_llama
from measure import MIB, read, run_measured
from mounting import Mount, mounted

READ_BYTES = 10_000_000_000
RANDOM_READS = 20_000


@dataclass
class Size:
    """A model of full size; milliseconds, seconds and kB."""
    name: str
    layout: str
    ready_ms: list[float]
    ready_goal_ms: float
    listing_s: list[float]
    listed: int
    rss_start: int
    rss_read: int
    rss_random: list[int]  # after each fifth of the random reads


def full_size(binary: Path, scratch: Path, disk: Path, rounds: int) -> Iterator[Size]:
    for name, pp, goal in (("llama-3.3-70b", 6, 50), ("llama-3.1-405b", 16, 120)):
        hf, mountpoint = disk / name, scratch / f"mount-{name}"
        mountpoint.mkdir(exist_ok=True)
        inputs.sparse_model(hf, sparse_llama.MODELS[name])
        layout = ["--tp", 8, "--pp", pp, "--dp", 64]
        ready, listing = [], []
        for number in range(rounds):
            with mounted(binary, hf, mountpoint, *layout) as m:
                ready.append(m.seconds * 1000)
                if number < 3:  # each mount's first
                    start = time.perf_counter()
                    lines = subprocess.check_output(["ls", "-lR", m.path], text=True).count("-r--r--r--")
                    listing.append(time.perf_counter() - start)
        with mounted(binary, hf, mountpoint, *layout) as m:
            before = m.rss_anon_kb()
            files = sorted((m.path / "global_step0").glob("layer_*"))
            _read_together(files, 4)
            after = m.rss_anon_kb()
            yield Size(name, f"TP 8, PP {pp}, DP 64", ready, goal, listing, lines, before, after,
                       list(_random_reads(m, files)))


def _read_together(files: list[Path], readers: int) -> None:
    """Each reader has its own files, until all have read READ_BYTES together."""
    def work(index: int) -> None:
        left = READ_BYTES // readers
        for file in files[index::readers]:
            part = min(left, file.stat().st_size)
            left -= read(file, 0, part)
            if not left:
                return
        raise AssertionError("the model is too small")
    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(work, range(readers)))


def _random_reads(mount: Mount, files: list[Path]) -> Iterator[int]:
    """RssAnon after each fifth of RANDOM_READS windows anywhere in 64 files."""
    chance = random.Random(1)
    opened = [(os.open(file, os.O_RDONLY), file.stat().st_size) for file in chance.sample(files, 64)]
    for number in range(1, RANDOM_READS + 1):
        descriptor, size = chance.choice(opened)
        count = chance.choice((1, 4096, 65536, 100_000))
        os.pread(descriptor, count, chance.randrange(size - count))
        if number % (RANDOM_READS // 5) == 0:
            yield mount.rss_anon_kb()
    for descriptor, _ in opened:
        os.close(descriptor)


@dataclass
class Growth:
    """What one model costs in one layout; milliseconds and kB."""
    title: str
    layers: int
    shards: int
    ranks: int
    plan_ms: float
    plan_kb: int
    mount_ms: float
    mount_kb: int
    stat_ms: float
    read_ms: float
    read_kb: int


BASE = dict(layers=48, hidden=4096, heads=32, ffn=14336)
DENSE_SHARDS = 500_000_000


def growth(binary: Path, scratch: Path, disk: Path, rounds: int) -> Iterator[Growth]:
    """The base case, and twice as much of one thing at a time; the fastest of `rounds`, the noise being one-sided."""
    mountpoint = scratch / "mount-growth"
    mountpoint.mkdir(exist_ok=True)
    for number, (title, layers, shard_bytes, layout) in enumerate([
        ("base", 48, 2 * DENSE_SHARDS, (2, 4, 8)),
        ("2× layers", 96, 2 * DENSE_SHARDS, (2, 4, 8)),
        ("2× shards", 48, DENSE_SHARDS, (2, 4, 8)),
        ("2× ranks, by TP", 48, 2 * DENSE_SHARDS, (4, 4, 8)),
        ("2× ranks, by PP", 48, 2 * DENSE_SHARDS, (2, 8, 8)),
        ("2× ranks, by DP", 48, 2 * DENSE_SHARDS, (2, 4, 16)),
    ]):
        hf = disk / f"growth-{number}"
        shards = inputs.sparse_model(hf, BASE | {"layers": layers}, shard_bytes)
        tp, pp, dp = layout
        options = ["--tp", tp, "--pp", pp, "--dp", dp]
        runs = [_once(binary, hf, mountpoint, options) for _ in range(rounds)]
        yield Growth(title, layers, shards, tp * pp * dp, *(min(values) for values in zip(*runs)))


def _once(binary: Path, hf: Path, mountpoint: Path, options: list) -> tuple:
    seconds, plan_kb = run_measured(binary, "plan", hf, *options, "--json")
    with mounted(binary, hf, mountpoint, *options) as m:
        mount_kb = m.rss_anon_kb()
        file = m.path / "global_step0/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
        start = time.perf_counter()
        size = file.stat().st_size
        stat_ms = (time.perf_counter() - start) * 1000
        start = time.perf_counter()
        read(file, 0, min(size, MIB))
        read_ms = (time.perf_counter() - start) * 1000
        return seconds * 1000, plan_kb, m.seconds * 1000, mount_kb, stat_ms, read_ms, m.rss_anon_kb()
