#!/usr/bin/env python3
"""The table of zerofs_megatron/known.py for checkouts of MDS: known.py CHECKOUT…

Read from the files alone, so that functions of other accelerators' modules count too.
"""
import ast
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "Sources/MegatronExtension"))

from zerofs_megatron.changes import digest_of
from zerofs_megatron.known import KNOWN


def source_of(checkout: Path, name: str) -> ast.AST:
    """The definition that a dotted name means: module, class, function."""
    parts = name.split(".")
    cut = next(n for n in range(len(parts) - 1, 0, -1) if checkout.joinpath(*parts[:n]).with_suffix(".py").is_file())
    node = ast.parse(checkout.joinpath(*parts[:cut]).with_suffix(".py").read_text())
    for part in parts[cut:]:
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    return node


def digests(checkouts: list[Path]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(dict.fromkeys(digest_of(source_of(c, name)) for c in checkouts)) for name in KNOWN}


if __name__ == "__main__":
    for name, known in digests([Path(p) for p in sys.argv[1:]]).items():
        print(f'    "{name}": {known!r},'.replace("'", '"'))
