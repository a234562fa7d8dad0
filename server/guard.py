"""What every request passes: known host, key, origin, rate, time for its body; safe headers, a count and a log line for its answer."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import structlog
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import Code
from server import metrics, sign_in
from server.problems import PodCode, Problem, answer, of_bug
from server.settings import Pod, listed

log = structlog.get_logger()

#: Paths that need no key: they reveal nothing, and a container's health check has no key.
OPEN = frozenset({"/health", "/ready"})
#: Bytes that a request may have where no other limit is set.
_BODY = 64_000
#: The status that is counted for a caller who left before the answer.
_GONE = 499
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: What an answer has unless its route says otherwise.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NO_KEY = "This server wants its API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."

#: How a request proved that it may come: by the key itself, by a browser's session, or not at all.
Proof = Literal["key", "session", "none"]


@dataclass(slots=True)
class _Answered:
    """What is known of an answer while it is sent."""

    status: int = 0


class Guard:
    """The ASGI middleware. Each web process counts its own requests for RATE_LIMIT_PER_MINUTE."""

    def __init__(self, app: ASGIApp, pod: Pod, body_limits: Mapping[str, int]) -> None:
        """`body_limits`: path → bytes that a request for it may have, where that is more than usual."""
        environment = pod.environment
        self.app = app
        self.key = environment.api_key.get_secret_value() if environment.api_key else None
        self.hosts, self.origins = frozenset(listed(environment.allowed_hosts)), frozenset(listed(environment.cors_origins))
        self.upload_seconds, self.body_limits = environment.upload_seconds, body_limits
        per_minute = environment.rate_limit_per_minute
        self.rate = RateLimitItemPerMinute(per_minute) if per_minute else None
        self.limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answered = time.perf_counter(), _Answered()
        safe = _with_headers(send, answered)
        try:
            self._admit(scope)
            await self.app(scope, _bounded(receive, self.upload_seconds, self.body_limits.get(scope["path"], _BODY)), safe)
        except ClientDisconnect:
            answered.status = _GONE  # the caller left in mid-upload
        except Exception as fault:  # a bug becomes an id for the caller and a traceback in the log
            problem = fault if isinstance(fault, Problem) else of_bug(fault)
            metrics.ERRORS.labels(str(problem.code)).inc()
            if answered.status:  # an answer has begun; cutting it off says that it is not whole
                raise
            for_browser = problem.code == PodCode.UNAUTHORIZED and (scope["method"], scope["path"]) == ("GET", "/")
            response = sign_in.page("This server wants its API key.") if for_browser else answer(problem)
            await response(scope, receive, safe)
        finally:
            _count(scope, answered.status, time.perf_counter() - began)

    def _admit(self, scope: Scope) -> None:
        """Raises the problem of a request that may not come."""
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if path in OPEN:
            return
        if self.hosts and _host(headers) not in self.hosts:
            raise Problem(PodCode.FORBIDDEN, "This server does not go by that name; ALLOWED_HOSTS names those it has.")
        proof, signs_in = self._proof(headers), (method, path) == ("POST", "/")
        wants_key = self.key is not None and proof == "none"
        if path.startswith("/api/") or wants_key:  # guessed keys count too; the page's own files do not
            self._limit("key" if proof == "key" else str((scope.get("client") or ("unknown",))[0]))
        if wants_key and not signs_in:
            raise Problem(PodCode.UNAUTHORIZED, _NO_KEY, headers={"WWW-Authenticate": "Bearer"})
        if method not in _SAFE and proof != "key" and not signs_in and not self._is_own(headers, proof):
            raise Problem(PodCode.FORBIDDEN, "A page of another site may not do this; send the API key, or set CORS_ORIGINS.")

    def _proof(self, headers: Headers) -> Proof:
        """How the request shows that it may come; `none` where no key is set."""
        if self.key is None:
            return "none"
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        if sign_in.is_key(given, self.key):
            return "key"
        session = cookie_parser(headers.get("cookie", "")).get(sign_in.COOKIE, "")
        return "session" if sign_in.is_session(session, self.key, time.time()) else "none"

    def _is_own(self, headers: Headers, proof: Proof) -> bool:
        """Whether the headers say that the request comes from this server's own page or an allowed one. Only browsers send these headers,
        so a request with neither is fine unless it has a session, which only browsers have."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin in self.origins:
            return True
        if site is not None:
            return site in ("same-origin", "none")
        if origin is not None:
            own = _split(origin).netloc
            return own != "" and own == headers.get("host")
        return proof == "none"

    def _limit(self, who: str) -> None:
        """Raises `RATE_LIMITED`."""
        if self.rate is None or self.limiter.hit(self.rate, who):
            return
        reset = self.limiter.get_window_stats(self.rate, who).reset_time
        wait = max(1, round(reset - time.time() + 0.5))
        sentence = f"More than {self.rate.amount} requests in a minute; wait {wait} s."
        raise Problem(PodCode.RATE_LIMITED, sentence, headers={"Retry-After": str(wait)})


def _host(headers: Headers) -> str:
    return _split(f"//{headers.get('host', '')}").hostname or ""


def _split(address: str) -> SplitResult:
    """The parts of what a caller calls an address; none of what is no address."""
    try:
        return urlsplit(address)
    except ValueError:  # a bracket without its other half
        return urlsplit("")


def _with_headers(send: Send, answered: _Answered) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers


def _bounded(receive: Receive, seconds: float, most: int) -> Receive:
    """A request's body as it comes. Raises `TIMED_OUT` when it is not here in full after so many seconds, and `INPUT_TOO_LARGE` as soon
    as it has more bytes than `most`."""
    ends, whole, size = time.monotonic() + seconds, False, 0

    async def bounded() -> Message:
        nonlocal whole, size
        if whole:  # a further read waits until the caller disconnects
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), ends - time.monotonic())
        except TimeoutError:
            sentence = f"The request did not arrive in full within {seconds:g} s (UPLOAD_SECONDS)."
            raise Problem(Code.TIMED_OUT, sentence, headers={"Connection": "close"}) from None
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > most:
            raise Problem(Code.INPUT_TOO_LARGE, f"The request has more than {most:,} bytes, the limit of this address (docs/server.md).")
        return message

    return bounded


def _count(scope: Scope, status: int, seconds: float) -> None:
    """Count and log an answer by its route, never by its path, which may hold anything."""
    route = getattr(scope.get("route"), "path", None) or "none"
    method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
    metrics.REQUESTS.labels(method, route, str(status)).inc()
    metrics.REQUEST_SECONDS.labels(method, route).observe(seconds)
    tell = log.info if method not in _SAFE or status == 500 else log.debug
    job = scope.get("path_params", {}).get("job_id")
    tell("request", method=method, route=route, status=status, ms=round(1000 * seconds, 1), job_id=job)
