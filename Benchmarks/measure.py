"""How the benchmark measures: probes that read and are timed, in rounds, each next to what it is held against."""
import mmap
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass
class Sample:
    seconds: float
    count: int  # bytes
    cpu: float  # seconds of the daemon, 0 where there is none

    def value(self, metric: str) -> float:
        """GB/s, or CPU seconds per GB of the daemon."""
        return self.count / self.seconds / 1e9 if metric == "speed" else self.cpu / self.count * 1e9


@dataclass
class Timed:
    """What a program that takes the time itself says."""
    count: int  # bytes
    seconds: float


@dataclass
class Probe:
    """Something that reads `run() -> bytes`, or -> Timed; `pid` is the daemon behind it, `after` clears up behind each run."""
    run: Callable[[], int | Timed]
    pid: int | None = None
    after: Callable[[], None] = lambda: None

    def sample(self) -> Sample:
        cpu, start = cpu_seconds(self.pid), time.perf_counter()
        done = self.run()
        seconds = time.perf_counter() - start
        cpu = cpu_seconds(self.pid) - cpu
        self.after()
        return Sample(done.seconds, done.count, cpu) if isinstance(done, Timed) else Sample(seconds, done, cpu)


@dataclass
class Row:
    """A line of the table: the ratio of two probes, round by round."""
    title: str
    ours: str
    reference: str
    goal: float | None = None
    metric: str = "speed"

    def __post_init__(self) -> None:
        self.ratios: list[float] = []
        self.values: list[tuple[float, float]] = []

    def take(self, samples: dict[str, Sample]) -> None:
        ours, reference = samples[self.ours].value(self.metric), samples[self.reference].value(self.metric)
        self.values.append((ours, reference))
        self.ratios.append(ours / reference)

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool:
        return self.goal is None or (self.median >= self.goal if self.metric == "speed" else self.median <= self.goal)


def cpu_seconds(pid: int | None) -> float:
    """CPU time that process `pid` has used: its clock (clock_getcpuclockid(3)), exact to the nanosecond."""
    return 0 if pid is None else time.clock_gettime((~pid << 3) | 2)


def run_measured(*command: object) -> tuple[float, int]:
    """Seconds and peak RSS in kB of a program. Not by wait4(2), whose figure starts with what the parent had."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = max(peak, int(line.split()[1]))
        time.sleep(0.002)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return time.perf_counter() - start, peak


def run_rounds(probes: dict[str, Probe], rows: Sequence[Row], rounds: int) -> None:
    """Runs every probe once unmeasured, then `rounds` times; every other round backwards, so that neither
    side of a ratio always goes first."""
    for probe in probes.values():
        probe.sample()
    for number in range(rounds):
        names = list(probes)[::-1 if number % 2 else 1]
        samples = {name: probes[name].sample() for name in names}
        for row in rows:
            row.take(samples)


def memory(count: int) -> mmap.mmap:
    """What malloc gives for so much: private, page-aligned, made when it is touched."""
    return mmap.mmap(-1, count, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def read(path: Path, start: int, count: int, buffer: memoryview | None = None) -> int:
    """Reads the window in requests of 1 MiB, page-aligned: one behind the other into `buffer`, or all into a buffer of 1 MiB."""
    buffer = buffer or memoryview(memory(MIB))
    descriptor, done = os.open(path, os.O_RDONLY), 0
    while done < count:
        place = 0 if len(buffer) == MIB else done
        if not (got := os.preadv(descriptor, [buffer[place:place + min(MIB, count - done)]], start + done)):
            raise AssertionError(f"{path} ends at byte {start + done}, not {start + count}")
        done += got
    os.close(descriptor)
    return count


def reading(*windows: tuple[Path, int, int]) -> Callable[[], int]:
    """A probe's `run`: every window (path, start, bytes), one after the other, each into memory of its own, as a loader reads."""
    def run() -> int:
        total = 0
        for path, start, count in windows:
            with memory(max(count, MIB + 1)) as new, memoryview(new) as buffer:
                total += read(path, start, count, buffer)
        return total
    return run


_BUFFER = memoryview(memory(MIB))


def rereading(*windows: tuple[Path, int, int]) -> Callable[[], int]:
    """The same into one MiB that stays in the cache, as `dd bs=1M` reads."""
    return lambda: sum(read(path, start, count, _BUFFER) for path, start, count in windows)


def compiled(source: str, out: Path, *libraries: str) -> Path:
    """A C program of this folder. -O3, because gcc's -O2 does not vectorise everything that swiftc -O does."""
    subprocess.run(["gcc", "-std=c11", "-O3", "-Wall", "-Werror", "-o", out, Path(__file__).with_name(source), *libraries],
                   check=True)
    return out


def reading_together(program: Path, path: Path, count: int, readers: int) -> Callable[[], Timed]:
    """A probe's `run`: as many threads, each with an equal part of the file (readers.c)."""
    part = count // readers // MIB * MIB

    def run() -> Timed:
        return Timed(part * readers, float(subprocess.check_output([program, path, str(count), str(readers)])))
    return run
