"""Load: many readers who compare every byte, many open files, many layouts, and the daemon's memory meanwhile.

    soak.py ZEROFS [--minutes 10] [--readers 64] [--files 5000] [--layouts 2000]

Bytes are compared with a copy that was held against what real Megatron-DeepSpeed saved (windows.py).
"""
import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import windows
from mounting import Mount, mounted

CASE = "llama-pipe-tp2pp2dp2-z1-bf16"


@dataclass
class Figures:
    windows: int
    bytes: int
    files: int
    layouts: int
    seconds: float
    memory_kb: list[int]  # the daemon's private memory, from when everything was in use to the end

    def __str__(self) -> str:
        low, high = min(self.memory_kb) / 1024, max(self.memory_kb) / 1024
        return (f"{self.windows} windows of {self.bytes / 1e9:.1f} GB in {self.seconds:.0f} s, all equal; {self.files} files open, "
                f"{self.layouts} layouts looked up; the daemon's memory {low:.1f} to {high:.1f} MiB")


def reader(top: Path, reference: Path, seconds: float, seed: str) -> None:
    """One of the readers, a process of its own."""
    end, count, bytes_read = time.monotonic() + seconds, 0, 0
    generator = random.Random(seed)
    files = [(path.relative_to(reference), path.read_bytes()) for path in sorted(reference.rglob("*")) if path.is_file()]
    known = {name: windows.edges(content) for name, content in files}
    while time.monotonic() < end:
        name, content = generator.choice(files)
        file = os.open(top / name, os.O_RDONLY)
        for _ in range(50):
            (offset, length), way = windows.window(generator, len(content), known[name]), generator.choice(windows.WAYS)
            got = way(file, offset, length)
            assert got == content[offset:offset + length], f"Random({seed!r}): {way.__name__}({name}, {offset}, {length})"
            count, bytes_read = count + 1, bytes_read + len(got)
        os.close(file)
    print(count, bytes_read)


def open_files(m: Mount, reference: Path, count: int) -> list[tuple[int, bytes]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count + 500, hard)), hard))
    files = [path for path in sorted(reference.rglob("*")) if path.is_file()]
    return [(os.open(m.path / files[i % len(files)].relative_to(reference), os.O_RDONLY), files[i % len(files)].read_bytes()) for i in range(count)]


def look_up(m: Mount, number: int) -> None:
    """One of as many layouts as numbers."""
    step = number % 97
    name = f"tp{[1, 2, 4][number % 3]}-pp1-dp{number // 97 + 1}-it{step}"
    assert (m.path / name / "latest").read_text() == f"global_step{step}", name
    assert len(os.listdir(m.path / name / f"global_step{step}")) > 8, name


def soak(zerofs: Path, seconds: float, readers: int, files: int, layouts: int) -> Figures:
    case = next(case for case in windows.saved_cases() if case.name == CASE)
    with tempfile.TemporaryDirectory() as place:
        top, reference = Path(place, "mnt"), Path(place, "reference")
        top.mkdir()
        with mounted(zerofs, case.source, top, *case.words) as m:
            windows.copied(m.path, reference)
            case.agrees(reference)
            opened = open_files(m, reference, files)
            start, memory, looked_up = time.monotonic(), [], 0
            command = [sys.executable, __file__, "--read", m.path, reference, str(seconds)]
            processes = [subprocess.Popen([*command, f"{os.getpid()} {number}"], stdout=subprocess.PIPE, text=True) for number in range(readers)]
            while any(process.poll() is None for process in processes):
                if looked_up < layouts:
                    look_up(m, looked_up)
                    looked_up += 1
                    file, content = opened[looked_up * 7919 % len(opened)]
                    assert os.pread(file, len(content), 0) == content
                else:
                    time.sleep(0.2)
                if looked_up >= layouts // 2:
                    memory.append(m.rss_anon_kb())
            for file, content in opened:
                assert os.pread(file, 4096, len(content) // 2) == content[len(content) // 2:len(content) // 2 + 4096]
                os.close(file)
            said = [process.communicate()[0].split() for process in processes]
            assert all(process.returncode == 0 for process in processes), "a reader found another byte"
            while looked_up < layouts:
                look_up(m, looked_up)
                looked_up += 1
            memory.append(m.rss_anon_kb())
        return Figures(sum(int(count) for count, _ in said), sum(int(size) for _, size in said), files, layouts,
                       time.monotonic() - start, memory)


def is_flat(memory_kb: list[int]) -> bool:
    """The later half needs no more than the earlier, but for what the system's allocator keeps."""
    half = len(memory_kb) // 2
    return max(memory_kb[half:]) <= max(memory_kb[:half + 1]) * 1.1 + 8192


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("zerofs", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    for name, count in [("readers", 64), ("files", 5000), ("layouts", 2000)]:
        parser.add_argument(f"--{name}", type=int, default=count)
    options = parser.parse_args()
    figures = soak(options.zerofs.resolve(), options.minutes * 60, options.readers, options.files, options.layouts)
    print(figures)
    assert is_flat(figures.memory_kb), figures.memory_kb


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        reader(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
    else:
        main()
