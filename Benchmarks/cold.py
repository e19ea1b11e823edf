"""Cold and slow sources: a model on storage that takes its time for every request, and on a disk whose cache was dropped.

Each figure stands next to a parallel reader of the same source, in the same run: the faster of 16 x 4 MiB and 64 x 1 MiB. The
reference is the longer of it and of the same reader of the mount with everything in memory, where the storage isn't the bottleneck.
"""
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import inputs
import sparse_llama
from measure import MIB, compiled

GOAL, SOURCE_BYTES_GOAL, SOONER_GOAL = 0.8, 1.1, 4
LATENCIES_MS = (1, 10, 50)
TP = 3  # SmolLM2 has three heads of keys

# What a rank does, in a process of its own. DeepSpeed's classes are in the files.
LOAD = """
import sys, torch, deepspeed
for path in sys.argv[1:]:
    torch.load(path, map_location="cpu", weights_only=False)
"""
# Into the same MiB again and again; cat asks for 128 KiB at a time.
CAT = """
import os, sys
buffer = memoryview(bytearray(1 << 20))
for path in sys.argv[1:]:
    descriptor = os.open(path, os.O_RDONLY)
    while os.readv(descriptor, [buffer]): pass
    os.close(descriptor)
"""


@dataclass
class Cold:
    title: str
    reference: list[float] = field(default_factory=list)  # seconds
    ours: list[float] = field(default_factory=list)
    source: list[float] = field(default_factory=list)  # bytes read of the source, by bytes that it has
    requests: list[int] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(reference / ours for reference, ours in zip(self.reference, self.ours))


@dataclass
class OneRank:
    """What one rank of a model loads, by a mount and from a materialised tree on the same storage."""
    title: str
    count: int  # bytes of the rank's files
    ours: float  # seconds
    tree: float

    @property
    def sooner(self) -> float:
        return self.tree / self.ours


@dataclass
class Nodes:
    """What the ranks of some nodes read from the storage they share, in bytes: as `plan --reads` says, and as counted."""
    title: str
    planned: int
    largest: int  # of a node
    counted: list[int]  # of each node
    tree: int  # of a materialised tree


class SlowSource:
    """slow.c over a directory: what was asked of it is counted. `preload` is a library that changes what it reads."""

    def __init__(self, program: Path, root: Path, milliseconds: float, scratch: Path, preload: Path | None = None) -> None:
        self.path, self.stats = scratch / "slow", scratch / "slow.stats"
        self.path.mkdir(exist_ok=True)
        self.stats.write_text("")
        environment = os.environ | {"STATS": str(self.stats)} | ({"LD_PRELOAD": str(preload)} if preload else {})
        self.process = subprocess.Popen([program, root, str(int(milliseconds * 1000)), "2", self.path],
                                        env=environment, stderr=subprocess.DEVNULL)
        while not os.path.ismount(self.path):
            time.sleep(0.02)

    def counted(self) -> tuple[int, int]:
        """Requests and bytes since the last call."""
        lines = len(self.stats.read_text().splitlines())
        self.process.send_signal(signal.SIGUSR1)
        while len(found := self.stats.read_text().splitlines()) == lines:
            time.sleep(0.01)
        requests, count = found[-1].split()
        return int(requests), int(count)

    def drop(self) -> None:
        for file in self.path.rglob("*.*"):
            drop(file)

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.path], check=True)
        self.process.terminate()
        self.process.wait()


