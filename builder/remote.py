"""A local volume folder copied to a network volume over its S3 API, object by object: what differs is sent, the lock file last.

An object in the bucket is known by its ETag, noted in `.builder/mirror/…json` when it was sent, and by the bucket's own lock file; so a
stopped copy goes on with the first object that is lacking. Nothing is deleted in the bucket. On a network volume files get a time stamp of
their own: the lock file that is sent says 0, which means that the time stamp is not known.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, writing
from builder.place import records_of
from builder.tell import Meter, Tell, size
from builder.workspace import Workspace, write_whole
from delivery.bucket import region_of
from model_cache.manifest import LOCK, ModelRecord, digest, suspects

_PART = 64 << 20
_ADVICE = {
    "NoSuchBucket": "check --s3-bucket and --s3-endpoint",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY and --s3-region",
    "AccessDenied": "let the key read, list and write there",
    "403": "let the key read, list and write there",
    "QuotaExceeded": "the network volume is full",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """Where to: `bucket` at `endpoint` (None: AWS), below `prefix`. `part`: bytes of an upload's parts, `jobs` of them at a time."""

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    prefix: str = ""
    jobs: int = 4
    part: int = _PART

    def key(self, file: str) -> str:
        """The object of a file of the volume."""
        return f"{self.prefix}/{file}" if self.prefix else file

    @property
    def signing_region(self) -> str:
        """The region given, else what the endpoint tells, as for a bucket of results."""
        return self.region or region_of(self.endpoint)


def send(workspace: Workspace, remote: Remote, tell: Tell, meter: Meter, client: Any = None) -> None:
    """Bring the bucket to the volume's state. Raises `BuilderError`: no keys, refused, no answer, or a volume that is not as recorded."""
    records = records_of(workspace.volume)
    _check(workspace.volume, records)
    client = client or _client(remote)
    wanted = _wanted(workspace.volume, records)
    with _told(remote):
        there, known = _listed(client, remote), _known(client, workspace, remote)
        missing = [
            file for file, sha256 in wanted.items() if not _is_there(remote.key(file), sha256, workspace.volume / file, there, known)
        ]
        tell(f"{len(missing)} of {len(wanted)} files to send, {size(sum((workspace.volume / file).stat().st_size for file in missing))}")
        for file in missing:
            _upload(client, remote, workspace.volume / file, file, meter)
            head = client.head_object(Bucket=remote.bucket, Key=remote.key(file))
            known[remote.key(file)] = {"sha256": wanted[file], "etag": head["ETag"]}
            _note(workspace, remote, known)
            tell(f"{file}: sent")
        body = _lock_to_send(records)
        client.put_object(Bucket=remote.bucket, Key=remote.key(LOCK), Body=body, ContentType="application/json")
    tell(f"{LOCK}: sent; the bucket holds {len(records)} models")


def _check(volume: Path, records: Mapping[str, ModelRecord]) -> None:
    if not records:
        raise BuilderError("This volume has no recorded model; fetch fills it.")
    for name, record in records.items():
        if wrong := suspects(volume, name, record):
            raise BuilderError(f"{name} is not as recorded ({', '.join(wrong)}); fetch or verify it before it is copied.")


def _wanted(volume: Path, records: Mapping[str, ModelRecord]) -> dict[str, str]:
    """File below the volume → sha256: recorded models, then styles, prompts, compiled blocks, the own catalogue; the lock file apart."""
    files = {f"models/{name}/{file}": known.sha256 for name, record in records.items() for file, known in record.files.items()}
    rest = [path for folder in ("styles", "prompts", "compiled") for path in sorted((volume / folder).rglob("*"))]
    for path in [*rest, volume / "catalogue.yaml"]:
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(volume).parts):
            files[path.relative_to(volume).as_posix()] = digest(path)
    return files


