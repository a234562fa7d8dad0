"""Fetching what a caller's URL names, without letting the caller reach what only this worker can reach.

The address is checked where the connection is made, on every hop: the backend below resolves the name, refuses it when
any of its addresses is not public, and connects to an address it has checked, so a name that changes its answer between
check and connection (DNS rebinding) gains nothing. TLS is verified against the name. Proxies of the environment are not
used. One deadline spans the whole transfer, redirects and retries included. Redirects may go from https to http: a
picture is no secret, and the address check is the same.

Sentences name the host alone: path and query of a signed URL are secrets.
"""

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as ResolveTimeout
from dataclasses import dataclass
from typing import Any, TypeAlias

import certifi
import httpcore
import httpx
import tenacity

from pipeline.errors import Code, JobError

Resolve: TypeAlias = Callable[..., Iterable[tuple[Any, ...]]]  # as socket.getaddrinfo

MAX_REDIRECTS = 5
MAX_TRIES = 3
MAX_URL = 8192

#: One address of several may be dead; the next one is tried after this many seconds.
CONNECT_SECONDS = 5.0

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_PROTOCOLS = tuple(ipaddress.ip_network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23"))  # IANA special purpose
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "vehicle-vector", "Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}


def fetch(
    url: str,
    *,
    max_bytes: int,
    allow_private: bool,
    timeout: float = 20.0,
    resolve: Resolve = socket.getaddrinfo,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The body behind an http(s) URL.

    `timeout` in seconds spans everything. At most five redirects are followed and three tries are made, the latter for
    broken connections, 429 and 5xx only. `tls` replaces the default context (certifi's authorities).

    Raises JobError: INVALID_INPUT (no such kind of URL), INPUT_FORBIDDEN (a private address, also behind a redirect),
    INPUT_TOO_LARGE (more than `max_bytes`), INPUT_UNREACHABLE (all that the network or the server did).
    """
    target = _parse(url)
    deadline = _Deadline(time.monotonic() + timeout)
    backend = _CheckedBackend(deadline, allow_private, resolve)
    context = tls or ssl.create_default_context(cafile=certifi.where())
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TransientError),
        stop=tenacity.stop_after_attempt(MAX_TRIES) | tenacity.stop_before_delay(timeout),
        wait=tenacity.wait_exponential(multiplier=0.2, max=2.0),
        reraise=True,
    )
    with httpcore.ConnectionPool(ssl_context=context, network_backend=backend, max_keepalive_connections=0) as pool:
        try:
            return retrying(_follow, pool, target, max_bytes)
        except _TransientError as fault:
            raise JobError(Code.INPUT_UNREACHABLE, fault.sentence) from fault
        except httpcore.TimeoutException as fault:
            raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} did not answer in full within {timeout:g} s.") from fault


def check_endpoint(url: str, *, allow_private: bool, resolve: Resolve = socket.getaddrinfo, timeout: float = 20.0) -> None:
    """The address check alone, for a service that another client will talk to (a job's own S3 endpoint).

    Raises JobError as `fetch` does. The other client resolves the name again by itself.
    """
    target = _parse(url)
    deadline = _Deadline(time.monotonic() + timeout)
    try:
        _addresses(_host(target), target.port or 443, allow_private, resolve, deadline)
    except _TransientError as fault:
        raise JobError(Code.INPUT_UNREACHABLE, fault.sentence) from fault
    except httpcore.TimeoutException as fault:
        raise JobError(Code.INPUT_UNREACHABLE, f"The name {_host(target)} was not resolved within {timeout:g} s.") from fault


def is_public(address: str) -> bool:
    """Whether an IP address is a public one, an IPv4 address inside IPv6 (mapped, NAT64) judged by itself.

    IANA's special purpose registries (RFC 6890) as Python knows them, and what older versions of it leave out. 6to4,
    Teredo and other transitional forms are not public: nobody serves pictures there.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip.sixtofour is not None or ip.teredo is not None or ip.is_site_local:
            return False
    if any(ip in network for network in _PROTOCOLS if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class _TransientError(Exception):
    """A failure that another try may mend."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class _Deadline:
    end: float

    def left(self, most: float | None = None) -> float:
        """Seconds until the end, `most` at most. Raises httpcore.ReadTimeout when it has passed."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return left if most is None else min(left, most)


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline: a server that drips bytes gains nothing."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, and to the very address that was checked."""

    def __init__(self, deadline: _Deadline, allow_private: bool, resolve: Resolve) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the interface's
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - the interface's
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port, self._allow_private, self._resolve, self._deadline)
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, timeout)

    def _connect(self, address: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(address, port, self._deadline.left(timeout)), self._deadline)


def _addresses(host: str, port: int, allow_private: bool, resolve: Resolve, deadline: _Deadline) -> list[str]:
    """The host's addresses, all of them checked. Raises JobError INPUT_FORBIDDEN, _TransientError, httpcore's timeout."""
    name = host.strip("[]")
    executor = ThreadPoolExecutor(1)  # the system's resolver knows no deadline
    try:
        answers = executor.submit(resolve, name, port, type=socket.SOCK_STREAM).result(deadline.left())
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    except ResolveTimeout as fault:
        raise httpcore.ConnectTimeout("the name server did not answer") from fault
    except (OSError, UnicodeError) as fault:
        raise _TransientError(f"The name {host} cannot be resolved.") from fault
    finally:
        executor.shutdown(wait=False)
    if not addresses:
        raise _TransientError(f"The name {host} has no address.")
    if not allow_private and not all(is_public(address) for address in addresses):
        raise JobError(Code.INPUT_FORBIDDEN, f"{host} has an address that is not public; this worker fetches from public ones only.")
    return addresses


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
        raise _TransientError(f"{_host(target)} cannot be connected to.") from fault
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as fault:
        raise _TransientError(f"{_host(target)} broke the transfer off or does not speak HTTP.") from fault


def _read(response: httpcore.Response, target: httpx.URL, max_bytes: int) -> bytes | httpx.URL:
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return _redirected(target, headers[b"location"])
    if response.status == 429 or response.status >= 500:
        raise _TransientError(f"{_host(target)} answered with HTTP status {response.status}.")
    if not 200 <= response.status < 300:
        raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} answered with HTTP status {response.status}.")
    if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
        raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} sends the file compressed although it was asked not to.")
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
    return bytes(body)


def _redirected(target: httpx.URL, location: bytes) -> httpx.URL:
    try:
        following = target.join(location.decode("utf-8"))
    except (httpx.InvalidURL, ValueError) as fault:
        raise JobError(Code.INPUT_UNREACHABLE, f"{_host(target)} redirects to something that is no URL.") from fault
    if not _is_sound(following):
        raise JobError(Code.INPUT_FORBIDDEN, f"{_host(target)} redirects to what is no plain http:// or https:// URL.")
    return following
