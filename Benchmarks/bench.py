#!/usr/bin/env python3
"""bench.py ZEROFS: measures speed, size and cost next to references, and writes RESULTS.md, ratios.svg and results.json beside itself.

Takes a few minutes and about 4 GB of tmpfs. Point 5 needs MEGATRON_DEEPSPEED (a checkout) and --oracle.
"""
import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFORMANCE = HERE.parent / "Tests/conformance"
sys.path.insert(0, str(CONFORMANCE))
warnings.filterwarnings("ignore")

import chart
import cold
import converter
import export
import machine
import processors
import report
import scale
import storage
import throughput


def smollm2(out: Path) -> Path:
    subprocess.run([sys.executable, CONFORMANCE / "smollm2.py", out], check=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zerofs", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"), help="a directory on tmpfs")
    parser.add_argument("--disk", type=Path, default=Path(".build-bench"), help="a directory on a disk")
    parser.add_argument("--smollm2", type=Path, default=Path(".build-conformance/smollm2"))
    parser.add_argument("--oracle", type=Path, help="where mds_run.py is")
    parser.add_argument("--tools", type=Path, help="where slow.c is: without it cold sources aren't measured")
    options = parser.parse_args()
    binary, start = options.zerofs.resolve(), time.monotonic()
    options.disk.mkdir(parents=True, exist_ok=True)
    described = machine.description()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:4.0f} s] {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="zerofs-bench.", dir=options.tmpfs) as scratch, \
            tempfile.TemporaryDirectory(dir=options.disk) as disk:
        scratch, disk = Path(scratch), Path(disk).resolve()
        say("full size: exec to ready, listing, memory")
        sizes = list(scale.full_size(binary, scratch, disk, options.rounds))
        say("growth: twice the layers, shards, ranks")
        grown = list(scale.growth(binary, scratch, disk, 3))
        if os.environ.get("MEGATRON_DEEPSPEED") and options.oracle:
            say("against Megatron-DeepSpeed's converter")
            against = report.converter(*converter.compare(
                binary, scratch, smollm2(options.smollm2), options.oracle.resolve()))
        else:
            against = report.earlier_converter()
            say("MEGATRON_DEEPSPEED is not set: the comparison with its converter stays as it was")
        say(f"on disk: {options.rounds} rounds")
        stored = storage.measure(binary, scratch, disk, smollm2(options.smollm2), options.rounds)
        if options.tools:
            say("cold sources")
            # MDS's enums, which its checkpoints name.
            os.environ["PYTHONPATH"] = str(options.tools.resolve().parent / "oracle/stubs/megatron_enums")
            program = cold.slow_program(options.tools, scratch)
            slow = cold.measure(binary, program, smollm2(options.smollm2), scratch, 3, disk=disk / "cold")
            ranks = [cold.one_rank_of_70b(binary, program, scratch, disk, 10)]
            nodes = [cold.four_nodes(binary, program, scratch, disk)]
        else:
            slow, ranks, nodes = [], [], []
        say("many processors")
        served = processors.measure(binary, smollm2(options.smollm2), scratch, options.rounds)
        say(f"Hugging Face directories: {options.rounds} rounds")
        exported = export.measure(binary, scratch, smollm2(options.smollm2), options.rounds)
        say(f"throughput: {options.rounds} rounds")
        rows = throughput.measure(binary, scratch, disk, options.rounds)

    chart.draw(rows, f"{described['date']}, {described['CPU']}", HERE / "ratios.svg")
    sections = [report.throughput(rows, options.rounds), report.sizes(sizes), report.growth(grown), report.storage(stored, options.rounds),
                report.exported(exported, options.rounds), report.cold(slow, ranks, nodes),
                report.processors(served, options.rounds), against]
    report.write([report.head(described, time.monotonic() - start), *sections])
    raw = {"machine": described, "rows": [vars(row) for row in rows + stored.rows + exported], "sizes": [dataclasses.asdict(s) for s in sizes],
           "growth": [dataclasses.asdict(g) for g in grown], "archives": [dataclasses.asdict(a) for a in stored.archives],
           "cold": [dataclasses.asdict(c) for c in slow], "one_rank": [dataclasses.asdict(r) for r in ranks],
           "nodes": [dataclasses.asdict(n) for n in nodes], "processors": served}
    rounded = json.loads(json.dumps(raw), parse_float=lambda text: float(f"{float(text):.5g}"))
    (HERE / "results.json").write_text(json.dumps(rounded) + "\n")
    print("\n" + "\n".join(sections))
    missed = [row.title for row in rows + stored.rows + exported if not row.is_met]
    say(f"Benchmarks/RESULTS.md written; goals missed: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
