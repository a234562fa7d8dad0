import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import health


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKER_STATE", str(tmp_path / "state.json"))
    return tmp_path / "state.json"


def test_nothing_noted_is_not_well(state):
    assert health.fault(time.time()) is not None
    state.write_text("{half a file")
    assert health.fault(time.time()) is not None


@pytest.mark.parametrize(
    ("noted", "seconds", "later", "well"),
    [
        ("starting", None, 100, True),
        ("starting", None, health.START_SECONDS + 1, False),
        ("ready", None, 1e6, True),
        ("busy", 300.0, 299, True),
        ("busy", 300.0, 301, False),
        ("leaving", None, 0, False),
    ],
)
def test_states(noted, seconds, later, well):
    health.note(noted, seconds)
    assert (health.fault(time.time() + later) is None) is well


def test_a_process_that_is_gone(state):
    health.note("ready")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    state.write_text(json.dumps({**json.loads(state.read_text()), "pid": gone.pid}))
    assert "gone" in health.fault(time.time())


def test_the_command_says_it_in_one_line_and_its_exit_status(state):
    command = [sys.executable, "-m", "pipeline.health"]
    bad = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert (bad.returncode, bad.stderr.count("\n")) == (1, 1)
    health.note("ready")
    good = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], env={**os.environ}, check=False)
    assert (good.returncode, good.stderr) == (0, "")
