"""A client of this worker's RunPod endpoint for other services: typed, blocking (`Client`) and asynchronous (`AsyncClient`).

This file and protocol.py beside it need httpx and pydantic and nothing else of the project, so that a service may also copy the two.
docs/services.md shows their use.
"""

import asyncio
import base64
import os
import random
import re
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, Unpack

import httpx

# Relative, so that copies of the two files work in any package.
from .protocol import BASE, FIRST, GROWTH, LONGEST, Beside, Call, Gone, JobFailed, Progress, Refused, Result, State, is_passing, told

__all__ = ["AsyncClient", "Client", "Gone", "JobFailed", "NotYet", "Progress", "Refused", "Result", "State", "Unreachable"]

Item = TypeVar("Item")
#: Seconds that a busy or unreachable endpoint is tried for, and the longest pause between two tries.
PATIENCE, LONGEST_PAUSE = 60.0, 10.0
#: Seconds for one request and for its connection; a picture may be 10 MB long.
TIMEOUT: Final = httpx.Timeout(120, connect=15)


class Unreachable(Exception):  # noqa: N818 - the sentence says what was tried
    """The endpoint was busy or did not answer for `patience` seconds."""


class NotYet(TimeoutError):  # noqa: N818 - the job goes on
    """The job was not over within the seconds that `wait` or `progress` was given; it goes on, and may be waited for again."""


#: What an operation does next: send a request, pause so many seconds, or hand an item out. It is sent a request's response, or the
#: fault that kept it away.
Steps = Generator[httpx.Request | float | Item, httpx.Response | httpx.TransportError | None, None]
Asking = Generator[httpx.Request | float, httpx.Response | httpx.TransportError | None, Item]


@dataclass(frozen=True, slots=True)
class _Operations:
    """What the clients can do, as steps: `Client` takes them blocking, `AsyncClient` awaiting."""

    url: str
    key: str
    patience: float

    def state(self, call: Call) -> Steps[State]:
        """Hand out the state that RunPod answers to a call."""
        yield (yield from self._told(call))

    def states(self, job_id: str, timeout: float | None) -> Steps[State]:
        """Hand out each new state of a job, the final one last. Raises `NotYet`."""
        end, pause = None if timeout is None else time.monotonic() + timeout, FIRST
        last: tuple[str, Any] | None = None
        while True:
            state = yield from self._told(Call.status(job_id))
            if (state.status, state.output) != last:
                yield state
                last = state.status, state.output
            if state.final:
                return
            if end is not None and time.monotonic() + pause > end:
                raise NotYet(f"The job is not over after {timeout:g} seconds ({state.status or 'no state'}); it goes on.")
            yield pause
            pause = min(LONGEST, pause * GROWTH)

    def file(self, url: str | None) -> Steps[bytes]:
        """Hand out what lies at an address of a result; RunPod's key does not go there."""
        if url is None:
            raise JobFailed("DELIVERY_FAILED", "The result has no such file; the job's outputs did not name it.")
        if url.startswith("data:"):
            try:
                data = base64.b64decode(url.partition(",")[2], validate=True)
            except ValueError:
                raise JobFailed("DELIVERY_FAILED", "The file in the answer is no base64.") from None
            yield data
            return
        try:
            request = httpx.Request("GET", url, extensions={"timeout": TIMEOUT.as_dict()})
        except httpx.InvalidURL:
            request = None
        if request is None or request.url.scheme not in ("http", "https"):
            raise JobFailed("DELIVERY_FAILED", "The file's address is neither http(s) nor data.")
        response = yield from self._answered(request, "The file's address")
        if response.status_code != 200:
            raise JobFailed("DELIVERY_FAILED", f"The file's address answers with status {response.status_code}.")
        yield response.content

    def _told(self, call: Call) -> Asking[State]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        extensions = {"timeout": TIMEOUT.as_dict()}
        request = httpx.Request(call.method, f"{self.url}/{call.route}", content=call.body, headers=headers, extensions=extensions)
        response = yield from self._answered(request, "The RunPod endpoint")
        return told(call, response.status_code, response.content)

    def _answered(self, request: httpx.Request, where: str) -> Asking[httpx.Response]:
        """The response of a server that is not busy. Raises `Unreachable`."""
        end, pause = time.monotonic() + self.patience, 0.25
        while True:
            response = yield request
            wait = random.uniform(0, pause)
            if isinstance(response, httpx.Response):
                if not is_passing(response.status_code):
                    return response
                asked = response.headers.get("Retry-After", "")
                wait = max(wait, float(asked)) if asked.isdigit() else wait
            if time.monotonic() + wait > end:
                raise Unreachable(f"{where} cannot be reached: {_fault(response)}.")
            yield wait
            pause = min(LONGEST_PAUSE, 2 * pause)


def _fault(response: httpx.Response | httpx.TransportError | None) -> str:
    """What kept an answer away, without the address, which may hold a signature."""
    if isinstance(response, httpx.Response):
        return f"it answers with status {response.status_code}"
    if isinstance(response, httpx.ConnectError):
        return "it takes no connection"
    return "it does not answer in time" if isinstance(response, httpx.TimeoutException) else "it closed the connection"


