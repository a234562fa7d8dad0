"""Delivery to an S3 bucket (AWS, Cloudflare R2, RunPod volumes, MinIO, Swift …) and reading inputs from one.

boto3 is imported inside the functions that speak with a service, because loading it takes longer than most deliveries.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from delivery.artifact import Artifact, in_order
from delivery.bucket import Bucket, addressing_of, signing_region
from delivery.s3_errors import answered, delivery_failed, error_code, input_failed
from delivery.transport import sender
from pipeline.errors import Code, JobError
from pipeline.intake.network import Deadline, go_on, in_parallel
from pipeline.stored_keys import safe_prefix

_log = logging.getLogger(__name__)

_THREADS = 4
_ROLL_BACK_SECONDS = 15.0
_PROBE_SECONDS = 15.0
_PROBE_KEY = ".vehicle-vector/takes-files"
_CHUNK = 1 << 16
_MOST_KEPT_BYTES = 256 * 1024 * 1024  # the largest earlier object that is held in memory to be put back
_MARK = "delivery"  # the metadata that tells which delivery has put an object there
_KEPT_HEADERS = ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Metadata")


@dataclass(frozen=True, slots=True)
class _Before:
    """The object under a key before this delivery. `put_back` holds the arguments of the put that restores it, None when there was nothing;
    `known` is False where the credentials may not look."""

    put_back: dict[str, Any] | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class _Upload:
    """One artifact on its way to `key`; `mark` is the delivery's own."""

    key: str
    artifact: Artifact
    before: _Before
    mark: str


def object_key(bucket: Bucket, key_prefix: str, name: str) -> str:
    """`{bucket.prefix}/{key_prefix}/{name}`; `INVALID_INPUT` when `key_prefix` is not a safe relative key."""
    return "/".join(part for part in (bucket.prefix, safe_prefix(key_prefix), name) if part)


def s3_urls(names: Sequence[str], bucket: Bucket, key_prefix: str) -> dict[str, str]:
    """Name → URL, presigned for `url_expiry_seconds` or below `public_base_url`; no request is made, nothing need be there."""
    keys = {name: object_key(bucket, key_prefix, name) for name in names}
    if bucket.public_base_url:
        base = bucket.public_base_url.rstrip("/")
        return {name: f"{base}/{quote(key, safe='/~')}" for name, key in keys.items()}
    with _client(bucket, Deadline(bucket.seconds)) as client:  # it only signs
        return {name: _presigned(client, bucket, key) for name, key in keys.items()}


def deliver_s3(artifacts: Sequence[Artifact], bucket: Bucket, key_prefix: str, *, check: Callable[[], None] = go_on) -> Callable[[], None]:
    """Store every artifact as `{bucket.prefix}/{key_prefix}/{name}`, where `s3_urls` points.

    Four uploads run at a time, `result.json` alone and last. `check` is called between and during uploads and ends the
    delivery by raising. When anything fails, objects that this call created are deleted again and those that it replaced are
    put back with their type and metadata, so they are read before the first upload. An object which the credentials may not
    read is not overwritten (`If-None-Match`). What another delivery has put under a key meanwhile, such as a second worker's at the same
    job, stays as it is: every object carries its delivery's mark as metadata. Where a service keeps no metadata, the other's objects are
    undone too.

    Returns a function that undoes the whole delivery in the same way, for callers that learn only later that it does not count. It raises
    nothing.

    Raises `DELIVERY_FAILED` with the service's error code, `INVALID_INPUT` for an unsafe `key_prefix`, and what `check` raises.
    `DELIVERY_FAILED` is fatal where the deployment's own bucket takes nothing any more (`check_bucket`). A service that hangs is
    given up after `bucket.seconds`, and some more for undoing.
    """
    ordered = in_order(artifacts)
    keys = [object_key(bucket, key_prefix, artifact.name) for artifact in ordered]
    deadline = Deadline(bucket.seconds)
    touched: list[_Upload] = []
    mark = secrets.token_hex(8)
    with _client(bucket, deadline) as client, ThreadPoolExecutor(_THREADS, "deliver") as pool:
        try:
            befores = in_parallel(pool, lambda key: _before(client, bucket, key), keys, check, deadline)
            uploads = [_Upload(*each, mark) for each in zip(keys, ordered, befores, strict=True)]
            in_parallel(pool, lambda upload: _put(client, bucket, upload, touched), uploads[:-1], check, deadline)
            in_parallel(pool, lambda upload: _put(client, bucket, upload, touched), uploads[-1:], check, deadline)
            check()
        except JobError as error:
            left = _roll_back(pool, bucket, touched)
            names = ", ".join(sorted(upload.artifact.name for upload in left))
            sentence = f"{error.sentence} Not undone in the bucket: {names}." if left else error.sentence
            raise JobError(error.code, sentence, fatal=_takes_nothing(error, bucket)) from error
        except BaseException:
            _roll_back(pool, bucket, touched)
            raise

    def withdraw() -> None:
        with ThreadPoolExecutor(_THREADS, "withdraw") as pool:
            _roll_back(pool, bucket, touched)

    return withdraw


