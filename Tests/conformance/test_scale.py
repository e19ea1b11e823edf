"""A 70B model, sparse on disk: the plan, the listing and every byte of one rank, in little memory."""
import contextlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from mounting import Mount, run

TP, PP = 8, 6
LAYOUT = ["--tp", TP, "--pp", PP]
PARAMETERS = 70_553_706_496
BUFFER = bytearray(8 << 20)


def read_to_end(path: Path) -> int:
    total = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(BUFFER):
            total += count
    return total


def test_plan(zerofs: Path, sparse70b: Path, measured) -> None:
    start = time.perf_counter()
    words = run(zerofs, "plan", sparse70b, *LAYOUT)
    measured(f"70B: plan: {time.perf_counter() - start:.3f} s")
    assert words.returncode == 0, words.stderr
    assert "rope" in words.stdout + words.stderr, "Megatron-DeepSpeed has no rope scaling: the plan must warn"
    plan = run(zerofs, "plan", sparse70b, *LAYOUT, "--json")
    assert plan.returncode == 0, plan.stderr
    plan = json.loads(plan.stdout)
    assert plan["model"]["layers"] == 80 and plan["layout"]["worldSize"] == TP * PP
    assert len(plan["files"]) == 83 * TP + 2 * TP * PP + 3
    assert sum(file["size"] for file in plan["files"]) == plan["totalBytes"]
    masters = sum(file["data"] for file in plan["files"] if file["path"].endswith("optim_states.pt"))
    assert masters == pytest.approx(4 * PARAMETERS, rel=1e-2)
    assert [rank["mpRank"] for rank in plan["ranks"]] == list(range(TP * PP))


def test_mount(sparse70b: Path, mount, measured) -> None:
    with mount(sparse70b, *LAYOUT) as m:
        measured(f"70B: ready after {m.seconds:.3f} s")
        listing(m, measured)
        one_rank(m, measured)
        memory_kb = m.rss_anon_kb()
        measured(f"70B: RssAnon {memory_kb} kB, written {m.bytes_written()} bytes")
        assert memory_kb < 64 * 1024
        assert m.bytes_written() == 0


def test_many_open_files(sparse70b: Path, mount, measured) -> None:
    """Each was read in order, for so long that the ones before count as readers no more, and stays open: what is composed ahead
    of them is bounded."""
    with mount(sparse70b, *LAYOUT) as m, contextlib.ExitStack() as stack:
        paths = sorted((m.path / "global_step0").glob("*_optim_states.pt"))
        files = [stack.enter_context(path.open("rb", buffering=0)) for path in paths for _ in range(5)]
        for file in files:
            for _ in range(20):
                assert file.readinto(memoryview(BUFFER)[:1 << 20]) == 1 << 20
        memory_kb = m.rss_anon_kb()
        measured(f"70B: {len(files)} files open, each read in order: RssAnon {memory_kb} kB")
        assert memory_kb < 64 * 1024


def listing(m: Mount, measured) -> None:
    start = time.perf_counter()
    done = subprocess.run(["ls", "-lR", m.path], capture_output=True, text=True)
    measured(f"70B: ls -lR: {time.perf_counter() - start:.3f} s, {len(done.stdout.splitlines())} lines")
    assert done.returncode == 0, done.stderr
    files = [f for f in (m.path / "global_step0").iterdir()]
    layers = [f for f in files if f.name.startswith("layer_")]
    states = [f for f in files if f.name.startswith("mp_rank_")]
    optimizers = [f for f in files if f.name.endswith("_optim_states.pt")]
    assert (len(layers), len(states), len(optimizers)) == (83 * TP, TP * PP, TP * PP)
    # norms stand in every tensor-parallel rank, the vocabulary of 128256 is padded to 126 * 1024
    norms, padding = (2 * 80 + 1) * 8192, 2 * (129024 - 128256) * 8192
    elements = PARAMETERS + (TP - 1) * norms + padding
    for group, width in ((layers, 2), (optimizers, 4)):
        size = sum(f.stat().st_size for f in group)
        assert size == pytest.approx(elements * width, rel=1e-3)
        assert size >= elements * width


def one_rank(m: Mount, measured) -> None:
    """What the first rank of the first stage opens: 14 layers, embedding, its states, its masters."""
    step, start, total = m.path / "global_step0", time.perf_counter(), 0
    names = [f"layer_{number:02d}-model_00-model_states.pt" for number in range(1, 16)]
    names += ["mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"]
    for path in (step / name for name in names):
        size = read_to_end(path)
        assert size == path.stat().st_size, path.name
        total += size
    seconds = time.perf_counter() - start
    measured(f"70B: one rank: {total / 1e9:.1f} GB in {seconds:.1f} s, {total / 1e9 / seconds:.1f} GB/s")
