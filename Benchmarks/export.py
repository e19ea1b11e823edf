"""A checkpoint as a Hugging Face directory, read by mappings, next to the same files through a C FUSE file system: libfuse's example
passthrough_ll, with its page cache. Each time from a fresh mount, so that nothing of it is in the page cache."""
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

import twin
from measure import Probe, Row, Timed, compiled, run_rounds
from mounting import Mount, mounted

EXAMPLES = Path("/usr/share/doc/libfuse3-dev/examples")
WEIGHTS = "model.safetensors"
PROCESSES = 8


def rows() -> list[Row]:
    return [Row("load_file and touch / passthrough_ll", "load_file", "load_file: C", 0.7),
            Row(f"{PROCESSES} processes map all / passthrough_ll", "map", "map: C", 0.7)]


def measure(binary: Path, scratch: Path, smollm2: Path, rounds: int) -> list[Row]:
    """`scratch` is on tmpfs."""
    tree, files = scratch / "export-tree", scratch / "export-files"
    subprocess.run([binary, "materialize", smollm2, tree], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([binary, "materialize", tree, files, "--as", "hf"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True).split()
    subprocess.run(["gcc", "-O2", "-o", scratch / "passthrough_ll", EXAMPLES / "passthrough_ll.c", *flags], check=True)
    mappers = compiled("mappers.c", scratch / "mappers.bin")

    mountpoint = scratch / "export"
    mountpoint.mkdir()

    def ours() -> contextlib.AbstractContextManager[Mount]:
        return mounted(binary, tree, mountpoint, "--as", "hf")

    def theirs() -> contextlib.AbstractContextManager[Mount]:
        return twin.serving(mountpoint, scratch / "passthrough_ll", "-f", "-o", f"source={files},cache=always", mountpoint)

    def probe(mount: Callable[[], contextlib.AbstractContextManager[Mount]], read: Callable[[Path], Timed]) -> Probe:
        def run() -> Timed:
            with mount() as m:
                return read(m.path / WEIGHTS)
        return Probe(run)

    def mapping(file: Path) -> Timed:
        return Timed(file.stat().st_size * PROCESSES, float(subprocess.check_output([mappers, file, str(PROCESSES)])))

    table = rows()
    run_rounds({"load_file": probe(ours, _load), "load_file: C": probe(theirs, _load),
                "map": probe(ours, mapping), "map: C": probe(theirs, mapping)}, table, rounds)
    return table


def _load(file: Path) -> Timed:
    start = time.perf_counter()
    for tensor in load_file(file).values():
        tensor.flatten()[::2048].sum()     # one element of each page
    return Timed(file.stat().st_size, time.perf_counter() - start)


def main() -> None:
    """export.py ZEROFS SCRATCH SMOLLM2 [ROUNDS], with PYTHONPATH=Tests/conformance."""
    binary, scratch, smollm2 = map(Path, sys.argv[1:4])
    for row in measure(binary.resolve(), scratch, smollm2, int(sys.argv[4]) if len(sys.argv) > 4 else 9):
        values = ", ".join(f"{ours:.2f}/{theirs:.2f}" for ours, theirs in row.values)
        print(f"{row.title}: {row.median:.2f} (goal {row.goal}); GB/s {values}")


if __name__ == "__main__":
    main()
