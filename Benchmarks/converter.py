"""What a user would run instead (issue 6, point 5): MDS's own converter, on SmolLM2-135M, and what training makes of
either checkpoint.

The oracle's mds_run.py does what tools/hf2megads_weight_converter.py does (DeepSpeed's own Adam; the weights copied
after deepspeed.initialize), but on a CPU.
"""
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import environment  # noqa: F401  ninja, and where its ops are kept
from mounting import mounted

TP, PP, STEPS = 1, 1, 4


@dataclass
class Way:
    """One way to a loadable checkpoint."""
    title: str
    seconds: float
    peak_mb: float
    written_mb: float
    losses: list[float] | str  # or why training failed


def compare(binary: Path, scratch: Path, hf: Path, oracle: Path) -> tuple[list[float], list[Way]]:
    """The losses of a run that starts from the same weights without any checkpoint, and the ways."""
    def run(name: str, *options: object) -> tuple[float, float, list[float] | str]:
        """Wall seconds, peak MB of any of its processes, losses, or the last line of a run that failed."""
        out, log = scratch / f"{name}.json", scratch / f"{name}.log"
        command = [sys.executable, oracle / "mds_run.py", "--hf", hf, "--tp", TP, "--pp", PP, "--out", out,
                   "--quiet", "--timeout", 900, *options]
        start = time.perf_counter()
        with log.open("w") as file:
            process = subprocess.Popen([*map(str, command)], stdout=file, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, peak = time.perf_counter() - start, usage.ru_maxrss / 1000
        if process.returncode != 0:
            return seconds, peak, log.read_text().strip().splitlines()[-1].partition("FAIL ")[2] or "failed"
        return seconds, peak, _losses(json.loads(out.read_text()))

    def needed(result: tuple[float, float, list[float] | str]) -> tuple[float, float, list[float] | str]:
        assert not isinstance(result[2], str), f"mds_run.py failed: {result[2]}"
        return result

    converted, unused = scratch / "converted", scratch / "unused"
    seconds, peak, _ = needed(run("convert", "--mode", "save", "--no-client-optimizer", "--after-init", "--dir", converted))
    written = sum(file.stat().st_size for file in converted.rglob("*") if file.is_file()) / 1e6
    train = ("--mode", "train", "--steps", STEPS, "--dir")
    ways = [Way(f"MDS's converter, {how}", seconds, peak, written, run(f"train-{number}", *train, converted, *options)[2])
            for number, (how, options) in enumerate([
                ("full load", []), ("full load without a scheduler", ["--no-client-optimizer"]),
                ("`--finetune`", ["--finetune"])])]
    mountpoint = scratch / "mount-smollm2"
    mountpoint.mkdir(exist_ok=True)
    with mounted(binary, hf, mountpoint, "--tp", TP, "--pp", PP, "--device", "cpu") as m:
        # The run's schedule isn't told: the flags of docs/usage.md for that.
        losses = run("train-mounted", *train, mountpoint, "--mds=--no-load-rng --override-opt_param-scheduler")[2]
        ways.append(Way("zerofs mount, full load", m.seconds, m.rss_anon_kb() / 1000, m.bytes_written() / 1e6, losses))
    _, _, reference = needed(run("reference", "--mode", "save", "--steps", STEPS, "--dir", unused))
    return reference, ways


def _losses(result: object) -> list[float]:
    """The losses that any rank reports."""
    if isinstance(result, dict):
        if result.get("losses"):
            return result["losses"]
        result = list(result.values())
    if isinstance(result, list):
        for part in result:
            if found := _losses(part):
                return found
    return []
