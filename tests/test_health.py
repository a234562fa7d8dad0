import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import health
from tests.support.ports import free_port

ROOT = Path(__file__).parents[1]


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


def test_a_server_notes_its_state_too(state, tmp_path):
    port = str(free_port())
    environment = {**os.environ, "OUTPUT_DIR": str(tmp_path), "WORKERS": "0", "ENGINE": "classical"}
    with subprocess.Popen([sys.executable, "-m", "server", "--port", port], cwd=ROOT, env=environment) as server:
        try:
            while not state.exists() and server.poll() is None:
                time.sleep(0.05)
            assert health.fault(time.time()) is None
            server.terminate()
            assert server.wait(40) in {0, -signal.SIGTERM}
        finally:
            server.kill()
    told = json.loads(state.read_text())
    assert (told["state"], told["pid"]) == ("leaving", server.pid)
    assert health.fault(time.time()) is not None


def test_the_command_says_it_in_one_line_and_its_exit_status(state):
    command = [sys.executable, "-m", "pipeline.health"]
    bad = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (bad.returncode, bad.stderr.count("\n")) == (1, 1)
    health.note("ready")
    good = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ}, check=False)
    assert (good.returncode, good.stderr) == (0, "")
