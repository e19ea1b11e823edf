"""Read throughput (issue 6, point 2): every figure is a ratio of two probes of the same rounds."""
import contextlib
import os
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import torch

import inputs
import twin
from measure import MIB, Probe, Row, compiled, memory, reading, reading_together, rereading, run_rounds
from mounting import Mount, mounted

LENGTH = 256 * MIB
TP = 8
LAYER = "global_step0/layer_02-model_{:02d}-model_states.pt"
EMBEDDING = "global_step0/layer_01-model_00-model_states.pt"
OPTIMIZER = "global_step0/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
# The storages of a layer file, in the order of named_parameters().
QUERY_KEY_VALUE, DENSE, DOWN = 1, 2, 5


def rows() -> list[Row]:
    """The table. The goals are the issue's."""
    return [
        Row("bf16 layer file / tmpfs", "layer", "layer: tmpfs", 0.9),
        Row("bf16 layer file / ext4 page cache", "layer", "layer: ext4"),
        Row("fp32 optimizer file / tmpfs", "masters", "masters: tmpfs", 0.9),
        Row("zeros (Adam moments) / tmpfs", "moments", "moments: tmpfs", 1.0),
        Row("fused QKV / tmpfs", "qkv", "qkv: tmpfs", 0.75),
        Row("bf16 layer file, memory reused / tmpfs", "layer again", "layer again: tmpfs"),
        Row("fp32 optimizer file, memory reused / tmpfs", "masters again", "masters again: tmpfs"),
        Row("zeros, memory reused / tmpfs", "moments again", "moments again: tmpfs"),
        Row("TP-8 column slices (2 KiB runs) / gather in user space", "columns", "columns: gather", 0.5),
        Row("verbatim, memory reused / C twin", "embedding", "twin: verbatim"),
        Row("widened bf16→fp32, memory reused / C twin", "masters again", "twin: widened"),
        Row("zeros, memory reused / C twin", "moments again", "twin: zeros"),
        Row("source at an aliased offset, memory reused / C twin", "aliased", "twin: aliased"),
        Row("cp of the layer file / cp from tmpfs", "cp", "cp: tmpfs"),
        Row("torch.load / from ext4's page cache", "torch.load", "torch.load: ext4", 1.0),
        Row("torch.load(mmap=True) and touch / ext4", "torch mmap", "torch mmap: ext4", 0.3),
        Row("the same with --cached, again / ext4", "torch mmap: cached", "torch mmap: ext4"),
        Row("16 readers together / 2", "16 readers", "2 readers", 0.9),
        Row("tmpfs itself: 16 readers / 2", "tmpfs: 16 readers", "tmpfs: 2 readers"),
        Row("daemon CPU per GB, verbatim / C twin", "embedding", "twin: verbatim", 1.15, "cpu"),
        Row("daemon CPU per GB, widened / C twin", "masters again", "twin: widened", 1.15, "cpu"),
        Row("daemon CPU per GB, zeros / C twin", "moments again", "twin: zeros", 1.15, "cpu"),
    ]


def measure(binary: Path, scratch: Path, disk: Path, rounds: int) -> list[Row]:
    """`scratch` is on tmpfs, `disk` on the file system of the model's usual home."""
    table = rows()
    with contextlib.ExitStack() as stack:
        run_rounds(_probes(binary, scratch, disk, stack), table, rounds)
    return table


