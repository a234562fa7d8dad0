"""A builder that is stopped or killed: no child is left, no half file is served, the next run goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_cache.embedded import EFFICIENTNET, ISNET
from tests.networks.conftest import ASSET, Machine
from tests.networks.known import ONNX, SERVED, sha256
from tests.support.signals import hears_interrupts

ROOT = Path(__file__).parents[2]


def start(machine: Machine, **more: str) -> subprocess.Popen[str]:
    """`fetch --embedded` in a process of its own."""
    command = [sys.executable, "-m", "tests.networks.tiny_builder", f"{machine.hub.endpoint}/files/{ASSET}", "fetch", "--embedded"]
    environment = {**machine.environment(), **more}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hears_interrupts,  # noqa: PLW1509
    )


def npm_process(machine: Machine) -> int:
    """The id of the npm that packs, as soon as it does."""
    for _ in range(1800):
        log = machine.root / "npm.log"
        packing = [line for line in log.read_text().splitlines() if line.startswith("pack")] if log.exists() else []
        if packing:
            return int(packing[-1].split()[-1])
        time.sleep(0.05)
    raise AssertionError("npm was never asked to pack")


def test_an_interrupt_ends_what_was_started(machine):
    with start(machine, FAKE_NPM_SECONDS="60") as builder:
        npm = npm_process(machine)
        builder.send_signal(signal.SIGINT)
        said, _ = builder.communicate(timeout=90)
    assert builder.returncode == 130, said
    assert "run the same command again to go on" in said
    with pytest.raises(ProcessLookupError):
        os.kill(npm, 0)
    assert not (machine.folder / ".builder" / "scratch").exists()


def test_builders_killed_at_random_leave_nothing_half(machine):
    moments = random.Random(7)
    for _ in range(8):
        with start(machine, FAKE_NPM_SECONDS="0.2") as builder:
            time.sleep(moments.uniform(0.3, 2.0))
            builder.kill()
        for name, content in machine.served().items():  # raises where something else stands there
            assert content == {ISNET: sha256(SERVED), EFFICIENTNET: sha256(ONNX)}[name]
    assert "complete" in machine.fetch()
    assert machine.served() == {ISNET: sha256(SERVED), EFFICIENTNET: sha256(ONNX)}
    assert machine.run("verify", "--embedded") == "Everything is as pinned.\n"
