"""Connections to public addresses only, each with a deadline: for whatever a caller's URL, or a job's own bucket, names.

The address is checked where the connection is made: the backend resolves the name, refuses it when any of its addresses is
not public, and connects to an address it has checked, so a name that changes its answer between check and connection (DNS
rebinding) gains nothing. TLS is verified against the name. Proxies of the environment are not used.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as ResolveTimeout
from typing import Any, TypeAlias, TypeVar

import httpcore

from pipeline.errors import Code, JobError

Resolve: TypeAlias = Callable[..., Iterable[tuple[Any, ...]]]  # as socket.getaddrinfo
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")

#: How often a cancelled or late job is noticed while requests are under way.
CHECK_SECONDS = 0.2

#: One address of several may be dead; the next one is tried after this many seconds.
CONNECT_SECONDS = 5.0

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_PROTOCOLS = tuple(ipaddress.ip_network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23"))  # IANA special purpose


def is_public(address: str) -> bool:
    """Whether an IP address is a public one, an IPv4 address inside IPv6 (mapped, NAT64) judged by itself.

    IANA's special purpose registries (RFC 6890) as Python knows them, and what older versions of it leave out. 6to4,
    Teredo and other transitional forms are not public, since no pictures are served there.
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


class TransientError(Exception):
    """A failure that another try may mend."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Deadline:
    """A reading of `time.monotonic` after which nothing waits any more; `abort` makes it pass now, for all who share it.

    Waits that are under way end too: their connections are shut down.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def left(self, most: float | None = None) -> float:
        """Seconds until the end, `most` at most. Raises httpcore.ReadTimeout when it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return left if most is None else min(left, most)

    def abort(self) -> None:
        """End everything that waits under this deadline."""
        with self._lock:
            self._end = 0.0
            for connection in self._open:
                try:
                    # of the connection beneath: an SSLSocket's own takes the encryption off first, and a thread that is writing its
                    # request at that moment would go on in clear
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
                except OSError:
                    continue  # it was closed already

    def opened(self, connection: socket.socket) -> None:
        """Note a connection that `abort` has to end."""
        with self._lock:
            self._open.add(connection)
        self.left()

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)


def go_on() -> None:
    """A check that ends nothing, for work that nobody cancels."""


def in_parallel(
    pool: ThreadPoolExecutor, function: Callable[[_Item], _Done], items: Sequence[_Item], check: Callable[[], None], deadline: Deadline
) -> list[_Done]:
    """`function` of every item, in parallel; when one raises, or `check` does, no other starts and the running ones are ended first.

    `check` is called every 0.2 s; what the running ones wait for has to stand under `deadline`.
    """
    futures: list[Future[_Done]] = [pool.submit(function, item) for item in items]
    try:
        pending = set(futures)
        while pending:
            check()
            done, pending = wait(pending, CHECK_SECONDS, FIRST_EXCEPTION)
            for future in done:
                future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        deadline.abort()
        wait(futures)
        raise
    return [future.result() for future in futures]


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline: a server that drips bytes gains nothing."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline
        self._socket: socket.socket = inner.get_extra_info("socket")
        deadline.opened(self._socket)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._deadline.closed(self._socket)
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        self._deadline.closed(self._socket)  # it lives on inside the other
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, and to the very address that was checked."""

    def __init__(self, deadline: Deadline, allow_private: bool, resolve: Resolve) -> None:
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
        """A connection to the first of the host's addresses that accepts one."""
        addresses = checked_addresses(host, port, self._allow_private, self._resolve, self._deadline)
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, timeout)

    def _connect(self, address: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        connection = self._inner.connect_tcp(address, port, self._deadline.left(timeout))
        try:
            return _Stream(connection, self._deadline)
        except httpcore.TimeoutException:  # aborted meanwhile
            connection.close()
            raise


def checked_addresses(host: str, port: int, allow_private: bool, resolve: Resolve, deadline: Deadline) -> list[str]:
    """The host's addresses, all of them checked. Raises JobError INPUT_FORBIDDEN, TransientError, httpcore's timeout."""
    name = host.strip("[]")
    executor = ThreadPoolExecutor(1)  # the system's resolver knows no deadline
    try:
        answers = executor.submit(resolve, name, port, type=socket.SOCK_STREAM).result(deadline.left())
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    except ResolveTimeout as fault:
        raise httpcore.ConnectTimeout("the name server did not answer") from fault
    except (OSError, UnicodeError) as fault:
        raise TransientError(f"The name {host} cannot be resolved.") from fault
    finally:
        executor.shutdown(wait=False)
    if not addresses:
        raise TransientError(f"The name {host} has no address.")
    if not allow_private and not all(is_public(address) for address in addresses):
        raise JobError(Code.INPUT_FORBIDDEN, f"{host} has an address that is not public; this worker fetches from public ones only.")
    return addresses
