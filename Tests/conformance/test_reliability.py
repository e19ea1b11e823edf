"""docs/reliability.md names tests that there are."""
import re

from environment import TOP


def test_every_test_that_is_named_is_there() -> None:
    text = (TOP / "docs/reliability.md").read_text()
    sources = "\n".join(path.read_text() for suffix in ("py", "swift") for path in (TOP / "Tests").rglob(f"*.{suffix}"))
    faults = [line for line in text.splitlines() if re.match(r"\| \d+ ", line)]
    assert [int(line.split()[1]) for line in faults] == list(range(1, 21)), "twenty faults"
    names = {name for line in text.splitlines() if line.startswith("|") for name in re.findall(r"`([a-zA-Z_]+)`", line.split("|", 2)[2])}
    assert len(names) > 40
    files = {path.name for path in (TOP / "Tests").rglob("*")}
    missing = [name for name in names if not re.search(rf"(def|func|struct) {name}\b", sources)]
    assert not missing and {name for name in re.findall(r"`(test_\w+\.py)`", text)} <= files
