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

from mounting import mounted

TP, PP, STEPS = 1, 1, 4


@dataclass
class Way:
    """One way to a loadable checkpoint."""
    title: str
    seconds: float
    peak_mb: float
    written_mb: float
    losses: list[float]


def compare(binary: Path, scratch: Path, hf: Path, oracle: Path) -> tuple[list[float], list[Way]]:
    """The losses of a run that starts from the same weights without any checkpoint, and the two ways."""
    def run(name: str, *options: object) -> tuple[float, float, list[float]]:
        """Wall seconds, peak MB of any of its processes, losses."""
        out, log = scratch / f"{name}.json", scratch / f"{name}.log"
        command = [sys.executable, oracle / "mds_run.py", "--hf", hf, "--tp", TP, "--pp", PP, "--out", out,
                   "--quiet", "--timeout", 900, *options]
        start = time.perf_counter()
        with log.open("w") as file:
            process = subprocess.Popen([*map(str, command)], stdout=file, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"mds_run.py failed:\n{log.read_text()[-2000:]}"
        ranks = json.loads(out.read_text())
        return time.perf_counter() - start, usage.ru_maxrss / 1000, _losses(ranks)

    converted, unused = scratch / "converted", scratch / "unused"
    seconds, peak, _ = run("convert", "--mode", "save", "--no-client-optimizer", "--after-init", "--dir", converted)
    written = sum(file.stat().st_size for file in converted.rglob("*") if file.is_file())
    train = ("--mode", "train", "--steps", STEPS, "--dir")
    ways = [Way("MDS's converter", seconds, peak, written / 1e6, run("train-converted", *train, converted)[2])]
    mountpoint = scratch / "mount-smollm2"
    mountpoint.mkdir(exist_ok=True)
    with mounted(binary, hf, mountpoint, "--tp", TP, "--pp", PP, "--device", "cpu") as m:
        losses = run("train-mounted", *train, mountpoint)[2]
        ways.append(Way("zerofs mount", m.seconds, m.rss_anon_kb() / 1000, m.bytes_written() / 1e6, losses))
    _, _, reference = run("reference", "--mode", "save", "--steps", STEPS, "--dir", unused)
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