def fetch_s3(url: str, bucket: Bucket | None, max_bytes: int, *, check: Callable[[], None] = go_on) -> bytes:
    """The object behind `s3://bucket/key`, at most `max_bytes`, from `bucket` and no other; unpacked where it was stored packed.

    The key is taken as written (no percent decoding), but for blanks around the address. Raises `INVALID_INPUT` (not such a URL),
    `INPUT_FORBIDDEN` (another bucket, none configured, access denied), `INPUT_UNREACHABLE` (no such object, no answer), `INPUT_TOO_LARGE`.
    """
    scheme, _, rest = url.strip().partition("://")
    name, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not name or not key:
        raise JobError(Code.INVALID_INPUT, "An S3 address must look like s3://bucket/key.")
    if bucket is None:
        raise JobError(Code.INPUT_FORBIDDEN, "An s3:// address needs a bucket: configure one or send s3Config with the job.")
    if name != bucket.name:
        raise JobError(Code.INPUT_FORBIDDEN, "Only the configured bucket, or the one in the job's s3Config, may be read.")
    check()
    deadline = Deadline(bucket.seconds)
    with _client(bucket, deadline) as client, ThreadPoolExecutor(1, "fetch") as pool:

        def get(key: str) -> tuple[bytes | None, str]:
            with answered(lambda error: input_failed(error, bucket)):
                response = client.get_object(Bucket=bucket.name, Key=key)
                return _body(response, max_bytes), str(response.get("ContentEncoding") or "")

        ((data, codings),) = in_parallel(pool, get, [key], check, deadline)
    if data is None:
        raise JobError(Code.INPUT_TOO_LARGE, f"The object is larger than the {max_bytes / 1e6:g} MB that an input may have.")
    from pipeline.intake.content_encoding import unpacked  # noqa: PLC0415 - looks at pictures, which deliveries do not

    return unpacked(data, codings, f"The bucket {bucket.name}", max_bytes)


def listed_s3(bucket: Bucket, prefix: str, *, only: bool = False) -> Iterator[tuple[str, str, int]]:
    """Key, ETag (without quotes) and bytes of the objects whose keys begin with `prefix`, in the service's order, a page at a time.

    `only`: the first alone is wanted. Raises `INPUT_FORBIDDEN` or `INPUT_UNREACHABLE` as `fetch_s3` does.
    """
    given: dict[str, Any] = {"Bucket": bucket.name, "Prefix": prefix, "MaxKeys": 1 if only else 1000}
    while True:
        with _client(bucket, Deadline(bucket.seconds)) as client, answered(lambda error: input_failed(error, bucket)):
            page = client.list_objects_v2(**given)
        for found in page.get("Contents", []):
            yield str(found["Key"]), str(found["ETag"]).strip('"'), int(found["Size"])
        if only or not page.get("IsTruncated"):
            return
        given["ContinuationToken"] = page["NextContinuationToken"]


def check_bucket(bucket: Bucket) -> None:
    """Prove that the bucket takes files: a tiny object is stored below its prefix, and deleted again where that is allowed.

    Raises a fatal `DELIVERY_FAILED` with the service's code and advice, or that it does not answer.
    """
    try:
        _probe(bucket)
    except JobError as error:
        raise JobError(error.code, error.sentence, fatal=True) from error


def _probe(bucket: Bucket) -> None:
    """Store and delete a tiny object. Raises `DELIVERY_FAILED`, fatal where the service has refused and not merely failed."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    place = {"Bucket": bucket.name, "Key": "/".join(part for part in (bucket.prefix, _PROBE_KEY) if part)}
    with _client(bucket, Deadline(_PROBE_SECONDS)) as client, answered(lambda error: delivery_failed(error, bucket)):
        client.put_object(**place, Body=b"", ContentType="text/plain")
        try:
            client.delete_object(**place)
        except ClientError as error:
            _log.warning("the bucket lets nothing be deleted (%s): failed deliveries cannot be undone", error_code(error))


def _takes_nothing(error: JobError, bucket: Bucket) -> bool:
    """Whether every further job would fail like this one: the deployment's bucket has refused, and refuses the probe too."""
    if not (bucket.deployments and error.fatal):
        return False
    try:
        _probe(bucket)
    except JobError as again:
        return again.fatal
    return False


def _body(response: dict[str, Any], max_bytes: int) -> bytes | None:
    """The body of a get, None as soon as it is more than `max_bytes`; not every service tells the length beforehand."""
    with closing(response["Body"]) as body:
        if int(response.get("ContentLength") or 0) > max_bytes:
            return None
        data = bytearray()
        for chunk in body.iter_chunks(_CHUNK):
            data += chunk
            if len(data) > max_bytes:
                return None
    return bytes(data)


