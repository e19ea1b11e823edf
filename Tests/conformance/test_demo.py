"""What `make demo` shows of a real model holds: its script ends with 0 only if it does."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("MEGATRON_DEEPSPEED")
WITHOUT = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_DEEPSPEED names no checkout of Megatron-DeepSpeed")


@pytest.mark.parametrize("trainer", ["deepspeed", pytest.param("megatron", marks=WITHOUT)])
def test_demo(trainer: str, zerofs: Path, smollm2: Path, measured) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MEGATRON_DEEPSPEED"}
    if trainer == "megatron":
        environment["MEGATRON_DEEPSPEED"] = CHECKOUT
    script = Path(__file__).with_name("demo.py")
    done = subprocess.run([sys.executable, "-W", "ignore", script, zerofs, smollm2], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    measured(done.stdout)
