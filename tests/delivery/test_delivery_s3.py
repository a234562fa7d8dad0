"""S3 delivery against a real service, and against a proxy in front of it that fails on demand."""

import dataclasses
import gzip
import http.server
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from delivery import Artifact, Bucket, check_bucket, deliver_s3, fetch_s3, s3_urls
from pipeline.errors import Code, JobError
from tests.support.faulty_proxy import DROP, HANG, faulty_proxy
from tests.support.pictures import encoded
from tests.support.ports import free_port
from tests.support.s3_service import S3Service

pytestmark = pytest.mark.xdist_group("s3")  # one service for all of them

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
FILES = [
    Artifact.of("result.json", b"{}"),
    Artifact.of("illustration.svg", SVG),
    Artifact.of("preview.png", b"\x89PNG" + bytes(range(256)) * 300),
    Artifact.of("report.html", "<p>é".encode()),
    Artifact.of("illustration.pdf", b"%PDF-"),
    Artifact.of("labels.png", b"\x89PNG"),
]


def quick(bucket: Bucket, **changes: object) -> Bucket:
    """The bucket with timeouts that suit a test."""
    return dataclasses.replace(bucket, **{"connect_timeout": 2.0, "read_timeout": 2.0, "max_attempts": 2, **changes})


def refused(call: Callable[[], object]) -> JobError:
    """The error that `call` ends with."""
    with pytest.raises(JobError) as failed:
        call()
    return failed.value


def test_stores_everything_under_the_keys_and_signs_urls_that_download(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket(prefix="shop/vectors", url_expiry_seconds=600)
    deliver_s3(FILES, bucket, "job-1")
    urls = s3_urls([artifact.name for artifact in FILES], bucket, "job-1")
    assert s3_service.objects(bucket) == {f"shop/vectors/job-1/{a.name}": a.data for a in FILES}
    for artifact in FILES:
        with urllib.request.urlopen(urls[artifact.name]) as answer:
            assert answer.read() == artifact.data
            assert answer.headers["Content-Type"].replace(" ", "").lower() == artifact.content_type.replace(" ", "").lower()
        assert "X-Amz-Expires=600" in urls[artifact.name] and "AWS4-HMAC-SHA256" in urls[artifact.name]
    if s3_service.checks_keys:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urls["preview.png"].partition("?")[0])
        assert refused.value.code in {400, 401, 403}  # Swift takes a bare request for a wrong one


