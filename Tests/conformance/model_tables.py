#!/usr/bin/env python3
"""model_tables.py ZEROFS: writes the tables of README.md and docs/models.md from what `zerofs models` prints.

They stand between the lines `<!-- zerofs models -->` and `<!-- end -->`.
"""
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PLACE = re.compile(r"(?<=<!-- zerofs models -->\n).*?(?=<!-- end -->\n)", re.DOTALL)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def joined(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(name for names_of_one in names for name in names_of_one.split(", ")))


def summary(tables: str) -> str:
    """Three rows: families that MDS computes alone, with the extension, and features without which others are refused."""
    served, lacking = (list(map(cells, table.splitlines()[2:])) for table in tables.split("\n\n"))
    extended = [name for _, name, computed in served if "with the extension" in computed]
    alone = [name for _, name, computed in served if "with the extension" not in computed]
    rows = [("computes alone", alone), ("computes with [`zerofs_megatron`](docs/extension.md)", extended),
            ("lacks what others need", [feature for feature, _ in lacking])]
    return "".join(f"| {what} | {joined(names)} |\n" for what, names in [("Megatron-DeepSpeed", ["families"]), ("---", ["---"]), *rows])


def pages(zerofs: Path) -> dict[Path, str]:
    """Each page as it has to be."""
    tables = subprocess.run([zerofs, "models"], capture_output=True, text=True, check=True).stdout.strip()
    wanted = {TOP / "README.md": summary(tables), TOP / "docs/models.md": tables + "\n"}
    return {page: PLACE.sub(lambda _: table, page.read_text()) for page, table in wanted.items()}


if __name__ == "__main__":
    for page, text in pages(Path(sys.argv[1])).items():
        page.write_text(text)
