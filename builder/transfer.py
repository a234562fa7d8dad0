"""One file over HTTP: resumed where it stopped, checked while it comes, patient with bad connections."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO, Any, TypeVar

import httpx

from builder.errors import BuilderError, writing
from builder.sources import Expected
from builder.tell import Meter, Tell

_CHUNK = 1 << 20
#: A connection that brought this much was worth having: the count of failed attempts starts again.
_PROGRESS = 1 << 20
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """`attempts` in a row that bring nothing; seconds: of the first pause (doubled each time, at most `longest`), of one read, and of a
    window in which at least `slowest` bytes a second must come. `stop`, once set, ends every wait and transfer; `tell` hears of
    failures from the second in a row on."""

    attempts: int = 6
    pause: float = 1.0
    longest: float = 60.0
    read: float = 30.0
    window: float = 60.0
    slowest: float = 1024.0
    stop: Event = field(default_factory=Event)
    tell: Tell = field(default=lambda _: None)


class Unanswered(Exception):  # noqa: N818 - says what is the case
    """An attempt that may be repeated; `after`: seconds that the server asked for."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


class Stopped(BuilderError):  # noqa: N818 - says what is the case
    """Another part of the work failed or the user interrupted it."""

    def __init__(self) -> None:
        super().__init__("Stopped; what was fetched is kept, run the same command again to go on.")


class WrongContent(BuilderError):  # noqa: N818 - says what is the case
    """The source has other bytes than the held ones."""


def open_client(patience: Patience) -> httpx.Client:
    """Connections for all transfers. A token given for one host is not sent on to the hosts that it redirects to (httpx sees to it)."""
    timeout = httpx.Timeout(patience.read, connect=min(10.0, patience.read))
    headers = {"User-Agent": "vehicle-vector-builder", "Accept-Encoding": "identity"}
    return httpx.Client(timeout=timeout, follow_redirects=True, headers=headers, limits=httpx.Limits(max_connections=64))


def backed_off(attempt: Callable[[], _Answer], patience: Patience, gained: Callable[[], int] = lambda: 0) -> _Answer:
    """The first answer of `attempt`, repeated after growing pauses; `gained` bytes reset the count.

    Raises `BuilderError` when `patience.attempts` in a row failed, `Stopped`.
    """
    failed, before = 0, gained()
    while True:
        if patience.stop.is_set():
            raise Stopped
        try:
            return attempt()
        except Unanswered as error:
            failed = 1 if gained() - before >= _PROGRESS else failed + 1
            before = gained()
            if failed >= patience.attempts:
                raise BuilderError(f"Given up after {failed} attempts: {error}. Run the same command again, it goes on here.") from None
            pause = patience.pause * 2 ** (failed - 1) if error.after is None else error.after
            pause = min(pause, patience.longest)
            if failed > 1:
                patience.tell(f"{error}; attempt {failed + 1} of {patience.attempts} in {pause:.0f} s")
            patience.stop.wait(pause)


def asked(what: str, status: int, after: str | None) -> None:
    """Judge a status: raise `Unanswered` where a repetition may help, `BuilderError` where it will not."""
    if status in {408, 425, 429} or status >= 500:
        seconds = float(after) if after is not None and after.replace(".", "", 1).isdigit() else None
        raise Unanswered(f"{what} answered {status}", seconds)
    if status in {401, 403}:
        raise BuilderError(f"{what} may not be read ({status}): accept its terms where it has some, and set HF_TOKEN to a token that may.")
    if status == httpx.codes.NOT_FOUND:
        raise BuilderError(f"{what} is not there (404).")
    if status >= 400 and status != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise BuilderError(f"{what} could not be fetched: the server answered {status}.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch: `shown` to the user, from `address` (with `headers`) to `target`, where it must be as `expected`."""

    shown: str
    address: str
    target: Path
    expected: Expected
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def part(self) -> Path:
        """The file while it is under way."""
        return self.target.with_name(f"{self.target.name}.part")


class Digest:
    """The hashes of a file as it comes: sha256, and git's name of a blob of known size."""

    def __init__(self, expected: Expected) -> None:
        self.sha256 = hashlib.sha256()
        self.blob = None if expected.blob is None else hashlib.sha1(f"blob {expected.size}\0".encode(), usedforsecurity=False)
        self.size = 0

    def update(self, data: bytes) -> None:
        """Add bytes."""
        self.sha256.update(data)
        if self.blob is not None:
            self.blob.update(data)
        self.size += len(data)

    def fault(self, expected: Expected) -> str | None:
        """What is wrong with the content, None when it is as expected."""
        if expected.size is not None and self.size != expected.size:
            return f"{self.size} bytes instead of {expected.size}"
        if expected.sha256 is not None and self.sha256.hexdigest() != expected.sha256:
            return f"sha256 {self.sha256.hexdigest()} instead of {expected.sha256}"
        if self.blob is not None and self.blob.hexdigest() != expected.blob:
            return f"git blob {self.blob.hexdigest()} instead of {expected.blob}"
        return None


def digest_of(path: Path, expected: Expected) -> Digest:
    """The hashes of a file that is there; empty where it is not."""
    digest = Digest(expected)
    if path.is_file():
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)
    return digest


