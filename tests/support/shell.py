"""The shell's commands, as processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def call(*arguments, module="pipeline", **environment):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ENGINE": "classical", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
