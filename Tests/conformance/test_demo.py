"""What `make demo` shows of the trained model holds: its script exits 0 only if every weight and loss is equal."""
import subprocess
import sys
from pathlib import Path


def test_demo(zerofs: Path, smollm2: Path, measured) -> None:
    script = Path(__file__).with_name("demo.py")
    done = subprocess.run([sys.executable, "-W", "ignore", script, zerofs, smollm2], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    measured(done.stdout)
