"""A job as server-sent events: what it has told since the caller last listened, then what it tells, until it is over."""

import asyncio
import json
from collections.abc import AsyncIterator

import anyio
from anyio import to_thread
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server import jobs
from server.database import Database
from server.problems import PodCode, Problem

#: Seconds between two looks, and between two comments that keep the connection alive.
LOOK, ALIVE = 0.25, 10
#: Listeners at a time in a web process; each looks into the database four times a second.
LISTENERS = 200


async def stream(database: Database, job_id: str, last: int, room: asyncio.Semaphore) -> Response:
    """The events after number `last`. 204 where the job is over and everything was told: a browser then asks no more.

    Raises `NOT_FOUND`; the answer itself raises `RATE_LIMITED` where there is no room for another listener.
    """
    status, _, told = await to_thread.run_sync(jobs.told_since, database, job_id, last)
    if status in jobs.OVER and not told and last:
        return Response(status_code=204)
    return _Stream(_events(database, job_id, last), room)


class _Stream(EventSourceResponse):
    """A stream of events that has one of the places in `room` from its beginning to its end."""

    def __init__(self, told: AsyncIterator[ServerSentEvent], room: asyncio.Semaphore) -> None:
        super().__init__(told, ping=ALIVE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises `RATE_LIMITED` at once where no place is free."""
        if self._room.locked():
            sentence = f"{LISTENERS} listeners follow jobs already; ask for the job itself, which tells the same."
            raise Problem(PodCode.RATE_LIMITED, sentence, headers={"Retry-After": "10"})
        async with self._room:  # a semaphore that is not locked does not suspend
            await super().__call__(scope, receive, send)


async def _events(database: Database, job_id: str, last: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        try:
            status, error, told = await to_thread.run_sync(jobs.told_since, database, job_id, last)
        except Problem:  # the job was deleted meanwhile; the next request is told so
            return
        for event in told:
            last = event.number
            yield ServerSentEvent(json.dumps(event.data), event=event.kind, id=str(last))
        if status in jobs.OVER:
            yield ServerSentEvent(json.dumps({"job_id": job_id, "status": status, "error": error}), event="end", id=str(max(last, 1)))
            return
        await anyio.sleep(LOOK)
