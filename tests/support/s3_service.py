"""A real S3 service on loopback for tests: OpenStack Swift where its starter is there, else moto's server in this process.

`from tests.support.s3_service import s3_service` in a conftest makes the session's fixture; `bucket_of(service)` gives an empty bucket.
"""

import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from delivery import Bucket
from tests.support.ports import free_ports

STARTER = Path(__file__).parents[3] / "shared" / "tools" / "s3-server"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class S3Service:
    """Where the service listens, its keys, and `checks_keys`: whether it refuses wrong ones (moto's does not)."""

    kind: str
    endpoint_url: str
    access_key: str
    secret_key: str
    checks_keys: bool

    def client(self) -> Any:
        """The tests' own client. It is patient: on a busy machine Swift answers 503 when its own nodes do not answer at once."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                retries={"mode": "standard", "total_max_attempts": 10},
            ),
        )

    def new_bucket(self, **settings: Any) -> Bucket:
        """An empty bucket of a name that no other test has."""
        name = f"test-{os.getpid()}-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        given = {"endpoint_url": self.endpoint_url, "access_key": self.access_key, "secret_key": self.secret_key}
        return Bucket(**{**given, "name": name, **settings})

    def keys(self, bucket: Bucket) -> set[str]:
        """The names of everything in the bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def objects(self, bucket: Bucket) -> dict[str, bytes]:
        """Everything in the bucket, which nobody else must be using."""
        client = self.client()
        return {key: client.get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in sorted(self.keys(bucket))}


def _start_swift(folder: Path) -> int:
    """Its port."""
    port = free_ports(5)
    command = [str(STARTER), "start", str(port), str(folder)]
    # to a file: the daemons inherit the output, and a pipe would stay open as long as they live
    log = folder / "start.log"
    with log.open("wb") as out:
        subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=300, check=True)
    return port


def _stop_swift(folder: Path) -> None:
    subprocess.run([str(STARTER), "stop", str(folder)], timeout=60, check=True)


def _swift_at(port: int) -> S3Service:
    return S3Service("swift", f"http://127.0.0.1:{port}", "test:tester", "testing", checks_keys=True)


def _counted(shared: Path, change: int) -> S3Service:
    """One Swift for all test processes of a run, whose folder is `shared`: the first user starts it, the last one stops it."""
    with (shared / "s3.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = shared / "s3.json"
        state = json.loads(file.read_text()) if file.exists() else {"users": 0}
        if state["users"] == 0:
            home = tempfile.mkdtemp(prefix="s3-", dir=shared)
            state = {"users": 0, "home": home, "port": _start_swift(Path(home))}
        state["users"] += change
        if state["users"] == 0:
            _stop_swift(Path(state["home"]))
        file.write_text(json.dumps(state))
        return _swift_at(state["port"])


def moto() -> Iterator[S3Service]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Service("moto", f"http://{host}:{port}", "moto-access", "moto-secret", checks_keys=False)
    finally:
        server.stop()


def _has_swift() -> bool:
    return STARTER.exists() and (shutil.which("swift-proxy-server") is not None or os.geteuid() == 0)


@contextmanager
def running(folder: Path) -> Iterator[S3Service]:
    """A service that keeps its objects below `folder`."""
    if not _has_swift():
        yield from moto()
        return
    port = _start_swift(folder)
    try:
        yield _swift_at(port)
    finally:
        _stop_swift(folder)


@pytest.fixture(scope="session")
def s3_service(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[S3Service]:
    """The S3 service of this test run."""
    if worker_id == "master" or not _has_swift():
        with running(tmp_path_factory.mktemp("s3")) as service:
            yield service
        return
    shared = tmp_path_factory.getbasetemp().parent
    service = _counted(shared, 1)
    try:
        yield service
    finally:
        _counted(shared, -1)
