"""A short run of the bench that kills the builder at random moments."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: More in a soak.
KILLS = "50" if os.environ.get("SOAK") == "1" else "3"


@pytest.mark.soak
@pytest.mark.neural
def test_a_killed_builder_leaves_nothing_wrong() -> None:
    command = [sys.executable, "-m", "bench.builder_kill", "--kills", KILLS, "--only", "birefnet,sdxl-scheduler,realesrgan-anime"]
    environment = {name: value for name, value in os.environ.items() if name not in {"PIPELINE_CONFIG", "MODEL_VOLUME_PATH"}}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAULT" not in done.stdout
