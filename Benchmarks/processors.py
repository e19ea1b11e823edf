"""A node of 64 processors, simulated on a few (waiting.c): whether readers wait for each other in the daemon.

A copy of a window takes COPY seconds and no processor, and so does what a reader does between two reads; all else is real. Both are
fifty times as long as for a MiB, and the windows short, so that what is left for this machine's processors is little.
"""
import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

from measure import MIB, compiled

COUNTS = (1, 12, 24, 48, 64)
COPY, PAUSE = 0.005, 0.010  # seconds
REQUEST, READS = 8192, 60
GOAL = 0.9  # for the twelve ranks of a node
OPTIMIZER = "global_step0/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"


def measure(zerofs: Path, hf: Path, scratch: Path, rounds: int) -> dict[int, list[float]]:
    """Reads a second of each reader, next to those of one who reads alone in the same round; by how many there are."""
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    environment = os.environ | {"LD_PRELOAD": str(compiled("waiting.c", scratch / "waiting.so", "-shared", "-fPIC")),
                                "WAIT_US": str(int(COPY * 1e6))}
    point = scratch / "processors"
    point.mkdir()
    subprocess.run([zerofs, "mount", hf, point, "--tp", "1"], check=True, env=environment)
    try:
        for _ in range(rounds):
            speeds = {count: together(point / OPTIMIZER, count) for count in COUNTS}
            for count, speed in speeds.items():
                found[count].append(speed / speeds[1])
    finally:
        subprocess.run([zerofs, "umount", point], check=True)
    return found


def together(path: Path, count: int) -> float:
    """Reads a second of each of `count` threads, which read in order, at places of their own."""
    barrier = threading.Barrier(count + 1)

    def read(index: int) -> None:
        with contextlib.closing(path.open("rb", buffering=0)) as file:
            barrier.wait()
            for number in range(READS):
                if len(os.pread(file.fileno(), REQUEST, (index + 1) * MIB + number * REQUEST)) != REQUEST:
                    raise AssertionError(f"{path} is too short")
                time.sleep(PAUSE)
        barrier.wait()

    threads = [threading.Thread(target=read, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait(60)
    return READS / (time.perf_counter() - start)
