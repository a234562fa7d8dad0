"""How requests to a bucket leave this process: to checked addresses only, never beyond the deadline, ended by a cancellation."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from delivery import Artifact, Bucket, bucket_from_s3_config, deliver_s3, fetch_s3
from pipeline.errors import Code, JobError
from pipeline.intake.fetch import check_endpoint, fetch
from pipeline.intake.network import is_public
from tests.intake.test_fetch import answering, certificate
from tests.support.s3_service import S3Service

__all__ = ["certificate"]

FILES = [Artifact.of("illustration.svg", b"<svg/>"), Artifact.of("result.json", b"{}")]
NOT_THERE = b"HTTP/1.1 404 No\r\nContent-Length: 39\r\n\r\n<Error><Code>NoSuchKey</Code></Error>\r\n\r\n"


@contextmanager
def listening(act: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server that does `act` with every connection whose request has come; yields its port and the first lines of the requests."""
    asked: list[str] = []
    server = socket.create_server(("127.0.0.1", 0), backlog=32)

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            plain = context.wrap_socket(connection, server_side=True) if context else connection
            asked.append(plain.recv(65536).partition(b"\r\n")[0].decode())
            act(plain)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1], asked
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def at(port: int, name: str = "127.0.0.1", scheme: str = "http", **more: object) -> Bucket:
    given = {"connect_timeout": 5.0, "read_timeout": 20.0, "max_attempts": 1, "seconds": 1.0, **more}
    return Bucket(f"{scheme}://{name}:{port}", "key", "secret-key", "bucket", **given)


def refused(call: Callable[[], object], within: float = 6.0) -> JobError:
    began = time.monotonic()
    with pytest.raises(JobError) as failed:
        call()
    assert time.monotonic() - began < within
    assert "secret-key" not in str(failed.value)
    return failed.value


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def drips_its_head(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def drips_its_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"x")
        time.sleep(0.1)


def takes_no_more(connection: socket.socket) -> None:
    time.sleep(30)


@pytest.mark.parametrize("act", [silent, drips_its_head, drips_its_body, takes_no_more], ids=lambda act: act.__name__)
def test_whatever_a_service_does_the_delivery_and_the_fetch_end_by_their_deadline(act):
    with listening(act) as (port, asked):
        failed = refused(lambda: deliver_s3(FILES, at(port), "j"))
        assert str(failed) == "DELIVERY_FAILED: The service of the bucket bucket does not answer in time."
        failed = refused(lambda: fetch_s3("s3://bucket/photo.jpg", at(port), 10_000))
        assert failed.code is Code.INPUT_UNREACHABLE
        assert asked


def test_a_large_upload_that_is_not_taken_ends_by_the_deadline():
    def missing_then_deaf(connection: socket.socket) -> None:
        connection.sendall(NOT_THERE)  # nothing lies there yet
        time.sleep(30)

    with listening(missing_then_deaf) as (port, _):
        large = [Artifact.of("preview.png", bytes(30_000_000))]
        assert refused(lambda: deliver_s3(large, at(port), "j")).code is Code.DELIVERY_FAILED


def test_a_name_server_that_never_answers(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30))
    failed = refused(lambda: deliver_s3(FILES, at(1, "buckets.example"), "j"))
    released.set()
    assert failed.code is Code.DELIVERY_FAILED
    assert "in time" in failed.sentence


@pytest.mark.parametrize("act", [silent, drips_its_head, drips_its_body], ids=lambda act: act.__name__)
def test_a_cancellation_ends_what_waits(act):
    with listening(act) as (port, asked):

        def check() -> None:
            if asked:
                raise JobError(Code.CANCELLED, "The job was cancelled.")

        bucket = at(port, seconds=60.0)
        assert refused(lambda: deliver_s3(FILES, bucket, "j", check=check), 5).code is Code.CANCELLED
        assert refused(lambda: fetch_s3("s3://bucket/a.jpg", bucket, 10_000, check=check), 5).code is Code.CANCELLED
        url = f"http://127.0.0.1:{port}/a.jpg"
        stopped = refused(lambda: fetch(url, max_bytes=10_000, allow_private=True, timeout=60, check=check), 5)
        assert stopped.code is Code.CANCELLED


def test_a_jobs_endpoint_that_changes_its_address_after_the_check_gains_nothing(monkeypatch):
    """DNS rebinding: public while the job is checked, this machine when the bucket is used."""
    answers = ["93.184.215.14", "127.0.0.1"]
    with listening(lambda connection: connection.sendall(NOT_THERE)) as (port, asked):
        config = {"accessId": "a", "accessSecret": "secret-key", "bucketName": "bucket", "endpointUrl": f"http://rebinding.example:{port}"}

        def resolve(host, port, **_):
            return answering(answers[0] if len(answers) == 1 else answers.pop(0))(host, port)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        check = lambda url: check_endpoint(url, allow_private=False, timeout=5.0, resolve=resolve)  # noqa: E731
        bucket = bucket_from_s3_config(config, check_endpoint=check, url_expiry_seconds=60)
        for call in (lambda: deliver_s3(FILES, bucket, "j"), lambda: fetch_s3("s3://bucket/a.jpg", bucket, 100)):
            failed = refused(call)
            assert failed.code is Code.INPUT_FORBIDDEN
            assert not failed.fatal
        assert asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_service_that_redirects_is_not_followed(monkeypatch, status):
    """Not to a private address, and not to any other: a bucket's answers are errors or objects."""
    monkeypatch.setattr("pipeline.intake.network.is_public", lambda address: address == "127.0.0.1" or is_public(address))
    with listening(lambda connection: connection.sendall(NOT_THERE)) as (inner, inner_asked):
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{inner}/metadata\r\nContent-Length: 0\r\n\r\n".encode()
        with listening(lambda connection: connection.sendall(answer)) as (port, asked):
            bucket = at(port, allow_private=False, deployments=False)
            failed = refused(lambda: deliver_s3(FILES, bucket, "j"))
            assert failed.code is Code.DELIVERY_FAILED
            assert (
                failed.sentence == f"The bucket bucket answered {status}: redirects are not followed, so give the endpoint's final address."
            )
            assert refused(lambda: fetch_s3("s3://bucket/a.jpg", bucket, 100)).code is Code.INPUT_UNREACHABLE
            assert 2 <= len(asked) <= len(FILES) + 1  # one request each: botocore's search for a region asks nothing
        assert inner_asked == []


@pytest.fixture
def secure(certificate) -> Iterator[tuple[int, list[str]]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    body = b"the object"
    with listening(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + body), context) as served:
        yield served


def test_certificates(secure, certificate, monkeypatch):
    """An unknown authority and another name are refused; an authority of the deployment's own is what AWS_CA_BUNDLE names."""
    port, asked = secure
    monkeypatch.setattr(socket, "getaddrinfo", answering("127.0.0.1"))

    def get(name: str) -> bytes:
        return fetch_s3("s3://bucket/a.jpg", at(port, name, "https", seconds=5.0), 100)

    assert "has no valid certificate" in refused(lambda: get("pictures.example")).sentence
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert get("pictures.example") == b"the object"
    assert "has no valid certificate" in refused(lambda: get("other.example")).sentence
    assert len(asked) == 1


def test_no_connection_outlives_its_delivery(s3_service: S3Service):
    bucket = s3_service.new_bucket()

    def deliver() -> None:
        deliver_s3(FILES, bucket, "j")
        with listening(silent) as (port, _):
            refused(lambda: deliver_s3(FILES, at(port, seconds=0.2), "j"))

    deliver()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        deliver()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