def _listed(client: Any, remote: Remote) -> dict[str, tuple[int, str]]:
    """Key → size and ETag of every object below the prefix."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=remote.bucket, Prefix=f"{remote.prefix}/" if remote.prefix else "")
    return {it["Key"]: (it["Size"], it["ETag"]) for page in pages for it in page.get("Contents", [])}


def _is_there(key: str, sha256: str, path: Path, there: Mapping[str, tuple[int, str]], known: Mapping[str, dict[str, str]]) -> bool:
    count, etag = there.get(key, (-1, ""))
    note = known.get(key)
    return note is not None and note["sha256"] == sha256 and count == path.stat().st_size and note["etag"] in {"", etag}


def _known(client: Any, workspace: Workspace, remote: Remote) -> dict[str, dict[str, str]]:
    """Key → sha256 and ETag of what was sent: from here, noted; else from elsewhere, as the bucket's lock file says (without an ETag)."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    known: dict[str, dict[str, str]] = {}
    try:
        rows = json.loads(client.get_object(Bucket=remote.bucket, Key=remote.key(LOCK))["Body"].read())
        for name, row in rows.items():
            record = ModelRecord.model_validate(row)
            known |= {remote.key(f"models/{name}/{file}"): {"sha256": it.sha256, "etag": ""} for file, it in record.files.items()}
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
    except (ValueError, AttributeError) as error:
        raise BuilderError(f"{LOCK} in the bucket cannot be read; delete it there, and everything is sent anew.") from error
    note = _note_of(workspace, remote)
    if note.is_file():
        known |= json.loads(note.read_text(encoding="utf-8"))
    return known


def _note_of(workspace: Workspace, remote: Remote) -> Path:
    where = json.dumps([remote.endpoint, remote.bucket, remote.prefix])
    return workspace.root / "mirror" / f"{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"


def _note(workspace: Workspace, remote: Remote, known: Mapping[str, Mapping[str, str]]) -> None:
    with writing("the note of what was sent"):
        write_whole(_note_of(workspace, remote), json.dumps(known, indent=1))


def _upload(client: Any, remote: Remote, path: Path, file: str, meter: Meter) -> None:
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

    total, done = path.stat().st_size, 0

    def came(count: int) -> None:
        nonlocal done
        done += count
        meter(file, done, total)

    config = TransferConfig(multipart_threshold=remote.part, multipart_chunksize=remote.part, max_concurrency=remote.jobs)
    client.upload_file(str(path), remote.bucket, remote.key(file), Callback=came, Config=config)


def _lock_to_send(records: Mapping[str, ModelRecord]) -> bytes:
    """The lock file for a volume whose time stamps are unknown."""
    rows = {name: records[name].model_dump() for name in sorted(records)}
    for row in rows.values():
        row["files"] = {file: {**known, "mtime_ns": 0} for file, known in row["files"].items()}
    return json.dumps(rows, indent=1).encode()


def _client(remote: Remote) -> Any:
    import boto3  # noqa: PLC0415 - takes a moment
    from botocore.config import Config  # noqa: PLC0415

    if lacking := [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not os.environ.get(name)]:
        raise BuilderError(f"Set {' and '.join(lacking)}: the keys of the S3 API.")
    config = Config(
        connect_timeout=10,
        read_timeout=120,  # a volume answers late when it puts the parts of a large file together
        retries={"max_attempts": 5, "mode": "standard"},
        s3={"addressing_style": "path"} if remote.endpoint else {},  # RunPod's volumes know no other
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=remote.endpoint, region_name=remote.signing_region, config=config)


@contextmanager
def _told(remote: Remote) -> Iterator[None]:
    """Turn what boto3 raises into a sentence without keys and addresses."""
    from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (ClientError, S3UploadFailedError) as error:
        cause = error if isinstance(error, ClientError) else error.__context__
        code = str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""
        code = code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else "an unknown error"
        advice = f": {_ADVICE[code]}" if code in _ADVICE else ""
        raise BuilderError(f"The bucket {remote.bucket} answered {code}{advice}. What was sent stays; run it again to go on.") from None
    except BotoCoreError as error:
        raise BuilderError(
            f"The bucket {remote.bucket} could not be used ({type(error).__name__}). What was sent stays; run it again to go on."
        ) from None
