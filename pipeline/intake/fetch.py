"""Fetching what a caller's URL names, without letting the caller reach what only this worker can reach.

Every connection, on every hop, is one of `pipeline.intake.network`'s. One deadline spans the whole transfer, redirects and retries
included. Redirects may go from https to http: a picture is no secret, and the address check is the same.

Sentences name the host alone: path and query of a signed URL are secrets.
"""

import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import certifi
import httpcore
import httpx
import tenacity

from pipeline.errors import Code, JobError
from pipeline.intake.content_encoding import unpacked
from pipeline.intake.network import CheckedBackend, Deadline, Resolve, TransientError, checked_addresses, go_on, in_parallel

MAX_REDIRECTS = 5
MAX_TRIES = 3
MAX_URL = 8192

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "vehicle-vector", "Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}


def fetch(
    url: str,
    *,
    max_bytes: int,
    allow_private: bool,
    timeout: float,
    resolve: Resolve = socket.getaddrinfo,
    tls: ssl.SSLContext | None = None,
    check: Callable[[], None] = go_on,
) -> bytes:
    """The body behind an http(s) URL, unpacked where it was sent packed (it is asked for as it is).

    `timeout` in seconds spans everything. At most five redirects are followed and three tries are made, the latter for
    broken connections, 429 and 5xx only. `tls` replaces the default context (certifi's authorities). `check` is called during the
    transfer and ends it by raising.

    Raises JobError: INVALID_INPUT (no such kind of URL), INPUT_FORBIDDEN (a private address, also behind a redirect),
    INPUT_TOO_LARGE (more than `max_bytes`, packed or not), INPUT_UNREACHABLE (all that the network or the server did).
    """
    target = _parse(url)
    deadline = Deadline(timeout)
    backend = CheckedBackend(deadline, allow_private, resolve)
    context = tls or ssl.create_default_context(cafile=certifi.where())
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(MAX_TRIES) | tenacity.stop_before_delay(timeout),
        wait=tenacity.wait_exponential(multiplier=0.2, max=2.0),
        reraise=True,
    )
    with (
        httpcore.ConnectionPool(ssl_context=context, network_backend=backend, max_keepalive_connections=0) as pool,
        ThreadPoolExecutor(1, "fetch") as thread,
    ):
        try:
            return in_parallel(thread, lambda place: retrying(_follow, pool, place, max_bytes), [target], check, deadline)[0]
        except TransientError as fault:
            raise JobError(Code.INPUT_UNREACHABLE, fault.sentence) from fault
        except httpcore.TimeoutException as fault:
            raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} did not answer in full within {timeout:g} s.") from fault


def is_url(text: str, *schemes: str) -> bool:
    """Whether a text is meant as a URL of one of the schemes (`s3`, `https`), which capitals and blanks around it do not change."""
    scheme, separator, _ = text.lstrip()[:16].partition("://")
    return bool(separator) and scheme.lower() in schemes


def check_endpoint(url: str, *, allow_private: bool, timeout: float, resolve: Resolve = socket.getaddrinfo) -> None:
    """The address check alone, for a service that another client will talk to (a job's own S3 endpoint).

    Raises JobError as `fetch` does. The other client resolves the name again by itself.
    """
    target = _parse(url)
    deadline = Deadline(timeout)
    try:
        checked_addresses(_host(target), target.port or 443, allow_private, resolve, deadline)
    except TransientError as fault:
        raise JobError(Code.INPUT_UNREACHABLE, fault.sentence) from fault
    except httpcore.TimeoutException as fault:
        raise JobError(Code.INPUT_UNREACHABLE, f"The name {_host(target)} was not resolved within {timeout:g} s.") from fault


def _parse(url: str) -> httpx.URL:
    if len(url) > MAX_URL:
        raise JobError(Code.INVALID_INPUT, f"The URL is longer than {MAX_URL} characters.")
    try:
        target = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as fault:
        raise JobError(Code.INVALID_INPUT, "The URL is not a valid one.") from fault
    if target.scheme not in ("http", "https"):
        raise JobError(Code.INVALID_INPUT, "The URL must begin with http:// or https:// (or name an object: s3://bucket/key).")
    if target.userinfo:
        raise JobError(Code.INVALID_INPUT, "The URL carries a user name or password, which is not accepted.")
    if not _is_sound(target):
        raise JobError(Code.INVALID_INPUT, "The URL names no valid host and port.")
    return target


def _is_sound(target: httpx.URL) -> bool:
    """http(s), a host that can be a name or an address, no user, a port that exists."""
    plain = target.scheme in ("http", "https") and not target.userinfo
    return plain and _HOST.fullmatch(_host(target)) is not None and 0 < (target.port or 80) < 65536 and target.port != 0


def _host(target: httpx.URL) -> str:
    """The host as it is asked for: ASCII, punycode (httpx's own `host` decodes it, and may fail)."""
    return target.raw_host.decode("ascii")


def _follow(pool: httpcore.ConnectionPool, target: httpx.URL, max_bytes: int) -> bytes:
    """One try: the URL and its redirects."""
    for _ in range(MAX_REDIRECTS + 1):
        found = _get(pool, target, max_bytes)
        if isinstance(found, bytes):
            return found
        target = found
    raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} redirects more than {MAX_REDIRECTS} times.")


def _get(pool: httpcore.ConnectionPool, target: httpx.URL, max_bytes: int) -> bytes | httpx.URL:
    """One hop: the body, or where it redirects to."""
    location = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
    headers = [("Host", target.netloc.decode("ascii")), *_HEADERS.items()]
    try:
        with pool.stream("GET", location, headers=headers) as response:
            return _read(response, target, max_bytes)
    except httpcore.ConnectError as fault:
        if isinstance(fault.__cause__ or fault.__context__, ssl.SSLCertVerificationError):
            raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} has no valid TLS certificate.") from fault
        raise TransientError(f"{_host(target)} cannot be connected to.") from fault
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as fault:
        raise TransientError(f"{_host(target)} broke the transfer off or does not speak HTTP.") from fault


def _read(response: httpcore.Response, target: httpx.URL, max_bytes: int) -> bytes | httpx.URL:
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return _redirected(target, headers[b"location"])
    if response.status == 429 or response.status >= 500:
        raise TransientError(f"{_host(target)} answered with HTTP status {response.status}.")
    if not 200 <= response.status < 300:
        raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} answered with HTTP status {response.status}.")
    too_large = JobError(Code.INPUT_TOO_LARGE, f"What {_host(target)} sends is larger than {max_bytes:,} bytes.")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    if not body:
        raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} answered with an empty body.")
    codings = ",".join(value.decode("latin-1") for name, value in response.headers if name.lower() == b"content-encoding")
    return unpacked(bytes(body), codings, _host(target), max_bytes)


def _redirected(target: httpx.URL, location: bytes) -> httpx.URL:
    try:
        following = target.join(location.decode("utf-8"))
    except (httpx.InvalidURL, ValueError) as fault:
        raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} redirects to something that is no URL.") from fault
    if not _is_sound(following):
        raise JobError(Code.INPUT_FORBIDDEN, f"{_host(target)} redirects to what is no plain http:// or https:// URL.")
    return following
