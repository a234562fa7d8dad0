"""Requests that are patient: what may pass is tried again, with growing pauses, for some minutes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from batch.protocol import is_passing
from batch.values import Unavailable

Made = TypeVar("Made")
#: Seconds for one request and for its connection; a picture may be 10 MB long.
TIMEOUT = aiohttp.ClientTimeout(total=120, connect=15)
#: Seconds after which an endpoint that answers nothing is given up, and the longest pause between two tries.
PATIENCE, LONGEST_PAUSE = 240.0, 20.0


def session_of_many() -> aiohttp.ClientSession:
    """A session without a limit of its own on connections, and without cookies, which no server here needs."""
    return aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


class PassingError(Exception):
    """A request that may succeed later; `wait`: the seconds that the server asked for."""

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait = wait


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, PassingError) else 0.0
    return max(min(asked, PATIENCE), wait_random_exponential(multiplier=0.25, max=LONGEST_PAUSE)(state))


async def patient(request: Callable[[], Awaitable[Made]], where: str, patience: float | None = None) -> Made:
    """What the request answers once it does not raise `PassingError` or a fault of the transport. Raises `Unavailable` after `patience`
    seconds (`PATIENCE`); `where` names the endpoint in its sentence."""

    async def once() -> Made:
        try:
            return await request()
        except (TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as fault:
            raise PassingError(_told(fault)) from fault

    try:
        return await once()  # without the library, whose own work would be a good part of a quick request's
    except PassingError as first:
        await asyncio.sleep(min(first.wait, LONGEST_PAUSE))
    tries = AsyncRetrying(
        retry=retry_if_exception_type(PassingError), wait=_pause, stop=stop_after_delay(patience or PATIENCE), reraise=True
    )
    try:
        return await tries(once)
    except PassingError as last:
        raise Unavailable(f"{where} cannot be reached: {last}.") from last


def reason(error: OSError) -> str:
    """The system's own words, without the address that asyncio adds to them."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or type(error).__name__


def _told(fault: Exception) -> str:
    """A fault of the transport in words, without the address, which may hold a signature."""
    if isinstance(fault, aiohttp.ClientConnectorError):
        return f"it takes no connection ({reason(fault.os_error)})"
    if isinstance(fault, aiohttp.ClientResponseError):
        return "it sends from address to address" if isinstance(fault, aiohttp.TooManyRedirects) else "its answer is not HTTP"
    return "it does not answer in time" if isinstance(fault, TimeoutError) else "it closed the connection"


def check_passing(status: int, headers: Any) -> None:
    """Raise `PassingError` for the statuses of a busy or broken server."""
    if is_passing(status):
        asked = headers.get("Retry-After", "")
        raise PassingError(f"it answers with status {status}", float(asked) if asked.isdigit() else 0.0)