def _probes(binary: Path, scratch: Path, disk: Path, stack: contextlib.ExitStack) -> dict[str, Probe]:
    def mount(hf: Path, name: str, *layout: object) -> Mount:
        (scratch / name).mkdir(exist_ok=True)
        return stack.enter_context(mounted(binary, hf, scratch / name, *layout))

    hf, aliased_hf = scratch / "hf", scratch / "hf-aliased"
    tensors = inputs.real_model(hf)
    whole = mount(hf, "whole", "--moments", "zeros")
    sliced = mount(hf, "sliced", "--tp", TP)
    cached = mount(hf, "cached", "--cached")
    layer, embedding = whole.path / LAYER.format(0), whole.path / EMBEDDING
    optimizer = whole.path / OPTIMIZER
    embedding_start, embedding_count = storages(embedding)[0]
    source, (offset, _) = hf / "model.safetensors", tensors["model.embed_tokens.weight"]

    # The worst place a tensor can have within its page: a copy then writes 8 bytes ahead of what it reads.
    aliased_offset = inputs.misplaced_model(aliased_hf, (embedding_start - 8) % 4096)
    aliased = mount(aliased_hf, "aliased")

    build = twin.build(scratch / "twin.bin")
    twins = [stack.enter_context(twin.mounted(build, scratch / f"twin-{name}", path, start, embedding_count, embedding_start))
             for name, path, start in (("straight", source, offset),
                                       ("aliased", aliased_hf / "model.safetensors", aliased_offset))]
    straight, crooked = twins
    readers = compiled("readers.c", scratch / "readers.bin", "-pthread")

    masters = (optimizer, run_of(optimizer, os.SEEK_DATA), LENGTH)
    moments = (optimizer, run_of(optimizer, os.SEEK_HOLE), LENGTH)
    qkv = (layer, *storages(layer)[QUERY_KEY_VALUE])
    columns = [(path, *storages(path)[index])
               for path in (sliced.path / LAYER.format(rank) for rank in range(TP)) for index in (DENSE, DOWN)]
    copies = {name: copy(*window, scratch / f"copy-{name}")
              for name, window in {"layer": (layer, 0, LENGTH), "masters": masters, "moments": moments, "qkv": qkv}.items()}
    on_ext4 = copy(layer, 0, layer.stat().st_size, disk / "layer_02.pt")
    on_tmpfs = copy(layer, 0, layer.stat().st_size, scratch / "layer_02.pt")
    stack.callback(on_ext4.unlink)

    return {
        "layer": Probe(reading((layer, 0, LENGTH)), whole.pid),
        "layer: tmpfs": Probe(reading((copies["layer"], 0, LENGTH))),
        "layer again": Probe(rereading((layer, 0, LENGTH)), whole.pid),
        "layer again: tmpfs": Probe(rereading((copies["layer"], 0, LENGTH))),
        "masters again": Probe(rereading(masters), whole.pid),
        "masters again: tmpfs": Probe(rereading((copies["masters"], 0, LENGTH))),
        "moments again": Probe(rereading(moments), whole.pid),
        "moments again: tmpfs": Probe(rereading((copies["moments"], 0, LENGTH))),
        "layer: ext4": Probe(reading((on_ext4, 0, LENGTH))),
        "masters": Probe(reading(masters), whole.pid),
        "masters: tmpfs": Probe(reading((copies["masters"], 0, LENGTH))),
        "moments: tmpfs": Probe(reading((copies["moments"], 0, LENGTH))),
        "moments": Probe(reading(moments), whole.pid),
        "twin: zeros": Probe(rereading((straight.path / "zeros", 0, LENGTH)), straight.pid),
        "qkv": Probe(reading(qkv, qkv), whole.pid),
        "qkv: tmpfs": Probe(reading(*[(copies["qkv"], 0, qkv[2])] * 2)),
        "columns": Probe(reading(*columns), sliced.pid),
        "columns: gather": Probe(gathering(source, [tensors[f"model.layers.0.{name}.weight"]
                                                     for name in ("self_attn.o_proj", "mlp.down_proj")])),
        "embedding": Probe(rereading((embedding, 0, embedding_count)), whole.pid),
        "twin: verbatim": Probe(rereading((straight.path / "verbatim", 0, embedding_count)), straight.pid),
        "twin: widened": Probe(rereading((straight.path / "widened", 0, LENGTH)), straight.pid),
        "aliased": Probe(rereading((aliased.path / EMBEDDING, 0, embedding_count)), aliased.pid),
        "twin: aliased": Probe(rereading((crooked.path / "verbatim", 0, embedding_count)), crooked.pid),
        "cp": Probe(copying(layer, scratch / "cp.pt")),
        "cp: tmpfs": Probe(copying(on_tmpfs, scratch / "cp.pt")),
        "torch.load": Probe(loading(embedding)),
        "torch.load: ext4": Probe(loading(stack.enter_context(temporary_copy(embedding, disk / "layer_01.pt")))),
        # What mappings leave in the page cache the next open drops: here, not in the probe that comes next.
        "torch mmap": Probe(touching(embedding), after=lambda: embedding.open("rb").close()),
        "torch mmap: cached": Probe(touching(cached.path / EMBEDDING)),
        "torch mmap: ext4": Probe(touching(disk / "layer_01.pt")),
        "16 readers": Probe(reading_together(readers, layer, LENGTH, 16), whole.pid),
        "2 readers": Probe(reading_together(readers, layer, LENGTH, 2), whole.pid),
        "tmpfs: 16 readers": Probe(reading_together(readers, copies["layer"], LENGTH, 16)),
        "tmpfs: 2 readers": Probe(reading_together(readers, copies["layer"], LENGTH, 2)),
    }