def test_public_base_url_is_quoted_and_unsigned(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket(public_base_url="https://cdn.example/art/")
    deliver_s3(FILES[1:2], bucket, "order 7/ä#1")
    urls = s3_urls(["illustration.svg"], bucket, "order 7/ä#1")
    assert urls == {"illustration.svg": "https://cdn.example/art/order%207/%C3%A4%231/illustration.svg"}
    assert s3_service.objects(bucket) == {"order 7/ä#1/illustration.svg": SVG}


def test_a_repeated_job_overwrites_itself(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    deliver_s3(FILES, bucket, "j")
    deliver_s3([Artifact.of("illustration.svg", b"<svg>2</svg>")], bucket, "j")
    assert s3_service.objects(bucket)["j/illustration.svg"] == b"<svg>2</svg>"


def test_no_checksum_trailers_and_result_last(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    with faulty_proxy(s3_service.endpoint_url, lambda *_: None) as (address, asked):
        deliver_s3(FILES, dataclasses.replace(bucket, endpoint_url=address), "j")
    puts = [line for line in asked if line.startswith("PUT")]
    assert puts[-1] == f"PUT /{bucket.name}/j/result.json" and len(puts) == len(FILES)
    # a trailer would have been stored as part of the data by this proxy, which does not know the aws-chunked encoding
    assert s3_service.objects(bucket) == {f"j/{a.name}": a.data for a in FILES}


def test_a_late_result_is_made_when_the_others_are_stored(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    seen: list[set[str]] = []

    def make() -> bytes:
        seen.append(set(s3_service.objects(bucket)))
        return b"late"

    deliver_s3([Artifact.late("result.json", make), *FILES[1:]], bucket, "j")
    assert seen == [{f"j/{a.name}" for a in FILES[1:]}]
    assert s3_service.objects(bucket)["j/result.json"] == b"late"


@pytest.mark.parametrize(("status", "said"), [(500, "InternalError"), (403, "AccessDenied")])
def test_a_failed_upload_leaves_nothing(s3_service: S3Service, status: int, said: str) -> None:
    bucket = s3_service.new_bucket()
    deliver_s3(FILES[1:2], bucket, "other")

    def fault(method: str, path: str) -> int | None:
        return status if method == "PUT" and "preview.png" in path else None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, asked), pytest.raises(JobError) as failed:
        deliver_s3(FILES, quick(bucket, endpoint_url=address), "j")
    assert failed.value.code is Code.DELIVERY_FAILED
    assert bucket.name in failed.value.sentence and said in failed.value.sentence
    for hidden in (bucket.secret_key, bucket.access_key, "secret prose", "http", "X-Amz"):
        assert hidden not in failed.value.sentence
    assert sum("PUT" in line and "preview.png" in line for line in asked) == (2 if status == 500 else 1)  # only 5xx is retried
    assert s3_service.objects(bucket) == {"other/illustration.svg": SVG}


def test_a_passing_fault_is_retried(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    first = threading.Event()

    def fault(method: str, path: str) -> int | None:
        if method == "PUT" and "preview.png" in path and not first.is_set():
            first.set()
            return 500
        return None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, _):
        deliver_s3(FILES, quick(bucket, endpoint_url=address), "j")
    assert first.is_set() and len(s3_service.objects(bucket)) == len(FILES)


def test_failure_puts_the_earlier_run_back_with_its_headers(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    client = s3_service.client()
    client.put_object(
        Bucket=bucket.name,
        Key="j/illustration.svg",
        Body=b"old",
        ContentType="image/svg+xml",
        CacheControl="no-store",
        Metadata={"by": "me"},
    )
    client.put_object(Bucket=bucket.name, Key="j/notes.txt", Body=b"the user's own")
    before = s3_service.objects(bucket)

    def fault(method: str, path: str) -> int | None:
        return 403 if method == "PUT" and "result.json" in path else None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, asked), pytest.raises(JobError, match="AccessDenied"):
        deliver_s3(FILES, quick(bucket, endpoint_url=address), "j")
    assert f"PUT /{bucket.name}/j/illustration.svg" in asked  # it really had been overwritten
    assert s3_service.objects(bucket) == before
    restored = client.get_object(Bucket=bucket.name, Key="j/illustration.svg")
    assert (restored["ContentType"], restored["Metadata"]) == ("image/svg+xml", {"by": "me"})
    if s3_service.kind != "swift":  # Swift's S3 layer keeps no Cache-Control
        assert restored["CacheControl"] == "no-store"


def test_an_unreadable_object_is_neither_overwritten_nor_deleted(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    s3_service.client().put_object(Bucket=bucket.name, Key="j/illustration.svg", Body=b"somebody's")

    def fault(method: str, path: str) -> int | None:
        return 403 if method == "GET" else None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, _):
        refusal = "NotImplemented: let the key read" if s3_service.kind == "swift" else "PreconditionFailed: an object that the key"
        with pytest.raises(JobError, match=refusal):
            deliver_s3(FILES, quick(bucket, endpoint_url=address), "j")
        assert s3_service.objects(bucket) == {"j/illustration.svg": b"somebody's"}
        if s3_service.kind != "swift":  # Swift's S3 layer knows no conditional put
            deliver_s3(FILES, quick(bucket, endpoint_url=address), "free")
            assert len(s3_service.objects(bucket)) == 1 + len(FILES)


def test_what_could_not_be_undone_is_said(s3_service: S3Service, caplog: pytest.LogCaptureFixture) -> None:
    bucket = s3_service.new_bucket()

    def fault(method: str, path: str) -> int | None:
        return 403 if method == "DELETE" or (method == "PUT" and "result.json" in path) else None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, _), caplog.at_level(logging.WARNING, "delivery"):
        failed = refused(lambda: deliver_s3(FILES, quick(bucket, endpoint_url=address), "j"))
    assert failed.sentence.endswith(
        "Not undone in the bucket: illustration.pdf, illustration.svg, labels.png, preview.png, report.html."
    )  # result.json was never stored
    assert "could not be undone" in caplog.text and bucket.secret_key not in caplog.text


def test_cancelling_stops_and_undoes(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()

    def check() -> None:
        if "j/illustration.svg" in s3_service.objects(bucket):
            raise JobError(Code.CANCELLED, "The job was cancelled.")

    with pytest.raises(JobError) as cancelled:
        deliver_s3(FILES, bucket, "j", check=check)
    assert cancelled.value.code is Code.CANCELLED
    assert s3_service.objects(bucket) == {}


def test_who_fails_leaves_what_another_delivery_has_put_meanwhile(s3_service: S3Service) -> None:
    """The other one's drawing has the same bytes, as the same job's has: they tell nothing of who put it there."""
    bucket = s3_service.new_bucket()
    others = [Artifact.of("illustration.svg", SVG), Artifact.of("result.json", b'{"by": "the other"}')]

    def check() -> None:
        if "j/illustration.svg" in s3_service.objects(bucket):
            deliver_s3(others, bucket, "j")
            raise JobError(Code.CANCELLED, "The job was cancelled.")

    assert refused(lambda: deliver_s3(FILES, bucket, "j", check=check)).code is Code.CANCELLED
    assert s3_service.objects(bucket) == {f"j/{artifact.name}": artifact.data for artifact in others}


def test_a_delivery_is_withdrawn_as_far_as_it_is_still_there(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    first = deliver_s3(FILES, bucket, "j")
    second = deliver_s3([Artifact.of("illustration.svg", SVG), Artifact.of("labels.png", b"other")], bucket, "j")
    of_both = s3_service.objects(bucket)
    first()
    assert s3_service.objects(bucket) == {name: of_both[name] for name in ("j/illustration.svg", "j/labels.png")}
    second()  # what lay there before was the first one's
    assert s3_service.objects(bucket) == {
        f"j/{artifact.name}": artifact.data for artifact in FILES if artifact.name in ("illustration.svg", "labels.png")
    }
    first()
    assert s3_service.objects(bucket) == {}


def test_refused_connection(s3_service: S3Service) -> None:
    bucket = quick(s3_service.new_bucket(), endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(JobError) as failed:
        deliver_s3(FILES, bucket, "j")
    assert str(failed.value) == f"DELIVERY_FAILED: The service of the bucket {bucket.name} cannot be reached."


def test_a_hanging_service_is_given_up(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()

    def fault(method: str, path: str) -> int | None:
        return 0 if method == "PUT" and "preview.png" in path else None

    began = time.monotonic()
    with faulty_proxy(s3_service.endpoint_url, fault) as (address, _):
        failed = refused(lambda: deliver_s3(FILES, quick(bucket, endpoint_url=address, read_timeout=0.5), "j"))
    assert str(failed) == f"DELIVERY_FAILED: The service of the bucket {bucket.name} does not answer in time."
    assert time.monotonic() - began < 10
    assert s3_service.objects(bucket) == {}


def test_missing_bucket_and_wrong_keys(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    with pytest.raises(JobError, match="no-such-bucket answered NoSuchBucket: check the bucket's name"):
        deliver_s3(FILES, dataclasses.replace(bucket, name="no-such-bucket"), "j")
    if s3_service.checks_keys:
        with pytest.raises(JobError, match="SignatureDoesNotMatch: check the secret key") as failed:
            deliver_s3(FILES, dataclasses.replace(bucket, secret_key="wrong-key"), "j")
        assert "wrong-key" not in str(failed.value)
    assert s3_service.objects(bucket) == {}


def test_an_endpoint_in_the_environment_is_ignored(s3_service: S3Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    url = s3_urls(["preview.png"], dataclasses.replace(s3_service.new_bucket(), endpoint_url=None, region="eu-west-1"), "j")["preview.png"]
    assert urlsplit(url).hostname.endswith(".amazonaws.com") and "eu-west-1" in url


def test_the_bucket_is_tried_before_the_first_job(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket(prefix="shop/vectors")
    with faulty_proxy(s3_service.endpoint_url, lambda *_: None) as (address, asked):
        check_bucket(dataclasses.replace(bucket, endpoint_url=address))
    place = f"/{bucket.name}/shop/vectors/.vehicle-vector/takes-files"
    assert asked == [f"PUT {place}", f"DELETE {place}"]
    assert s3_service.objects(bucket) == {}


def test_a_bucket_that_lets_nothing_be_deleted_is_good_enough(s3_service: S3Service, caplog: pytest.LogCaptureFixture) -> None:
    bucket = s3_service.new_bucket()
    with faulty_proxy(s3_service.endpoint_url, lambda method, _: 403 if method == "DELETE" else None) as (address, _):
        check_bucket(dataclasses.replace(bucket, endpoint_url=address))
    assert "lets nothing be deleted (AccessDenied)" in caplog.text


@pytest.mark.parametrize(("status", "said"), [(403, "AccessDenied: let the key"), (500, "InternalError"), (DROP, "closes the connection")])
def test_a_bucket_that_takes_nothing_is_fatal_at_the_start_whatever_the_reason(s3_service: S3Service, status: int, said: str) -> None:
    bucket = s3_service.new_bucket()
    with faulty_proxy(s3_service.endpoint_url, lambda *_: status) as (address, _):
        failed = refused(lambda: check_bucket(quick(bucket, endpoint_url=address)))
    assert (failed.code, failed.fatal) == (Code.DELIVERY_FAILED, True)
    assert said in failed.sentence


@pytest.mark.parametrize(
    ("status", "everywhere", "own", "fatal"),
    [
        (403, True, True, True),  # the deployment's key is worth nothing any more
        (403, False, True, False),  # one object is refused
        (403, True, False, False),  # a job's own bucket
        (500, True, True, False),  # the service is down, which passes
        (DROP, True, True, False),
    ],
)
def test_only_a_deployments_bucket_that_refuses_everything_ends_the_worker(
    s3_service: S3Service, status: int, everywhere: bool, own: bool, fatal: bool
) -> None:
    bucket = s3_service.new_bucket()

    def fault(method: str, path: str) -> int | None:
        return status if method == "PUT" and (everywhere or "preview.png" in path) else None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, _):
        failed = refused(lambda: deliver_s3(FILES, quick(bucket, endpoint_url=address, deployments=own), "j"))
    assert (failed.code, failed.fatal) == (Code.DELIVERY_FAILED, fatal)


def test_nothing_to_deliver(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    deliver_s3([], bucket, "j")
    assert s3_service.keys(bucket) == set()


@pytest.mark.parametrize("prefix", ["../x", "/x", "a//b", ""])
def test_unsafe_prefix_is_refused_before_any_request(prefix: str) -> None:
    unreachable = Bucket("http://127.0.0.1:9", "a", "b", "bucket", connect_timeout=0.5, max_attempts=1)
    with pytest.raises(JobError, match="INVALID_INPUT: output_prefix"):
        deliver_s3(FILES, unreachable, prefix)


def test_fetch_reads_only_from_the_given_bucket(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    data = bytes(range(256)) * 1000
    s3_service.client().put_object(Bucket=bucket.name, Key="in/a photo%20.jpg", Body=data)
    url = f"s3://{bucket.name}/in/a photo%20.jpg"
    assert fetch_s3(url, bucket, len(data)) == data
    table = [
        (url, bucket, len(data) - 1, Code.INPUT_TOO_LARGE),
        (f"s3://{bucket.name}/none.jpg", bucket, 10, Code.INPUT_UNREACHABLE),
        (f"s3://other-{bucket.name}/in/x.jpg", bucket, 10, Code.INPUT_FORBIDDEN),
        (url, None, 10, Code.INPUT_FORBIDDEN),
        ("s3://only-a-bucket", bucket, 10, Code.INVALID_INPUT),
        ("s3:///key", bucket, 10, Code.INVALID_INPUT),
        (url, quick(bucket, endpoint_url="http://127.0.0.1:9"), 10, Code.INPUT_UNREACHABLE),
    ]
    for address, source, limit, code in table:
        with pytest.raises(JobError) as failed:
            fetch_s3(address, source, limit)
        assert failed.value.code is code, (address, failed.value)
    if s3_service.checks_keys:
        with pytest.raises(JobError, match=r"INPUT_FORBIDDEN: .*SignatureDoesNotMatch"):
            fetch_s3(url, dataclasses.replace(bucket, secret_key="wrong"), 10)


@pytest.mark.parametrize("said", ["base64", "none", "utf-8", "gzip"])
def test_an_object_is_taken_whatever_content_encoding_it_was_stored_with(s3_service: S3Service, said: str) -> None:
    bucket, client, picture = s3_service.new_bucket(), s3_service.client(), encoded("JPEG")
    client.put_object(Bucket=bucket.name, Key="plain.jpg", Body=picture, ContentEncoding=said)
    client.put_object(Bucket=bucket.name, Key="packed.jpg", Body=gzip.compress(picture), ContentEncoding=f"gzip,{said}")
    assert fetch_s3(f"s3://{bucket.name}/plain.jpg", bucket, 100_000) == picture
    assert fetch_s3(f" S3://{bucket.name}/plain.jpg\n", bucket, 100_000) == picture
    if said != "gzip":
        assert fetch_s3(f"s3://{bucket.name}/packed.jpg", bucket, 100_000) == picture
        assert refused(lambda: fetch_s3(f"s3://{bucket.name}/packed.jpg", bucket, len(picture) - 1)).code is Code.INPUT_TOO_LARGE


def test_fetch_refusals_and_cancel(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    s3_service.client().put_object(Bucket=bucket.name, Key="a.jpg", Body=b"x" * 200_000)
    for status, code, said in [(403, Code.INPUT_FORBIDDEN, "AccessDenied"), (0, Code.INPUT_UNREACHABLE, "does not answer in time")]:
        with faulty_proxy(s3_service.endpoint_url, lambda *_, status=status: status) as (address, _):
            source = quick(bucket, endpoint_url=address, read_timeout=0.5)
            failed = refused(lambda source=source: fetch_s3(f"s3://{bucket.name}/a.jpg", source, 10))
        assert failed.code is code and said in failed.sentence
    asked = threading.Event()

    def hangs(*_: object) -> int:
        asked.set()
        return HANG

    def check() -> None:
        if asked.is_set():
            raise JobError(Code.CANCELLED, "The job was cancelled.")

    began = time.monotonic()
    with faulty_proxy(s3_service.endpoint_url, hangs) as (address, _), pytest.raises(JobError, match="CANCELLED"):
        fetch_s3(f"s3://{bucket.name}/a.jpg", dataclasses.replace(bucket, endpoint_url=address), 10**6, check=check)
    assert time.monotonic() - began < 10  # not the 20 s of a read


def test_the_result_stored_is_the_result_given(s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    urls = s3_urls(["illustration.svg", "result.json"], bucket, "j")
    result = json.dumps({"svg_url": urls["illustration.svg"]}).encode()
    deliver_s3([FILES[1], Artifact.of("result.json", result)], bucket, "j")
    with urllib.request.urlopen(urls["result.json"]) as answer:
        svg_url = json.load(answer)["svg_url"]
    with urllib.request.urlopen(svg_url) as answer:
        assert answer.read() == SVG


class Odd(http.server.BaseHTTPRequestHandler):
    """A service that answers every request with the same bytes, whatever they are."""

    answer = b""

    def do_GET(self) -> None:
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 50, b"x" * 50),  # no length told
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 101, Code.INPUT_TOO_LARGE),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 60\r\n\r\n" + b"x" * 50, Code.INPUT_UNREACHABLE),  # cut off
        (b"HTTP/1.0 301 Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", Code.INPUT_UNREACHABLE),
        (b"HTTP/1.0 400 No\r\nContent-Length: 5\r\n\r\n<html", Code.INPUT_UNREACHABLE),
        (b"HTTP/1.0 400 No\r\n\r\n<Error><Code>x http://h/?X-Amz-Signature=1\n</Code></Error>", Code.INPUT_UNREACHABLE),
        (b"nonsense\r\n\r\n", Code.INPUT_UNREACHABLE),
        (b"", Code.INPUT_UNREACHABLE),
    ],
)
def test_odd_answers_become_one_sentence(answer: bytes, outcome: bytes | Code) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (Odd,), {"answer": answer}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        bucket = Bucket(f"http://127.0.0.1:{server.server_address[1]}", "a", "b", "bucket", read_timeout=2, max_attempts=1)
        if isinstance(outcome, bytes):
            assert fetch_s3("s3://bucket/key", bucket, 100) == outcome
        else:
            failed = refused(lambda: fetch_s3("s3://bucket/key", bucket, 100))
            assert failed.code is outcome and "http" not in failed.sentence.lower() and failed.sentence.count("\n") == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