@cache
def _session() -> Any:
    """boto3's description of the service: a tenth of a second to read."""
    import boto3  # noqa: PLC0415 - see the module's docstring

    return boto3.session.Session()


_making = threading.Lock()  # a session makes clients for one thread at a time


@contextmanager
def _client(bucket: Bucket, deadline: Deadline) -> Iterator[Any]:
    """A client whose every request goes through `delivery.transport` and ends by the deadline; its connections are closed at the end."""
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        signature_version="s3v4",
        connect_timeout=bucket.connect_timeout,
        read_timeout=bucket.read_timeout,
        retries={"mode": "standard", "total_max_attempts": bucket.max_attempts},
        s3={"addressing_style": addressing_of(bucket)},
        # Cloudflare R2, Backblaze, older MinIO and Swift refuse the checksum trailers that newer boto3 adds unasked
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # AWS_ENDPOINT_URL in the environment must not send a job's files elsewhere
        ignore_configured_endpoint_urls=True,
    )
    with _making:
        client = _session().client(
            "s3",
            endpoint_url=bucket.endpoint_url,
            region_name=signing_region(bucket),
            aws_access_key_id=bucket.access_key,
            aws_secret_access_key=bucket.secret_key,
            config=config,
        )
    with sender(bucket, deadline) as send:
        client.meta.events.register("before-send.s3", send)
        yield client


def _presigned(client: Any, bucket: Bucket, key: str) -> str:
    parameters = {"Bucket": bucket.name, "Key": key}
    return str(client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=bucket.url_expiry_seconds))


def _before(client: Any, bucket: Bucket, key: str) -> _Before:
    """Read the object under `key`; a service without the right to list answers AccessDenied where there is nothing."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    with answered(lambda error: delivery_failed(error, bucket)):
        try:
            response = client.get_object(Bucket=bucket.name, Key=key)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in {"NoSuchKey", "404"}:
                return _Before()
            if code in {"AccessDenied", "403"}:
                return _Before(known=False)
            raise
        data = _body(response, _MOST_KEPT_BYTES)
    if data is None:
        raise JobError(Code.DELIVERY_FAILED, "A far larger object lies under one of this job's keys; choose another output_prefix.")
    return _Before({"Body": data, **{header: response[header] for header in _KEPT_HEADERS if response.get(header)}})


def _put(client: Any, bucket: Bucket, upload: _Upload, touched: list[_Upload]) -> None:
    """Store one artifact and note it in `touched` when it has to be undone in case of failure.

    It is noted before the request, because a put that seems to fail may have stored the object. Where it is not known what was there
    before, it is noted only after it was surely stored: `If-None-Match` then proves that the object is this call's own.
    """
    artifact, known = upload.artifact, upload.before.known
    headers: dict[str, Any] = {"ContentType": artifact.content_type, "Metadata": {_MARK: upload.mark}}
    if known:
        touched.append(upload)
    else:
        headers["IfNoneMatch"] = "*"
    with answered(lambda error: delivery_failed(error, bucket)):
        client.put_object(Bucket=bucket.name, Key=upload.key, Body=artifact.content(), **headers)
    if not known:
        touched.append(upload)


def _roll_back(pool: ThreadPoolExecutor, bucket: Bucket, touched: Sequence[_Upload]) -> list[_Upload]:
    """Undo the uploads that are still there; returns those where that failed. It has less time: the service itself may be broken."""
    deadline = Deadline(min(_ROLL_BACK_SECONDS, bucket.seconds))

    def undo(client: Any, upload: _Upload) -> bool:
        try:
            with answered(lambda error: delivery_failed(error, bucket)):
                if not _is_there(client, bucket, upload):
                    return True
                if upload.before.put_back is None:
                    client.delete_object(Bucket=bucket.name, Key=upload.key)
                else:
                    client.put_object(Bucket=bucket.name, Key=upload.key, **upload.before.put_back)
        except JobError as error:
            _log.warning("the upload of %s could not be undone: %s", upload.artifact.name, error.sentence)
            return False
        return True

    with _client(bucket, deadline) as client:
        undone = in_parallel(pool, partial(undo, client), list(touched), go_on, deadline)
    return [upload for upload, done in zip(touched, undone, strict=True) if not done]


def _is_there(client: Any, bucket: Bucket, upload: _Upload) -> bool:
    """Whether the object under the key is this delivery's; True where the credentials may not look or the service keeps no marks."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        found = client.head_object(Bucket=bucket.name, Key=upload.key)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 404:
            return False
        if status == 403:
            return True
        raise
    return bool(found.get("Metadata", {}).get(_MARK, upload.mark) == upload.mark)
