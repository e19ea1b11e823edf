"""Fixtures: the zerofs binary (ZEROFS), the shared goldens and oracle (SHARED), mounts, and the two models.

ZEROFS defaults to the release build, SHARED to ../shared beside the repository. In a bare clone, which has none, a few of
its goldens serve in its place (Tests/fixtures/shared), and the modules that need more are left out; CI stops instead.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from environment import CACHE, TOP
from mounting import Mount, mounted

FIXTURES = TOP / "Tests/fixtures/shared"
BESIDE = Path(os.environ.get("SHARED", TOP.parent / "shared")).resolve()
IS_BARE = not (BESIDE / "golden/cases.json").is_file()
SHARED = FIXTURES if IS_BARE else BESIDE
# What a bare clone leaves out.
collect_ignore = [f"test_{name}.py" for name in (
    "args", "cold", "deepspeed", "deepspeed_tools", "extension", "families", "family_forms", "flavor_hf", "forks", "megatron", "planning",
    "resume", "scripts", "trainer", "universal", "versions")] if IS_BARE else []
# For tests that look for more than the few goldens of a bare clone.
needs_shared = pytest.mark.skipif(IS_BARE, reason=f"no {BESIDE}")
ZEROFS = Path(os.environ.get("ZEROFS", TOP / ".build/release/zerofs")).resolve()

# MDS's ModelType, which its checkpoints name: for torch.load where MDS isn't installed.
sys.path.append(str(SHARED / "oracle/stubs/megatron_enums"))
# zerofs_megatron, which guarded checkpoints name.
sys.path.append(str(TOP / "Sources/MegatronExtension"))


def pytest_configure(config: pytest.Config) -> None:
    if not os.access(ZEROFS, os.X_OK):
        raise pytest.UsageError(f"no zerofs binary at {ZEROFS}: run `make build`, or name one in ZEROFS")
    if IS_BARE and os.environ.get("CI"):
        raise pytest.UsageError(f"no golden/cases.json in {BESIDE}: name the shared directory in SHARED")


def pytest_report_header() -> list[str]:
    return [f"no {BESIDE}: left out {', '.join(collect_ignore)}"] if IS_BARE else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """In a bare clone, a test is skipped that fails over something that SHARED alone has."""
    report = yield
    if IS_BARE and report.failed:
        named = re.findall(rf"{re.escape(str(FIXTURES))}/[\w./-]*[\w-]", f"{call.excinfo.value!r} {report.longrepr}")
        if missing := next((path for path in named if not Path(path).exists()), None):
            report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1], f"there is no {missing}")
    return report


MEASURED: list[str] = []


@pytest.fixture(scope="session")
def measured() -> Callable[[str], None]:
    """Takes what is worth seeing in the log of a run that passes; never a condition."""
    return MEASURED.append


def pytest_terminal_summary(terminalreporter) -> None:
    if MEASURED:
        terminalreporter.section("measured")
        for line in MEASURED:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def zerofs() -> Path:
    return ZEROFS


@pytest.fixture(scope="session")
def golden() -> Path:
    return SHARED / "golden"


@pytest.fixture(scope="session")
def oracle() -> Path:
    return SHARED / "oracle"


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir()
    return path


MountModel = Callable[..., contextlib.AbstractContextManager[Mount]]


@pytest.fixture
def mount(zerofs: Path, tmp_path_factory: pytest.TempPathFactory) -> MountModel:
    """mount(hf_dir, *options): mounted for the length of a `with` block."""
    @contextlib.contextmanager
    def at_new_mountpoint(hf: Path, *layout: object) -> Iterator[Mount]:
        with mounted(zerofs, hf, tmp_path_factory.mktemp("mnt"), *layout) as m:
            yield m
    return at_new_mountpoint


def made(script: str, directory: str, *arguments: str) -> Path:
    out = CACHE / directory
    subprocess.run([sys.executable, Path(__file__).with_name(script), out, *arguments], check=True)
    return out


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return made("smollm2.py", "smollm2")


@pytest.fixture(scope="session")
def sparse70b() -> Path:
    return made("sparse_llama.py", "llama-3.3-70b", "--model", "llama-3.3-70b")


OLD_DEEPSPEED = os.environ.get("OLD_DEEPSPEED", "0.16.9")


@pytest.fixture(scope="session")
def old_deepspeed() -> dict[str, str]:
    """The environment of a second DeepSpeed beside the installed one; torch and the rest are shared."""
    target = CACHE / f"deepspeed-{OLD_DEEPSPEED}"
    if not (target / "deepspeed").is_dir():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target,
                        f"deepspeed=={OLD_DEEPSPEED}"], check=True)
    # Its own cache: an op compiled for the other version doesn't fit.
    return {"PYTHONPATH": str(target), "TORCH_EXTENSIONS_DIR": str(CACHE / "torch_extensions-old")}


@pytest.fixture
def tiny(golden: Path, tmp_path: Path) -> Path:
    """A writable copy of the sharded tiny Llama: 8 heads, 4 KV heads, 4 layers, 4 shards."""
    copy = tmp_path / "hf"
    shutil.copytree(golden / "hf/llama_bf16_sharded", copy)
    for path in [copy, *copy.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy
