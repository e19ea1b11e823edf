#!/usr/bin/env python3
"""wheel.py ZEROFS OUT: a wheel with the static program as the script `zerofs`, and the package zerofs_megatron.

Nothing in it is linked to a library of the machine, so that it has the tags of the oldest systems that pip knows.
"""
import base64
import hashlib
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "Sources/MegatronExtension"
MACHINE = platform.machine()
TAGS = [f"py3-none-{system}_{MACHINE}" for system in ("manylinux_2_17", "manylinux2014", "musllinux_1_1")]
METADATA = """Metadata-Version: 2.1
Name: zerofs
Version: {version}
Summary: Present a Hugging Face model directory as the checkpoint that Megatron-DeepSpeed would have saved
License: Apache-2.0
Requires-Python: >=3.9
Description-Content-Type: text/markdown

{readme}"""


def stripped(program: Path) -> bytes:
    copy = program.with_name("zerofs.stripped")
    subprocess.run(["strip", "-o", copy, program], check=True)
    contents = copy.read_bytes()
    copy.unlink()
    return contents


def contents(program: Path, version: str) -> dict[str, bytes]:
    info = f"zerofs-{version}.dist-info"
    text = METADATA.format(version=version, readme=(TOP / "README.md").read_text())
    wheel = "Wheel-Version: 1.0\nGenerator: zerofs\nRoot-Is-Purelib: false\n" + "".join(f"Tag: {tag}\n" for tag in TAGS)
    modules = sorted(path for path in (PACKAGE / "zerofs_megatron").rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): path.read_bytes() for path in modules} | {
        f"zerofs-{version}.data/scripts/zerofs": stripped(program),
        f"{info}/METADATA": text.encode(), f"{info}/WHEEL": wheel.encode(),
        f"{info}/LICENSE": (TOP / "LICENSE").read_bytes()}


def main(program: Path, out: Path) -> None:
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    systems = ".".join(tag.removeprefix("py3-none-") for tag in TAGS)
    path, record = out / f"zerofs-{version}-py3-none-{systems}.whl", f"zerofs-{version}.dist-info/RECORD"
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(program, version).items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(data)}")
            entry = zipfile.ZipInfo(name)  # of one time, so that the same inputs are the same wheel
            entry.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(record), "\n".join([*lines, f"{record},,", ""]))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
