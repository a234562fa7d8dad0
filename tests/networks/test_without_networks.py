"""Tests that need the networks where they are not here: skipped, counted, and a failure in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("ci", "status", "processes"), [("", 0, "0"), ("true", 1, "1")])
def test_the_last_lines_say_how_many_and_what_brings_them(tmp_path, ci, status, processes):
    environment = {**os.environ, "NETWORKS_PATH": str(tmp_path / "none"), "CI": ci}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    command = [sys.executable, "-m", "pytest", "-n", processes, "-p", "no:cacheprovider", "tests/networks/test_real.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    last = "\n".join(done.stdout.splitlines()[-3:])
    assert "4 tests were skipped, because the embedded engine's networks are not here" in last
    assert "python -m builder fetch --embedded brings them." in last
