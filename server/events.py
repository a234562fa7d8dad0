"""A job as server-sent events: what it has told since the caller last listened, then what it tells, until it is over."""

import json
from collections.abc import AsyncIterator

import anyio
from anyio import to_thread
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from server import jobs
from server.database import Database
from server.problems import Problem

#: Seconds between two looks, and between two comments that keep the connection alive.
LOOK, ALIVE = 0.25, 10


async def stream(database: Database, job_id: str, last: int) -> Response:
    """The events after number `last`. 204 where the job is over and everything was told: a browser then asks no more.

    Raises `NOT_FOUND`.
    """
    status, _, told = await to_thread.run_sync(jobs.told_since, database, job_id, last)
    if status in jobs.OVER and not told and last:
        return Response(status_code=204)
    return EventSourceResponse(
        _events(database, job_id, last), ping=ALIVE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _events(database: Database, job_id: str, last: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        try:
            status, error, told = await to_thread.run_sync(jobs.told_since, database, job_id, last)
        except Problem:  # deleted meanwhile: whoever asks again is told so
            return
        for event in told:
            last = event.number
            yield ServerSentEvent(json.dumps(event.data), event=event.kind, id=str(last))
        if status in jobs.OVER:
            yield ServerSentEvent(json.dumps({"job_id": job_id, "status": status, "error": error}), event="end", id=str(max(last, 1)))
            return
        await anyio.sleep(LOOK)
