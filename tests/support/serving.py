"""A running pod server for the tests: a process of its own on a free port, asked over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from model_cache import embedded
from tests.support import quick
from tests.support.pictures import save
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
#: A quick job: a small square, a given box, and nothing to look for.
QUICK = {"size": 1024, "vehicle_box": [0.1, 0.1, 0.9, 0.9], "remove": []}
#: One that takes some seconds.
SLOW = {"size": 8192, "vehicle_box": [0.1, 0.1, 0.9, 0.9]}
#: Servers here do without the embedded networks, which take seconds a job; those that are to find a vehicle say where they are.
NO_NETWORKS = "/no networks here"
JOB_SECONDS = 300  # how long a job may take on a busy machine


def sample_photo(width: int) -> bytes:
    """The server's sample, made smaller."""
    with Image.open(ROOT / "server" / "sample.jpg") as sample:
        return save(sample.resize((width, width * 2 // 3)), "JPEG", quality=88)


def until(true: Callable[[], Any], seconds: float = 30.0, every: float = 0.05) -> Any:
    """What `true` answers once it is true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(every)
    return found


def is_engine(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"server.engine" in words and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def engines_of(folder: Path) -> list[int]:
    """Process ids of the engines that work for an output folder."""
    wanted = f"OUTPUT_DIR={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and is_engine(int(entry.name)):
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if wanted in environment:
                found.append(int(entry.name))
    return found


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    folder: Path
    client: httpx.Client
    log: Path

    def submit(self, photo: bytes, headers: dict[str, str] | None = None, **options: Any) -> str:
        answer = self.client.post(
            "/api/v1/process", files={"file": ("car.jpg", photo)}, data={"options": json.dumps(options)}, headers=headers or {}
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def over(self, job_id: str, seconds: float = JOB_SECONDS) -> dict[str, Any]:
        """The job once it has ended."""
        return until(lambda: (told := self.job(job_id))["status"] in ("completed", "failed", "cancelled") and told, seconds)

    def working(self, job_id: str, attempt: int = 1) -> None:
        """Wait until the job is at work for this time, past its photo's decoding."""

        def there() -> Any:
            told = self.job(job_id)
            assert told["status"] in ("pending", "processing"), told
            return told["attempts"] == attempt and told["progress"] and told["progress"]["phase"] != "fetch"

        until(there, JOB_SECONDS, 0.02)

    def ready(self) -> None:
        until(lambda: self.client.get("/ready").status_code == 200, JOB_SECONDS)

    def engine(self) -> int:
        """The process of the one engine."""
        return until(lambda: (found := engines_of(self.folder)) and len(found) == 1 and found[0])

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 where it is not there."""
        for text in self.client.get("/metrics").text.splitlines():
            if text.startswith(f"{line} "):
                return float(text.rpartition(" ")[2])
        return 0.0

    def kill(self) -> None:
        """kill -9 of the web process."""
        self.process.kill()
        self.process.wait(10)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "NUMBA_CACHE_DIR") if name in os.environ}
    own = {"ENGINE": "classical", "OUTPUT_DIR": str(folder), embedded.VARIABLE: NO_NETWORKS, **quick.VARIABLE}
    return kept | own | settings


@contextmanager
def serving(folder: Path, *, command: list[str] | None = None, **settings: str) -> Iterator[Server]:
    """A server; it listens when the block begins, its engine may not be ready. `command` with {port} in place of `python -m server`."""
    folder.mkdir(exist_ok=True)
    port, log = free_port(), folder / "server.log"
    words = [word.format(port=port) for word in command or [sys.executable, "-m", "server", "--port", "{port}"]]
    with log.open("ab") as out:
        process = subprocess.Popen(words, cwd=ROOT, env=environment(folder, **settings), stdout=out, stderr=out)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        server = Server(process, folder, client, log)

        def listens() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                return client.get("/health").status_code == 200
            except httpx.TransportError:
                return False

        try:
            until(listens, JOB_SECONDS)
            yield server
        finally:
            for pid in engines_of(folder):  # a stopped one could not end
                os.kill(pid, signal.SIGCONT)
            if process.poll() is None:
                process.terminate()
            process.wait(60)
