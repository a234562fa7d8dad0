"""The machine that something was measured on."""

import platform
from pathlib import Path


def machine() -> str:
    """The processor's name as Linux tells it, and the Python."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return f"{names[0] if names else platform.machine()}, Python {platform.python_version()}"