def fetch_file(wanted: Wanted, client: httpx.Client, meter: Meter, patience: Patience) -> str:
    """Bring one file, from where its `.part` ends; its sha256. A wrong content is thrown away and fetched once more from the start.

    Raises `BuilderError`: refused, not there, given up, volume full; `WrongContent`: wrong twice; `Stopped`.
    """
    with writing(str(wanted.shown)):
        wanted.target.parent.mkdir(parents=True, exist_ok=True)

    def gained() -> int:
        return wanted.part.stat().st_size if wanted.part.exists() else 0

    for last in (False, True):
        digest = backed_off(lambda: _attempt(wanted, client, meter, patience), patience, gained)
        fault = digest.fault(wanted.expected)
        if fault is None:
            wanted.part.replace(wanted.target)
            return digest.sha256.hexdigest()
        wanted.part.unlink()
        if last:
            raise WrongContent(f"{wanted.shown} is not what it must be: {fault}. It was fetched twice and thrown away.")
    raise AssertionError


def _attempt(wanted: Wanted, client: httpx.Client, meter: Meter, patience: Patience) -> Digest:
    """One request for what is lacking; the digest of the whole file. Raises `Unanswered` when it was cut off."""
    size, etag = wanted.expected.size, wanted.expected.etag
    strong = etag if etag and not etag.startswith("W/") else None
    if wanted.expected.sha256 is None and wanted.expected.blob is None and strong is None:
        wanted.part.unlink(missing_ok=True)  # nothing would tell that two halves belong to two versions
    digest = digest_of(wanted.part, wanted.expected)
    if size is not None and digest.size > size:
        wanted.part.unlink()
        digest = Digest(wanted.expected)
    meter(wanted.shown, digest.size, size)
    if size is not None and digest.size == size:
        wanted.part.touch()  # an empty file has no bytes to wait for
        return digest
    ranged = {"Range": f"bytes={digest.size}-"} if digest.size else {}
    unchanged = {"If-Range": strong} if ranged and strong else {}
    try:
        with client.stream("GET", wanted.address, headers={**wanted.headers, **ranged, **unchanged}) as answer:
            asked(wanted.shown, answer.status_code, answer.headers.get("Retry-After"))
            digest = _continued(wanted, answer, digest)
            with writing(wanted.shown), wanted.part.open("ab", buffering=0) as file:
                _receive(wanted, answer, file, digest, meter, patience)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unanswered(f"{wanted.shown} was cut off ({type(error).__name__})") from None
    if size is not None and digest.size < size:
        raise Unanswered(f"{wanted.shown} ended at {digest.size} of {size} bytes")
    return digest


def _continued(wanted: Wanted, answer: httpx.Response, digest: Digest) -> Digest:
    """The digest to go on with: that of the part where the server goes on from its end, an empty one where it starts again."""
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and start == str(digest.size):
        return digest
    wanted.part.unlink(missing_ok=True)
    if answer.status_code != httpx.codes.OK:
        raise Unanswered(f"{wanted.shown} could not be resumed")
    return Digest(wanted.expected)


def _receive(wanted: Wanted, answer: httpx.Response, file: IO[Any], digest: Digest, meter: Meter, patience: Patience) -> None:
    since, came = time.monotonic(), 0
    for data in answer.iter_raw():
        if patience.stop.is_set():
            raise Stopped
        write_all(file, data)
        digest.update(data)
        came += len(data)
        meter(wanted.shown, digest.size, wanted.expected.size)
        spent = time.monotonic() - since
        if spent >= patience.window:
            if came < patience.slowest * spent:
                raise Unanswered(f"{wanted.shown} came at {came / spent:.0f} bytes a second")
            since, came = time.monotonic(), 0


def write_all(file: IO[Any], data: bytes) -> None:
    """Write unbuffered, so that everything received is on disk when the builder is killed; a nearly full disk may take only a part."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
