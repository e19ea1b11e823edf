"""What the figures were measured on."""
import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def description() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": platform.release(),
        "CPU": f"{os.cpu_count()} × {model}",
        "memory": f"{memory / 1e6:.0f} GB",
        "load when it started": f"{os.getloadavg()[0]:.1f}",
    }
