"""What README.md and docs/ say can be looked up: links, tests, options of zerofs, the tables of models."""
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from conftest import ZEROFS
from environment import TOP
from model_tables import pages
from mounting import run

DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "SECURITY.md", *sorted((TOP / "docs").glob("*.md"))]
each = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            page = document.parent / path if path else document
            assert page.exists(), target
            assert not anchor or anchor in anchors(page), target


@cache
def options_of(command: str) -> frozenset[str]:
    text = subprocess.run([ZEROFS, "help", command], capture_output=True, text=True, check=True).stdout
    assert f"USAGE: zerofs {command}" in text, f"zerofs has no command {command}"
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))


@each
def test_commands_have_their_options(document: Path) -> None:
    """Of each line that types a command of zerofs."""
    text = document.read_text().replace("\\\n", " ")
    lines = [line.split(" #")[0] for line in text.splitlines() if line.startswith("    ")] + re.findall(r"`(zerofs [^`]*)`", text)
    for line in lines:
        for command, words in re.findall(r"(?<![.\w])zerofs +([a-z][a-z-]+)((?: +[^&|;]*)?)", line.split(" -- ")[0]):
            for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", words.split('"')[0]):
                assert option in options_of(command), f"zerofs {command} has no {option}: {line}"
            options_of(command)


def test_lines_of_the_semantics_name_their_tests() -> None:
    text = (TOP / "docs/semantics.md").read_text()
    swift = "\n".join(path.read_text() for path in (TOP / "Tests").rglob("*Tests.swift"))
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| operation")]
    for row in rows:
        names = re.findall(r"`([\w.]+?)(?:\.|::)(\w+)`", row.rstrip("| ").rpartition("|")[2])
        assert names, f"no test: {row}"
        for place, name in names:
            if place.endswith(".py"):
                assert f"def {name}(" in (TOP / "Tests/conformance" / place).read_text(), f"{place}::{name}"
            else:
                assert f"struct {place} " in swift and f"func {name}(" in swift, f"{place}.{name}"


def test_tables_of_models_are_the_programs() -> None:
    for page, text in pages(ZEROFS).items():
        assert page.read_text() == text, f"{page}: run `make tables`"


def test_the_plan_is_the_programs(zerofs: Path, sparse70b: Path) -> None:
    """The README's plan of Llama-3.3-70B, line for line but for what it leaves out."""
    block = (TOP / "README.md").read_text().split("    $ zerofs plan llama-3.3-70b ")[1].split("\n\n")[0].splitlines()
    said = run(zerofs, "plan", sparse70b, *block[0].split()).stdout.splitlines()
    assert len(block) > 8
    for line in block[1:]:
        assert line == "    …" or line.removeprefix("    ") in said
