"""`python -u handler.py` in real worker mode against `tests.support.control_plane`: a container's worth of processes."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from delivery import Bucket
from pipeline.sample import scene
from tests.support import quick
from tests.support.control_plane import ControlPlane
from tests.support.pictures import save

ROOT = Path(__file__).parents[2]
HANDLER = str(ROOT / "handler.py")
#: What every job here asks for.
SMALL: dict[str, Any] = {"size": 1024, "outputs": ["svg", "png"], "remove": []}


@cache
def drawn(seed: int = 7) -> dict[str, str]:
    """A small picture of a vehicle and its matte, base64: with `SMALL` the least work that a whole job can be."""
    picture = scene(seed=seed, width=160, height=120)
    matte = Image.fromarray(np.where(picture.mask, 255, 0).astype(np.uint8))
    files = {"image_base64": save(Image.fromarray(picture.rgb), "JPEG", quality=88), "matte_base64": save(matte, "PNG")}
    return {name: base64.b64encode(data).decode() for name, data in files.items()}


def bucket_environment(bucket: Bucket) -> dict[str, str]:
    """The deployment's bucket as a worker's environment."""
    return {
        "BUCKET_ENDPOINT_URL": str(bucket.endpoint_url), "BUCKET_NAME": bucket.name,
        "BUCKET_ACCESS_KEY_ID": bucket.access_key, "BUCKET_SECRET_ACCESS_KEY": bucket.secret_key,
    }  # fmt: skip


class RealWorker:
    """One worker: its process and those that it started, its log, and what the control plane is told of its end.

    `code` are arguments of Python instead of the handler's path; `before` a command that the whole is run by; variables that are None
    are not set.
    """

    def __init__(
        self,
        plane: ControlPlane,
        pod: str,
        folder: Path,
        *,
        code: list[str] | None = None,
        before: tuple[str, ...] = (),
        **more: str | None,
    ) -> None:
        self.plane, self.pod = plane, pod
        # the SDK's lines, and the worker's own: two streams, as in a container
        self.log, self.own_log = folder / f"{pod}.log", folder / f"{pod}.err"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BUCKET_", "RUNPOD_", "MODEL_VOLUME"))}
        given = {
            "ENGINE": "classical",
            "OUTPUT_DIR": str(folder / "out"),
            "WORKER_STATE": str(folder / f"{pod}.state"),
            "PYTHONPATH": str(ROOT),
            **quick.VARIABLE,
        }
        wanted = {**kept, **given, **plane.environment(pod), **more}
        self.environment = {name: value for name, value in wanted.items() if value is not None}
        with self.log.open("wb") as out, self.own_log.open("wb") as own:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-u", *(code or [HANDLER])],
                cwd=folder, env=self.environment, stdout=out, stderr=own, start_new_session=True,
            )  # fmt: skip
        self.ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """As a container engine: when the first process ends, all others do, and the platform hears of it."""
        self.process.wait()
        with suppress(ProcessLookupError):  # nothing is left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.plane.gone(self.pod)
        self.ended.set()

    def kill(self) -> None:
        """SIGKILL for every process, as when a machine fails."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as the platform does it: no job comes any more, and polls that are open end."""
        self.process.terminate()
        self.plane.stop_pod(self.pod)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The worker's own log lines of these events (else all), in order."""
        lines = (json.loads(line) for line in self.own_log.read_text("utf-8", "replace").splitlines() if line.startswith('{"'))
        return [line for line in lines if "event" in line and (not names or line["event"] in names)]

    def printed(self) -> str:
        """Everything that it has printed."""
        return "".join(log.read_text("utf-8", "replace") for log in (self.log, self.own_log))

    def close(self) -> None:
        """End it kindly, else by force."""
        if not self.ended.is_set():
            self.stop()
            if not self.ended.wait(20):
                self.kill()
        self.ended.wait(10)

    def __enter__(self) -> "RealWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
