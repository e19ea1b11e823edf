"""Random windows of what zerofs serves, in process and through the mount, against a reference that isn't zerofs.

    windows.py ZEROFS zerofs-windows [--count N] [--seed S] [--only REGEX]

The reference of a source at a layout is a copy of the mount that was first held against what real Megatron-DeepSpeed saved
(SHARED/golden), or at layouts that nobody saved against a tree that the oracle's mk_min.py makes by mapping.py, tensor by tensor, and
whose zip files Python's zipfile checks. It says the seed, which is enough to repeat a run.
"""
import argparse
import contextlib
import io
import json
import mmap
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest.mock
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import IS_BARE, SHARED
from mounting import mounted

GOLDEN, ORACLE = SHARED / "golden", SHARED / "oracle"
PAGE = 4096


@dataclass
class Case:
    name: str
    source: Path
    words: list[str]
    # Makes the tree to compare with; what it is called there.
    saved: Path | None = None
    minimal: list[str] | None = None

    def agrees(self, copy: Path) -> None:
        """Holds a copy of the mount against somebody else's tree."""
        if not self.minimal:
            return equal(self.saved, copy)
        with tempfile.TemporaryDirectory() as made:
            command = [sys.executable, ORACLE / "mk_min.py", "regular", self.source, Path(made, "tree"), *self.minimal]
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
            equal(copy, Path(made, "tree"), "--min")


def equal(golden: Path, candidate: Path, *options: str) -> None:
    """By the oracle's compare.py, in this process: torch is imported once."""
    if str(ORACLE) not in sys.path:
        sys.path.append(str(ORACLE))
    import compare
    said = io.StringIO()
    with unittest.mock.patch("sys.argv", ["compare.py", str(golden), str(candidate), *options]), contextlib.redirect_stdout(said):
        try:
            compare.main()
            status = 0
        except SystemExit as end:
            status = end.code
    assert status == 0, said.getvalue()[-4000:]


def saved_cases() -> Iterator[Case]:
    """Everything that real Megatron-DeepSpeed saved."""
    import layouts
    for name, case in json.loads((GOLDEN / "cases.json").read_text()).items():
        yield Case(name, GOLDEN / "hf" / case["hf"], layouts.options(case), GOLDEN / "trees" / name)
    if IS_BARE:
        return
    import test_extension
    import test_families
    for tree in test_families.TREES:
        model, layout = re.fullmatch(r"(\w+)-((?:nopipe|pipe)-.*)", tree).groups()
        words = ["--dtype", "bf16", *map(str, test_families.LAYOUTS[layout])]
        yield Case(tree, GOLDEN / "families/hf" / model, words, GOLDEN / "families/trees" / tree)
    for tree in test_extension.TREES:
        model, _ = test_extension.split(tree)
        words = [*test_extension.options(tree), *test_extension.UNGUARDED]
        yield Case(tree, GOLDEN / "extension/hf" / model, words, GOLDEN / "extension/trees" / tree)
    for trained in sorted((GOLDEN / "trained").iterdir()):
        yield Case(trained.name, trained / "tree", [], trained / "tree")


def random_case(generator: random.Random) -> Case:
    """A layout that nobody saved."""
    hf = generator.choice(["llama_bf16", "llama_bf16_sharded", "llama_fp32", "llama_tied_bf16", "mistral_bf16", "qwen2_bf16"])
    pipeline = generator.random() < 0.5
    tp, dp = generator.choice([1, 2, 4]), generator.randint(1, 6)
    pp = generator.randint(1, 4) if pipeline else 1
    stage = 1 if pipeline else generator.choice([1, 2, 3])
    dtype = generator.choice(["bf16", "fp16"]) if stage == 1 and pipeline else "bf16"
    words = ["--tp", tp, "--pp", pp, "--dp", dp, "--zero-stage", stage, "--dtype", dtype] + ([] if pipeline else ["--no-pipeline-parallel"])
    minimal = [tp, pp, dp, stage, dtype, "pipe" if pipeline else "nopipe"]
    return Case(f"{hf} {' '.join(map(str, words))}", GOLDEN / "hf" / hf, list(map(str, words)), minimal=list(map(str, minimal)))


def copied(mount: Path, to: Path) -> None:
    """The tree as it is read from front to back, and beside it what the mount says of its origin."""
    shutil.copytree(mount, to, ignore=lambda directory, names: {".zerofs"} & set(names))
    shutil.copyfile(mount / ".zerofs/origin.json", to.with_suffix(".json"))
    for path in to.rglob("*.pt"):
        with zipfile.ZipFile(path) as archive:
            # A mount leaves out the checksums of tensors; the others are right.
            bad = [r.filename for r in archive.infolist() if r.CRC and not opens(archive, r)]
            assert not bad, (path, bad)


