"""Addresses with the bucket's name before the host: a service that knows no others, moto under AWS's names; and paths."""

import dataclasses
import http.server
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from delivery import Artifact, Bucket, bucket_from_s3_config, check_bucket, configured_bucket, deliver_s3, fetch_s3, s3_urls
from pipeline import service
from pipeline.errors import Code, JobError
from pipeline.intake.fetch import check_endpoint
from pipeline.progress import Progress
from tests.support.s3_service import S3Service, moto

FILES = [Artifact.of("illustration.svg", b"<svg/>"), Artifact.of("result.json", b"{}")]
STORED = {"shop/j/illustration.svg": b"<svg/>", "shop/j/result.json": b"{}"}


class VirtualOnly(http.server.BaseHTTPRequestHandler):
    """Objects by host and path. Under the service's own name nothing is served, as at Alibaba OSS and Tencent COS."""

    server: "Store"

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        host, key = self.headers["Host"].rpartition(":")[0], self.path.partition("?")[0].lstrip("/")
        self.server.asked.append((self.command, host, key))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name, found = host.removesuffix(f".{OSS}"), self.server.objects
        if name == host or not name:
            self.answer(403, b"<Error><Code>SecondLevelDomainForbidden</Code></Error>")
        elif self.command == "PUT":
            found[key] = body
            self.answer(200)
        elif self.command == "DELETE":
            found.pop(key, None)
            self.answer(204)
        elif key in found:
            self.answer(200, found[key])
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Store(http.server.ThreadingHTTPServer):
    """What lies in the one bucket, and who was asked for what."""

    objects: dict[str, bytes]
    asked: list[tuple[str, str, str]]


OSS = "oss.example"


@contextmanager
def named(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[None]:
    """These names, and all below them, are this machine's."""
    real = socket.getaddrinfo

    def resolve(host: str | bytes, *rest: object, **more: object) -> object:
        text = host.decode() if isinstance(host, bytes) else str(host)
        return real("127.0.0.1" if text.endswith(names) else host, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = Store(("127.0.0.1", 0), VirtualOnly)
    server.objects, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    with named(monkeypatch, OSS):
        yield server
    server.shutdown()
    thread.join()
    server.server_close()


def own(endpoint: str, addressing: str) -> Bucket:
    bucket = configured_bucket(
        endpoint_url=endpoint,
        access_key="a",
        secret_key="b",
        name="pictures",
        prefix="shop",
        addressing=addressing,
        url_expiry_seconds=60,
    )
    assert bucket is not None
    return dataclasses.replace(bucket, max_attempts=1)


def round_trip(bucket: Bucket) -> None:
    """Everything that is ever asked of a bucket."""
    check_bucket(bucket)
    deliver_s3(FILES, bucket, "j")
    for artifact in FILES:
        with urllib.request.urlopen(s3_urls([artifact.name], bucket, "j")[artifact.name]) as answer:
            assert answer.read() == artifact.data
    assert fetch_s3(f"s3://{bucket.name}/shop/j/illustration.svg", bucket, 100) == b"<svg/>"


@pytest.mark.parametrize(
    ("host", "path", "addressing"),
    [("", "", "virtual"), ("pictures.", "", "auto"), ("pictures.", "/", "virtual"), ("", "/pictures", "virtual")],
)
def test_a_service_without_paths(store: Store, host: str, path: str, addressing: str) -> None:
    round_trip(own(f"http://{host}{OSS}:{store.server_port}{path}", addressing))
    assert store.objects == STORED
    assert {host for _, host, _ in store.asked} == {f"pictures.{OSS}"}


@pytest.mark.parametrize("addressing", ["auto", "path"])
def test_a_service_without_paths_that_was_asked_with_one_says_what_to_set(store: Store, addressing: str) -> None:
    with pytest.raises(JobError, match=r"SecondLevelDomainForbidden: .*BUCKET_ADDRESSING=virtual") as failed:
        check_bucket(own(f"http://{OSS}:{store.server_port}", addressing))
    assert failed.value.fatal
    assert store.objects == {}


def test_a_jobs_own_bucket_at_such_a_service(store: Store, worker: service.Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture is fetched from there: it is none, and that is the only fault."""
    store.objects["in/a.jpg"] = b"no picture"
    config = {"accessId": "a", "accessSecret": "b", "bucketName": "pictures", "endpointUrl": f"http://{OSS}:{store.server_port}"}
    free = dataclasses.replace(worker, environment=worker.environment.model_copy(update={"allow_private_urls": True}))
    monkeypatch.setattr("pipeline.service.work.check_endpoint", partial(check_endpoint, resolve=socket.getaddrinfo))
    job = {"image_url": "s3://pictures/in/a.jpg", "delivery": "s3"}
    for given, said in [
        ({}, "INPUT_UNREACHABLE: .*SecondLevelDomainForbidden.*s3Config"),
        ({"addressing": "virtual"}, "UNSUPPORTED_IMAGE"),
    ]:
        with pytest.raises(JobError, match=said):
            service.perform("order", job, free, Progress(), config | given)


def test_the_address_that_is_checked_is_the_one_that_is_asked() -> None:
    """At a service whose own name is public and whose buckets' names are not."""

    def check(url: str) -> None:
        if "pictures.oss.example" in url:
            raise JobError(Code.INPUT_FORBIDDEN, "That address is private.")

    config = {"accessId": "a", "accessSecret": "b", "bucketName": "pictures", "endpointUrl": "https://oss.example", "addressing": "virtual"}
    with pytest.raises(JobError, match="INPUT_FORBIDDEN"):
        bucket_from_s3_config(config, check_endpoint=check, url_expiry_seconds=60)


@pytest.mark.parametrize("addressing", ["auto", "path", "virtual"])
@pytest.mark.parametrize("form", ["http://{}", "http://pictures.{}", "http://{}/pictures"])
def test_moto_under_awss_names(monkeypatch: pytest.MonkeyPatch, moto_service: S3Service, form: str, addressing: str) -> None:
    host = f"s3.eu-west-1.amazonaws.com:{moto_service.endpoint_url.rpartition(':')[2]}"
    client = moto_service.client()
    client.create_bucket(Bucket="pictures")
    with named(monkeypatch, ".amazonaws.com"):
        bucket = own(form.format(host), addressing)
        assert bucket.endpoint_url == f"http://{host}"
        round_trip(bucket)
    assert moto_service.objects(bucket) == STORED
    for key in STORED:
        client.delete_object(Bucket="pictures", Key=key)


@pytest.fixture(scope="module")
def moto_service() -> Iterator[S3Service]:
    yield from moto()


@pytest.mark.xdist_group("s3")
@pytest.mark.parametrize("form", ["{}", "{}/", "{}/NAME"])
@pytest.mark.parametrize("addressing", ["auto", "path"])
def test_the_service_with_paths(s3_service: S3Service, form: str, addressing: str) -> None:
    name = s3_service.new_bucket().name
    bucket = configured_bucket(
        endpoint_url=form.format(s3_service.endpoint_url).replace("NAME", name),
        access_key=s3_service.access_key,
        secret_key=s3_service.secret_key,
        name=name,
        prefix="shop",
        addressing=addressing,
        url_expiry_seconds=60,
    )
    assert bucket is not None
    round_trip(bucket)
    assert s3_service.objects(bucket) == STORED