def _operations(endpoint_id: str, key: str | None, base: str | None, patience: float) -> _Operations:
    """Raises `Refused` where there is no key, or the id cannot be one."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", endpoint_id):
        raise Refused(0, "An endpoint's id holds only letters, digits, - and _.")
    key = key or os.environ.get("RUNPOD_API_KEY", "").strip()
    if not key:
        raise Refused(0, "RUNPOD_API_KEY is not set; RunPod's console makes one under Settings, API Keys.")
    base = base or os.environ.get("RUNPOD_ENDPOINT_BASE_URL", "").strip() or BASE
    return _Operations(f"{base.rstrip('/')}/{endpoint_id}", key, patience)


class Client:
    """Jobs at an endpoint, blocking; may be used by several threads, as a context manager or until `close`.

    `key` and `base` are by default `RUNPOD_API_KEY` and `RUNPOD_ENDPOINT_BASE_URL` (else RunPod's address), as for RunPod's SDK. Every
    method raises `Refused` for a wrong key or endpoint, and `Unreachable` after `patience` seconds of a busy or silent one.
    """

    def __init__(self, endpoint_id: str, *, key: str | None = None, base: str | None = None, patience: float = PATIENCE) -> None:
        self._operations = _operations(endpoint_id, key, base, patience)
        self._http = httpx.Client()

    def submit(self, job: Mapping[str, Any], **beside: Unpack[Beside]) -> str:
        """Put a job (docs/job.md) into the queue; its id. A request whose answer is lost is sent again, so that the job may then be
        drawn twice. Raises `JobFailed` for a job that is not taken.
        """
        return self._one(self._operations.state(Call.run(job, beside))).id

    def status(self, job_id: str) -> State:
        """A job's state now. Raises `Gone`."""
        return self._one(self._operations.state(Call.status(job_id)))

    def progress(self, job_id: str, timeout: float | None = None) -> Iterator[State]:
        """Each new state of a job while it goes on, the final one last. Raises `Gone`; `NotYet` after `timeout` seconds."""
        return self._items(self._operations.states(job_id, timeout))

    def wait(self, job_id: str, timeout: float | None = None) -> Result:
        """The result of a job, as soon as it is there. Raises `JobFailed`, `Gone`; `NotYet` after `timeout` seconds."""
        return self._one(self._operations.states(job_id, timeout)).result()

    def cancel(self, job_id: str) -> State:
        """Cancel a job; its state then, which is COMPLETED where its end was faster. Raises `Gone`."""
        return self._one(self._operations.state(Call.cancel(job_id)))

    def file(self, url: str | None) -> bytes:
        """What lies at an address of a result, http(s) or `data:`. Raises `JobFailed` (`DELIVERY_FAILED`)."""
        return self._one(self._operations.file(url))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _items(self, steps: Steps[Item]) -> Iterator[Item]:
        given: httpx.Response | httpx.TransportError | None = None
        while True:
            try:
                step = steps.send(given)
            except StopIteration:
                return
            given = None
            if isinstance(step, httpx.Request):
                try:
                    given = self._http.send(step)
                except httpx.TransportError as fault:
                    given = fault
            elif isinstance(step, float):
                time.sleep(step)
            else:
                yield step

    def _one(self, steps: Steps[Item]) -> Item:
        return list(self._items(steps))[-1]


class AsyncClient:
    """`Client` for asyncio: the same methods and errors, awaited. A task that is cancelled while it waits leaves the job going on."""

    def __init__(self, endpoint_id: str, *, key: str | None = None, base: str | None = None, patience: float = PATIENCE) -> None:
        self._operations = _operations(endpoint_id, key, base, patience)
        self._http = httpx.AsyncClient()

    async def submit(self, job: Mapping[str, Any], **beside: Unpack[Beside]) -> str:
        """See `Client.submit`."""
        return (await self._one(self._operations.state(Call.run(job, beside)))).id

    async def status(self, job_id: str) -> State:
        """See `Client.status`."""
        return await self._one(self._operations.state(Call.status(job_id)))

    def progress(self, job_id: str, timeout: float | None = None) -> AsyncIterator[State]:
        """See `Client.progress`."""
        return self._items(self._operations.states(job_id, timeout))

    async def wait(self, job_id: str, timeout: float | None = None) -> Result:
        """See `Client.wait`."""
        return (await self._one(self._operations.states(job_id, timeout))).result()

    async def cancel(self, job_id: str) -> State:
        """See `Client.cancel`."""
        return await self._one(self._operations.state(Call.cancel(job_id)))

    async def file(self, url: str | None) -> bytes:
        """See `Client.file`."""
        return await self._one(self._operations.file(url))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _items(self, steps: Steps[Item]) -> AsyncIterator[Item]:
        given: httpx.Response | httpx.TransportError | None = None
        while True:
            try:
                step = steps.send(given)
            except StopIteration:
                return
            given = None
            if isinstance(step, httpx.Request):
                try:
                    given = await self._http.send(step)
                except httpx.TransportError as fault:
                    given = fault
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    async def _one(self, steps: Steps[Item]) -> Item:
        return [item async for item in self._items(steps)][-1]
