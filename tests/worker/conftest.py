from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from model_cache import embedded
from tests.support.control_plane import ControlPlane
from tests.support.real_worker import RealWorker
from tests.support.s3_service import s3_service
from tests.support.serving import NO_NETWORKS

__all__ = ["s3_service"]


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """A control plane that has seen nothing yet; whatever it was asked had RunPod's form."""
    with ControlPlane() as made:
        yield made
        assert made.complaints == []


@pytest.fixture
def start(plane, tmp_path) -> Iterator[Callable[..., RealWorker]]:
    """Start a worker: `start("pod", NAME=value, …)`; at the end all are stopped. Its jobs bring their matte, and it loads no network."""
    with ExitStack() as stack:
        yield lambda pod, **more: stack.enter_context(RealWorker(plane, pod, tmp_path, **{embedded.VARIABLE: NO_NETWORKS, **more}))