def opens(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    try:
        return len(archive.read(record)) == record.file_size
    except zipfile.BadZipFile:
        return False


# Ways of reading: a file, an offset, a length -> bytes.

def by_pread(file: int, offset: int, length: int) -> bytes:
    return os.pread(file, length, offset)


def by_preadv(file: int, offset: int, length: int) -> bytes:
    """Into pieces that end one before, at and one after a page's edge."""
    cuts = sorted({min(length, cut) for cut in (1, PAGE - offset % PAGE - 1, PAGE - offset % PAGE, PAGE - offset % PAGE + 1, length)})
    pieces = [bytearray(end - start) for start, end in zip([0, *cuts], cuts)]
    count = os.preadv(file, pieces, offset) if length else 0
    return b"".join(pieces)[:count]


def by_mmap(file: int, offset: int, length: int) -> bytes:
    start, size = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY, os.fstat(file).st_size
    end = min(offset + length, size)
    if end <= offset:
        return b""
    with mmap.mmap(file, end - start, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=start) as view:
        return view[offset - start:]


def by_splice(file: int, offset: int, length: int) -> bytes:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as out, open(writing, "wb", buffering=0) as into:
        parts = []
        while length and (count := os.splice(file, into.fileno(), min(length, 60_000), offset_src=offset)):
            parts.append(out.read(count))
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
            if len(parts[-1]) < count:
                parts.append(out.read(count - len(parts[-1])))
                offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts)


def by_sendfile(file: int, offset: int, length: int) -> bytes:
    with tempfile.TemporaryFile() as out:
        while length and (count := os.sendfile(out.fileno(), file, offset, length)):
            offset, length = offset + count, length - count
        out.seek(0)
        return out.read()


def directly(file: int, offset: int, length: int) -> bytes:
    """O_DIRECT, which takes whole blocks into an aligned buffer."""
    start = offset // 512 * 512
    with mmap.mmap(-1, (offset + length - start + 511) // 512 * 512 or 512) as buffer:
        own = os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_DIRECT)
        try:
            count = os.preadv(own, [buffer], start)
        finally:
            os.close(own)
        return buffer[:count][offset - start:offset - start + length]


WAYS: list[Callable[[int, int, int], bytes]] = [by_pread, by_preadv, by_mmap, by_splice, by_sendfile, directly]


def edges(content: bytes) -> list[int]:
    """Where records of a zip file begin and end, and the file itself."""
    found = [0, len(content)]
    for magic in (b"PK\3\4", b"PK\7\x08", b"PK\1\2"):
        found += [match.start() for match in re.finditer(re.escape(magic), content)]
    return found


def window(generator: random.Random, size: int, known: list[int]) -> tuple[int, int]:
    """Around an edge, a page's end, the end of the file, or anywhere."""
    start = generator.choice([lambda: generator.choice(known) - generator.randint(0, 70), lambda: size - generator.randint(0, 9000),
                              lambda: generator.randint(0, size // PAGE) * PAGE - generator.randint(0, 4),
                              lambda: generator.randint(0, size)])()
    length = generator.choice([generator.randint(0, 100), generator.randint(0, 10_000), generator.randint(0, 300_000)])
    return max(0, start), length


def read_windows(mount: Path, reference: Path, count: int, seed: str) -> int:
    """Reads `count` windows through the kernel, each in a random way."""
    generator = random.Random(seed)
    files = []
    for path in sorted(reference.rglob("*")):
        if path.is_file():
            name, content = path.relative_to(reference), path.read_bytes()
            files.append((name, os.open(mount / name, os.O_RDONLY), content, edges(content)))
    try:
        for _ in range(count):
            name, file, content, known = generator.choice(files)
            (offset, length), way = window(generator, len(content), known), generator.choice(WAYS)
            got = way(file, offset, length)
            assert got == content[offset:offset + length], f"Random({seed!r}): {way.__name__}({name}, {offset}, {length})"
    finally:
        for _, file, _, _ in files:
            os.close(file)
    return count


@dataclass
class Counts:
    cases: int = 0
    in_process: int = 0
    through_mount: int = 0


def check(case: Case, zerofs: Path, program: Path | None, seed: int, counts: Counts, in_process: int, through_mount: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        top, reference = Path(place, "mnt"), Path(place, "reference")
        top.mkdir()
        for options in ([], ["--cached"]):
            with mounted(zerofs, case.source, top, *case.words, *options) as m:
                if not reference.exists():
                    copied(m.path, reference)
                    case.agrees(reference)
                counts.through_mount += read_windows(m.path, reference, through_mount // 2, f"{seed} {case.name} {options}")
        if program:
            subprocess.run([program, case.source, reference.with_suffix(".json"), reference, str(seed), str(in_process)], check=True, stdout=subprocess.DEVNULL)
            counts.in_process += in_process
    counts.cases += 1


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("zerofs", type=Path)
    parser.add_argument("program", type=Path)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", default=".")
    parser.add_argument("--random", type=int, default=20, help="layouts that nobody saved")
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    generator = random.Random(options.seed)
    cases = [case for case in [*saved_cases(), *(random_case(generator) for _ in range(options.random))] if re.search(options.only, case.name)]
    counts = Counts()
    # Some through the kernel, most in process.
    each = -(-options.count // len(cases))
    for case in cases:
        check(case, options.zerofs.resolve(), options.program.resolve(), options.seed, counts, each - each // 50, each // 50)
        print(f"{case.name}: {counts.in_process} windows in process and {counts.through_mount} through the mount are equal", flush=True)
    print(f"{counts.cases} sources and layouts, {counts.in_process + counts.through_mount} windows: all equal")


if __name__ == "__main__":
    main()
