"""How boto3's requests leave this process: over connections whose addresses are checked and whose time is bounded.

botocore asks its `before-send` handlers for an answer before it sends a request itself (its own stubs work so). Ours does the request with
httpcore over `pipeline.intake.network`, so that a job's own endpoint cannot lead to what only this worker can reach, whatever its name
resolves to the second time and wherever it redirects, and so that nothing waits beyond the delivery's deadline. Errors become botocore's
own, which its retries know.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import certifi
import httpcore
import httpx

from delivery.bucket import Bucket
from pipeline.intake.network import CheckedBackend, Deadline, TransientError
from pipeline.variables import variable

_CHUNK = 1 << 16
#: An answer that is no object (an error's text, a receipt) may be this long.
_MOST_TEXT = 1 << 20


class _Body:
    """An answer's body as botocore reads it: `stream` for a text, `read` for an object."""

    def __init__(self, response: httpcore.Response, endpoint: str) -> None:
        self._response = response
        self._endpoint = endpoint
        self._chunks = iter(response.iter_stream())
        self._rest = b""

    def stream(self) -> Iterator[bytes]:
        """The body, at most `_MOST_TEXT` bytes: longer ones are cut, which no XML parser takes for an answer."""
        text = self.read(_MOST_TEXT)
        self.close()
        yield text

    def read(self, amount: int | None = None) -> bytes:
        """Up to `amount` bytes, without it all of them; empty at the end."""
        held, self._rest = bytearray(self._rest), b""
        with _as_botocore(self._endpoint):
            while amount is None or len(held) < amount:
                chunk = next(self._chunks, b"")
                if not chunk:
                    break
                held += chunk
        cut = len(held) if amount is None else amount
        self._rest = bytes(held[cut:])
        return bytes(held[:cut])

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()


class _Nothing:
    """An answer without a body."""

    def stream(self) -> Iterator[bytes]:
        yield b""


@contextmanager
def _as_botocore(endpoint: str) -> Iterator[None]:
    """httpcore's errors as botocore's."""
    from botocore import exceptions as theirs  # noqa: PLC0415 - slow to load

    try:
        yield
    except httpcore.ConnectTimeout as error:
        raise theirs.ConnectTimeoutError(endpoint_url=endpoint, error=error) from None
    except httpcore.TimeoutException as error:
        raise theirs.ReadTimeoutError(endpoint_url=endpoint, error=error) from None
    except httpcore.ConnectError as error:
        certificate = any(isinstance(each, ssl.SSLError) for each in (error.__cause__, error.__context__))
        failed = theirs.SSLError if certificate else theirs.EndpointConnectionError
        raise failed(endpoint_url=endpoint, error=error) from None
    except TransientError as error:
        raise theirs.EndpointConnectionError(endpoint_url=endpoint, error=error.sentence) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise theirs.ConnectionClosedError(endpoint_url=endpoint, error=error) from None


@contextmanager
def sender(bucket: Bucket, deadline: Deadline) -> Iterator[Callable[..., Any]]:
    """The `before-send` handler for one client, whose connections are closed at the end.

    It raises botocore's `HTTPClientError`s, and `INPUT_FORBIDDEN` for an address that is not public.
    """
    context = ssl.create_default_context(cafile=variable("AWS_CA_BUNDLE") or certifi.where())
    backend = CheckedBackend(deadline, bucket.allow_private, socket.getaddrinfo)
    waits = {"connect": bucket.connect_timeout, "read": bucket.read_timeout, "write": bucket.read_timeout, "pool": bucket.read_timeout}

    def send(request: Any, event_name: str = "", **_: object) -> Any:
        from botocore.awsrequest import AWSResponse  # noqa: PLC0415

        if event_name.endswith(".HeadBucket"):
            # This project never asks this; botocore does, to learn the region behind a redirect that does not tell it, and asks again for
            # the redirect of that request, and so on: a service that redirects everything would be asked hundreds of times.
            return AWSResponse(request.url, 404, {}, _Nothing())
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        headers = [("Host", httpx.URL(request.url).netloc.decode("ascii"))]
        headers += [(name, value.decode("latin-1") if isinstance(value, bytes) else str(value)) for name, value in request.headers.items()]
        with _as_botocore(request.url):
            sent = httpcore.Request(request.method, request.url, headers=headers, content=body, extensions={"timeout": waits})
            response = pool.handle_request(sent)
        given = {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}
        answer = AWSResponse(request.url, response.status, given, _Body(response, request.url))
        if not request.stream_output:
            answer.content  # noqa: B018 - reads it, so that the connection is free for the next request
        return answer

    with httpcore.ConnectionPool(ssl_context=context, network_backend=backend, max_connections=8, max_keepalive_connections=8) as pool:
        yield send