def storages(archive: Path) -> list[tuple[int, int]]:
    """Where the payload of each storage stands in a .pt file: (start, bytes), by key."""
    with zipfile.ZipFile(archive) as file, archive.open("rb") as raw:
        found = {}
        for member in file.infolist():
            if (parts := member.filename.split("/"))[-2:-1] == ["data"]:
                raw.seek(member.header_offset + 26)
                name, extra = struct.unpack("<HH", raw.read(4))
                found[int(parts[-1])] = (member.header_offset + 30 + name + extra, member.file_size)
    return [found[key] for key in sorted(found)]


def run_of(path: Path, what: int) -> int:
    """Where the first run of LENGTH bytes of data, or of hole, starts."""
    descriptor, position = os.open(path, os.O_RDONLY), 0
    other = os.SEEK_HOLE if what == os.SEEK_DATA else os.SEEK_DATA
    while True:
        start = os.lseek(descriptor, position, what)
        end = os.lseek(descriptor, start, other)
        if end - start >= LENGTH:
            os.close(descriptor)
            return start
        position = end


def copy(path: Path, start: int, count: int, to: Path) -> Path:
    """The window as a file without holes."""
    with path.open("rb", buffering=0) as source, to.open("wb", buffering=0) as target:
        source.seek(start)
        while count and (part := source.read(min(count, MIB))):
            count -= target.write(part)
    return to


@contextlib.contextmanager
def temporary_copy(path: Path, to: Path) -> Iterator[Path]:
    yield copy(path, 0, path.stat().st_size, to)
    to.unlink()


def gathering(source: Path, tensors: list[tuple[int, list[int]]]):
    """The column slices of every rank, collected by numpy from a mapping, each into memory of its own, a MiB at a time."""
    views = [numpy.memmap(source, numpy.uint16, "r", offset, tuple(shape)) for offset, shape in tensors]

    def run() -> int:
        total = 0
        for rank in range(TP):
            for view in views:
                width = view.shape[1] // TP
                step = MIB // (2 * width)
                gathered = numpy.frombuffer(memory(2 * view.shape[0] * width), numpy.uint16).reshape(-1, width)
                for row in range(0, view.shape[0], step):
                    numpy.copyto(gathered[row:row + step], view[row:row + step, rank * width:(rank + 1) * width])
                total += gathered.nbytes
        return total
    return run


def copying(path: Path, to: Path):
    def run() -> int:
        subprocess.run(["cp", path, to], check=True)
        count = to.stat().st_size
        to.unlink()
        return count
    return run


def loading(path: Path):
    return lambda: sum(tensor.nbytes for tensor in torch.load(path).values())


def touching(path: Path):
    """One byte of every page: what it costs to have all of a mapping in memory."""
    def run() -> int:
        tensors = torch.load(path, mmap=True).values()
        for tensor in tensors:
            int(tensor.view(torch.uint8).reshape(-1)[::4096].sum())
        return sum(tensor.nbytes for tensor in tensors)
    return run
