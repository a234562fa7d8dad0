"""A volume folder copied to a bucket of a real S3 service: what differs, the lock file last, going on after a stop."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.remote import Remote, send
from builder.workspace import Workspace
from model_cache.manifest import ModelRecord, record_of, write_lock
from tests.support.s3_service import S3Service

PART = 5 << 20  # the smallest that S3 takes
WEIGHTS = bytes(range(256)) * (12 << 12)  # 12 MB: three parts


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    home = folder / "models" / "net"
    home.mkdir(parents=True)
    (home / "config.json").write_text("{}")
    (home / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "styles").mkdir()
    (folder / "styles" / "flat.safetensors").write_bytes(b"style")
    (folder / "styles" / ".half.part").write_bytes(b"no")
    record(folder)
    return folder


def record(volume: Path) -> None:
    files = {file: record_of(volume / "models" / "net" / file) for file in ("config.json", "model.safetensors")}
    write_lock(volume, {"net": ModelRecord(source="org/net", revision="0" * 40, sources={}, files=files)})


class Counting:
    """A client that says which objects are written, and fails before the one named `fails`."""

    def __init__(self, client: Any, fails: str = "") -> None:
        self._client, self._fails, self.written = client, fails, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def upload_file(self, path: str, bucket: str, key: str, **more: Any) -> None:
        self._write(key)
        self._client.upload_file(path, bucket, key, **more)

    def put_object(self, **call: Any) -> None:
        self._write(call["Key"])
        self._client.put_object(**call)

    def _write(self, key: str) -> None:
        if key == self._fails:
            raise KeyboardInterrupt
        self.written.append(key)


@pytest.fixture
def remote(s3_service: S3Service, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_service.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_service.secret_key)
    return Remote(s3_service.new_bucket().name, s3_service.endpoint_url, part=PART, prefix="a/b")


def copy(volume: Path, remote: Remote, s3_service: S3Service, fails: str = "") -> list[str]:
    client = Counting(s3_service.client(), fails)
    with suppress(KeyboardInterrupt):
        send(Workspace(volume), remote, lambda _: None, lambda *_: None, client)
    return client.written


def objects(remote: Remote, s3_service: S3Service) -> dict[str, bytes]:
    client = s3_service.client()
    listed = client.list_objects_v2(Bucket=remote.bucket)["Contents"]
    return {it["Key"]: client.get_object(Bucket=remote.bucket, Key=it["Key"])["Body"].read() for it in listed}


def test_a_volume_is_copied_once(volume: Path, remote: Remote, s3_service: S3Service) -> None:
    said: list[str] = []
    send(Workspace(volume), remote, said.append, lambda *_: None)
    there = objects(remote, s3_service)
    assert there["a/b/models/net/model.safetensors"] == WEIGHTS
    assert set(there) == {
        "a/b/models.lock.json",
        "a/b/models/net/config.json",
        "a/b/models/net/model.safetensors",
        "a/b/styles/flat.safetensors",
    }
    lock = json.loads(there["a/b/models.lock.json"])
    assert {it["mtime_ns"] for it in lock["net"]["files"].values()} == {0}
    assert said[0].startswith("3 of 3 files to send, 12.6 MB")
    assert copy(volume, remote, s3_service) == ["a/b/models.lock.json"]


def test_a_stopped_copy_goes_on_with_the_lock_file_last(volume: Path, remote: Remote, s3_service: S3Service) -> None:
    first = copy(volume, remote, s3_service, fails="a/b/models/net/model.safetensors")
    assert first == ["a/b/models/net/config.json"]
    second = copy(volume, remote, s3_service)
    assert second == ["a/b/models/net/model.safetensors", "a/b/styles/flat.safetensors", "a/b/models.lock.json"]


def test_what_differs_is_sent(volume: Path, remote: Remote, s3_service: S3Service) -> None:
    copy(volume, remote, s3_service)
    (volume / "models" / "net" / "config.json").write_text("[]")
    record(volume)
    s3_service.client().put_object(Bucket=remote.bucket, Key="a/b/styles/flat.safetensors", Body=b"elyts")
    assert copy(volume, remote, s3_service) == ["a/b/models/net/config.json", "a/b/styles/flat.safetensors", "a/b/models.lock.json"]


def test_another_machine_knows_what_is_there_by_the_buckets_lock_file(volume: Path, remote: Remote, s3_service: S3Service) -> None:
    copy(volume, remote, s3_service)
    for note in (volume / ".builder" / "mirror").iterdir():
        note.unlink()
    assert copy(volume, remote, s3_service) == ["a/b/styles/flat.safetensors", "a/b/models.lock.json"]


def test_a_volume_that_is_not_as_recorded_is_not_copied(volume: Path, remote: Remote) -> None:
    (volume / "models" / "net" / "config.json").write_text("[1]")
    with pytest.raises(BuilderError, match=r"net is not as recorded \(config\.json\)"):
        send(Workspace(volume), remote, lambda _: None, lambda *_: None)
    with pytest.raises(BuilderError, match="no recorded model"):
        send(Workspace(volume / "styles"), remote, lambda _: None, lambda *_: None)


def test_refusals_are_told_without_keys(volume: Path, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuilderError, match="The bucket no-such-bucket answered NoSuchBucket: check --s3-bucket"):
        send(Workspace(volume), Remote("no-such-bucket", remote.endpoint), lambda _: None, lambda *_: None)
    with pytest.raises(BuilderError, match=r"could not be used \(EndpointConnectionError\)"):
        send(Workspace(volume), Remote("some", "http://127.0.0.1:1"), lambda _: None, lambda *_: None)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BuilderError, match="Set AWS_SECRET_ACCESS_KEY: the keys"):
        send(Workspace(volume), remote, lambda _: None, lambda *_: None)


def test_the_region_is_the_data_centres() -> None:
    assert Remote("b", "https://s3api-eu-ro-1.runpod.io").signing_region == "EU-RO-1"
    assert Remote("b", "https://s3api-eu-ro-1.runpod.io/", "X").signing_region == "X"
    assert Remote("b").signing_region == "us-east-1"
