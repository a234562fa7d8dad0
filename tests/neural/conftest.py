"""What the neural tests share: a torchvision that imports beside a CPU torch, and one volume of tiny models a run."""

import fcntl
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import pytest

from tests import tiny_volume as volumes


@pytest.fixture(scope="session")
def tiny_volume(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A complete model volume of tiny random models, built once a run and shared by all workers. Never write into it: `copy_volume`."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder, done = shared / "tiny_volume", shared / "tiny_volume.done"
    with (shared / "tiny_volume.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            volumes.build(folder)
            done.touch()
    return folder