class Disk:
    """A directory on a disk, the cache of whose files is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def counted(self) -> tuple[int, int]:
        return 0, 0

    def drop(self) -> None:
        for file in self.path.iterdir():
            drop(file)

    def close(self) -> None:
        pass


def slow_program(tools: Path, scratch: Path) -> Path:
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True).split()
    subprocess.run(["cc", "-O2", "-w", tools / "slow.c", "-o", scratch / "slow.program", *flags], check=True)
    return scratch / "slow.program"


def drop(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def read_parallel(file: Path, threads: int, piece: int) -> float:
    descriptor, size = os.open(file, os.O_RDONLY), file.stat().st_size
    local = threading.local()

    def read(offset: int) -> None:
        if not hasattr(local, "buffer"):
            local.buffer = memoryview(bytearray(piece))
        os.preadv(descriptor, [local.buffer], offset)

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(0, size, piece)))
    seconds = time.perf_counter() - start
    os.close(descriptor)
    return seconds


def said(child: subprocess.Popen, word: str) -> None:
    """Waits until a program says that, beside what its modules have to say."""
    while (line := child.stdout.readline()).strip() != word:
        if not line:
            raise AssertionError(f"a reader ended with {child.wait()}")


def together(program: str, ranks: list[list[Path]]) -> float:
    """Seconds of programs that read at once, one for each list of files; they wait for a line when they have what they import.
    Not of their end, in which they give back what they have: half a second."""
    waiting = program.replace("for path", "print('ready', flush=True); sys.stdin.readline()\nfor path", 1) + "print('read', flush=True)"
    children = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", waiting, *map(str, files)], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True) for files in ranks]
    for child in children:
        said(child, "ready")
    start = time.perf_counter()
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        said(child, "read")
    seconds = time.perf_counter() - start
    for child in children:
        if child.wait():
            raise AssertionError(f"a reader ended with {child.returncode}")
    return seconds


@contextlib.contextmanager
def mounted(zerofs: Path, source: Path, point: Path, *layout: object) -> Iterator[Path]:
    point.mkdir(exist_ok=True)
    subprocess.run([zerofs, "mount", source, point, *map(str, layout)], check=True)
    try:
        yield point
    finally:
        subprocess.run([zerofs, "umount", point], check=True)


def ranks_files(point: Path, tp: int, only: str = "") -> list[list[Path]]:
    """Megatron-DeepSpeed's order: the model's states, the layers, then the rank's part of the optimizer's state."""
    step = point / "global_step0"
    return [[file for file in [
        *sorted(step.glob(f"mp_rank_{rank:02}_model_states.pt")), *sorted(step.glob(f"layer_*-model_{rank:02}-*.pt")),
        *sorted(step.glob(f"*zero_pp_rank_0_mp_rank_{rank:02}_optim_states.pt"))] if only in file.name] for rank in range(tp)]


def measure(zerofs: Path, slow: Path, hf: Path, scratch: Path, rounds: int, latencies=LATENCIES_MS, disk: Path | None = None
            ) -> list[Cold]:
    """`hf` is a directory of one `model.safetensors`; `disk` is where a copy of it on a disk goes."""
    found = []
    places = [(f"{ms} ms", lambda ms=ms: SlowSource(slow, hf, ms, scratch)) for ms in latencies]
    if disk:
        shutil.copytree(hf, disk)
        places.append(("disk", lambda: Disk(disk)))
    for name, place in places:
        source = place()
        try:
            found += [of_place(zerofs, name, source, scratch, rounds, *case) for case in (
                ("cat of the layers", CAT, 1, "layer_"), ("torch.load of the layers", LOAD, 1, "layer_"),
                ("torch.load of the optimizer's file", LOAD, 1, "optim"), ("MDS's order", LOAD, 1, ""),
                ("MDS's order, three ranks", LOAD, TP, ""))]
        finally:
            source.close()
    return found


def of_place(zerofs: Path, name: str, source: SlowSource | Disk, scratch: Path, rounds: int, title: str, program: str,
             tp: int, only: str) -> Cold:
    cold = Cold(f"{title}, {name}")
    weights = source.path / "model.safetensors"
    for _ in range(rounds):
        parallel = []
        for threads, piece in ((16, 4 * MIB), (64, MIB)):
            source.drop()
            parallel.append(read_parallel(weights, threads, piece))
        with mounted(zerofs, source.path, scratch / "mnt", "--tp", tp) as point:
            ranks = ranks_files(point, tp, only)
            source.drop()
            source.counted()
            cold.ours.append(together(program, ranks))
            requests, count = source.counted()
            hot = together(program, ranks)
        cold.reference.append(max(min(parallel), hot))
        cold.source.append(count / weights.stat().st_size)
        cold.requests.append(requests)
        print(f"{cold.title}: ours {cold.ours[-1]:.2f} s, parallel {min(parallel):.2f}, hot {hot:.2f}, source x{cold.source[-1]:.2f} "
              f"in {requests} requests", flush=True)
    return cold


# What a rank of the first pipeline stage loads: the embedding and ten layers of eighty, and its part of the masters.
LAYOUT_70B = ("--tp", 8, "--pp", 8, "--dp", 16)
LAYERS_70B = 11


def one_rank_of_70b(zerofs: Path, slow: Path, scratch: Path, disk: Path, milliseconds: float) -> OneRank:
    """`disk` has 3 GB of room."""
    hf, tree, pattern = disk / "llama-3.3-70b-cold", disk / "tree", scratch / "patterned.so"
    inputs.sparse_model(hf, sparse_llama.MODELS["llama-3.3-70b"])
    # A plain rope: the files of another name a class of zerofs_megatron.
    configuration = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(configuration | {"rope_scaling": None}))
    compiled("patterned.c", pattern, "-shared", "-fPIC")

    def files(step: Path) -> list[Path]:
        return [step / "mp_rank_00_model_states.pt", *sorted(step.glob("layer_*-model_00-*"))[:LAYERS_70B],
                *step.glob("*zero_pp_rank_0_mp_rank_00_optim_states.pt")]

    with contextlib.closing(SlowSource(slow, hf, milliseconds, scratch, pattern)) as source:
        with mounted(zerofs, source.path, scratch / "mnt", *LAYOUT_70B) as point:
            step = point / "global_step0"
            names = [str(file.relative_to(point)) for file in files(step)]
            count = sum(file.stat().st_size for file in files(step))
            ours = together(LOAD, [files(step)])
        subprocess.run([zerofs, "materialize", source.path, tree, *map(str, LAYOUT_70B), "--files", *names], check=True,
                       stdout=subprocess.DEVNULL)
    with contextlib.closing(SlowSource(slow, tree, milliseconds, scratch)) as source:
        source.drop()
        theirs = together(LOAD, [[source.path / name for name in names]])
    shutil.rmtree(tree)
    return OneRank(f"Llama-3.3-70B, TP 8, PP 8, DP 16, {milliseconds:g} ms", count, ours, theirs)


LLAMA_8B = dict(layers=32, hidden=4096, heads=32, ffn=14336)
LAYOUT_8B = ("--tp", 4, "--pp", 4, "--dp", 3)


def four_nodes(zerofs: Path, slow: Path, scratch: Path, disk: Path) -> Nodes:
    """48 ranks of Llama-3.1-8B, twelve to a node. A node is a pipeline stage, with a mount and nothing in memory."""
    hf = disk / "llama-3.1-8b"
    inputs.sparse_model(hf, LLAMA_8B)
    planned = json.loads(subprocess.check_output([zerofs, "plan", hf, *map(str, LAYOUT_8B), "--reads", "--json"]))
    counted = []
    with contextlib.closing(SlowSource(slow, hf, 0, scratch)) as source:
        for stage in range(4):
            source.drop()
            with mounted(zerofs, source.path, scratch / "mnt", *LAYOUT_8B) as point:
                source.counted()
                together(CAT, [files_of(point / "global_step0", stage, tp, dp) for tp in range(4) for dp in range(3)])
                counted.append(source.counted()[1])
    return Nodes("Llama-3.1-8B, TP 4, PP 4, DP 3", planned["allNodes"]["bytes"], planned["largestNode"]["bytes"], counted,
                 planned["allNodes"]["treeBytes"])


def files_of(step: Path, stage: int, tp: int, dp: int) -> list[Path]:
    """MDS numbers its layers from 1, the embedding's; the first block is 2."""
    def is_ours(layer: Path) -> bool:
        block = int(layer.name.split("-")[0].removeprefix("layer_")) - 2
        return min(max(block, 0) // (LLAMA_8B["layers"] // 4), 3) == stage
    model = stage * 4 + tp
    return [step / f"mp_rank_{model:02}_model_states.pt", *filter(is_ours, sorted(step.glob(f"layer_*-model_{tp:02}-*"))),
            step / f"bf16_zero_pp_rank_{dp}_mp_rank_{model:02}_optim_states.pt"]


def main() -> None:
    zerofs, slow, hf, scratch = (Path(word).resolve() for word in sys.argv[1:5])
    rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    latencies = [float(word) for word in sys.argv[6].split(",")] if len(sys.argv) > 6 else LATENCIES_MS
    scratch.mkdir(exist_ok=True)
    for cold in measure(zerofs, slow, hf, scratch, rounds, latencies):
        print(f"{cold.title}: {cold.ratio:.2f}")


if __name__ == "__main__":
    main()
