"""The jobs as callers see them: submitting, asking, following, cancelling, deleting."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from pipeline.errors import Code
from server.database import Database, events, jobs
from server.problems import PodCode, Problem
from server.queue import CANCELLED, KEPT

OVER = frozenset({"completed", "failed", "cancelled"})
#: Keys of a job that hold a picture or its address, which may be signed: never told to anybody.
SECRET_KEYS = frozenset({"image_url", "image_base64", "matte_url", "matte_base64", "palette_from_url"})
#: Jobs in one statement: SQLite takes 32,766 values in one, and submissions wait for it.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class New:
    """A job to be queued: `request` its keys without pictures; `picture` and `matte` files in its folder; `digest` of all of it."""

    job_id: str
    request: Mapping[str, Any]
    picture: str | None
    matte: str | None
    size: int
    digest: str
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Queued:
    """The job that a submission stands for: the new one, or an earlier one that came under the same key."""

    job_id: str
    status: str
    is_new: bool


def earlier(connection: Connection, new: New) -> Queued | None:
    """The job that came before under the same idempotency key. Raises `INVALID_INPUT` where that was another request."""
    if new.idempotency_key is None:
        return None
    row = connection.execute(select(jobs).where(jobs.c.idempotency_key == new.idempotency_key)).first()
    if row is None:
        return None
    if row.digest != new.digest:
        sentence = "This Idempotency-Key came before with another request; every request wants a key of its own."
        raise Problem(Code.INVALID_INPUT, sentence, job_id=row.job_id)
    return Queued(row.job_id, row.status, is_new=False)


def add(database: Database, new: New) -> Queued:
    """Put a job at the end of the queue; its files are in place. Raises as `earlier` does."""
    with database.write() as connection:
        known = earlier(connection, new)
        if known is None:
            connection.execute(
                insert(jobs),  # the values beside it: SQLAlchemy then writes the statement once
                {
                    "job_id": new.job_id,
                    "status": "pending",
                    "created_at": time.time(),
                    "request": new.request,
                    "picture": new.picture,
                    "matte": new.matte,
                    "idempotency_key": new.idempotency_key,
                    "digest": new.digest,
                    "bytes": new.size,
                },
            )
    return known or Queued(new.job_id, "pending", is_new=True)


def find(connection: Connection, job_id: str) -> Row[Any]:
    """A job's row. Raises `NOT_FOUND`."""
    row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).first()
    if row is None:
        raise Problem(PodCode.NOT_FOUND, "There is no such job; it was deleted, or never was.")
    return row


def shown(database: Database, job_id: str) -> dict[str, Any]:
    """Everything that is told of a job. Raises `NOT_FOUND`."""
    with database.read() as connection:
        row = find(connection, job_id)
        return _summary(row) | {
            "queue_position": _position(connection, row) if row.status == "pending" else None,
            "attempts": row.attempts,
            "progress": None if row.status == "pending" else _progress(connection, row.seq),
            "last_event_id": str(
                connection.execute(select(func.coalesce(func.max(events.c.number), 0)).where(events.c.job == row.seq)).scalar_one()
            ),
            "settings": {key: value for key, value in row.request.items() if key not in SECRET_KEYS},
            "logs": _logs(connection, row.seq),
        }


@dataclass(frozen=True, slots=True)
class ServedJob:
    """What is needed to serve a job's files."""

    status: str
    picture: str | None


def brief(database: Database, job_id: str) -> ServedJob:
    """A job in brief. Raises `NOT_FOUND`."""
    with database.read() as connection:
        row = find(connection, job_id)
    return ServedJob(row.status, row.picture)


def listed(database: Database, limit: int, before: int | None) -> dict[str, Any]:
    """A page of jobs, the newest first: `jobs`, and `next`, to be given as `before` for the page after it; null on the last."""
    newest = select(jobs).order_by(jobs.c.seq.desc()).limit(limit + 1)
    with database.read() as connection:
        rows = connection.execute(newest if before is None else newest.where(jobs.c.seq < before)).all()
    page = rows[:limit]
    return {"jobs": [_summary(row) for row in page], "next": str(page[-1].seq) if len(rows) > limit else None}


def cancel(database: Database, job_id: str) -> dict[str, Any]:
    """End a job: a pending one at once, one at work at its next step. Raises `NOT_FOUND`, and `CONFLICT` for one that is over."""
    with database.write() as connection:
        row = find(connection, job_id)
        if row.status in ("completed", "failed"):
            raise Problem(PodCode.CONFLICT, f"The job is {row.status} already.", job_id=job_id)
        change: dict[str, Any] = {"cancel_at": row.cancel_at or time.time()}
        if row.status == "pending":
            change |= {"status": "cancelled", "finished_at": time.time(), "error_code": Code.CANCELLED, "error_sentence": CANCELLED}
        if row.status != "cancelled":
            connection.execute(update(jobs).where(jobs.c.seq == row.seq).values(**change))
    return {"job_id": job_id, "status": change.get("status", row.status), "cancel_requested": True}


def remove(database: Database, job_id: str) -> None:
    """Forget a job. Raises `NOT_FOUND`, and `CONFLICT` for one at work."""
    with database.write() as connection:
        row = find(connection, job_id)
        if row.status == "processing":
            raise Problem(PodCode.CONFLICT, "The job is being worked on; cancel it first.", job_id=job_id)
        _forget(connection, [row.seq])


def forget_old(database: Database, before: float, most_bytes: float) -> list[str]:
    """Forget the jobs that ended `before` a time, and the oldest ended ones as long as all jobs hold more than `most_bytes`.

    Pending ones and those at work always stay. Returns the ids; the caller removes their folders.
    """
    over = jobs.c.status.in_(OVER)
    with database.read() as connection:
        rows = connection.execute(
            select(jobs.c.seq, jobs.c.job_id, jobs.c.bytes, jobs.c.finished_at).where(over).order_by(jobs.c.finished_at)
        ).all()
        total = connection.execute(select(func.coalesce(func.sum(jobs.c.bytes), 0))).scalar_one()
    going = []
    for row in rows:
        if row.finished_at >= before and total <= most_bytes:
            break
        going.append(row)
        total -= row.bytes
    for start in range(0, len(going), _AT_ONCE):
        with database.write() as connection:
            _forget(connection, [row.seq for row in going[start : start + _AT_ONCE]])
    return [row.job_id for row in going]


def known(database: Database, job_ids: Iterable[str]) -> frozenset[str]:
    """Those of the ids that are jobs."""
    wanted, found = list(job_ids), set[str]()
    with database.read() as connection:
        for start in range(0, len(wanted), _AT_ONCE):
            some = jobs.c.job_id.in_(wanted[start : start + _AT_ONCE])
            found.update(connection.execute(select(jobs.c.job_id).where(some)).scalars())
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a job: `kind` is progress or log."""

    number: int
    kind: str
    data: Mapping[str, Any]


def told_since(database: Database, job_id: str, number: int) -> tuple[str, str | None, list[Told]]:
    """A job's status, its error, and what it told after event `number`, in order. Raises `NOT_FOUND`."""
    with database.read() as connection:
        row = find(connection, job_id)
        since = select(events).where(events.c.job == row.seq, events.c.number > number).order_by(events.c.number)
        told = [Told(e.number, e.kind, _numbered(e)) for e in connection.execute(since)]
    return row.status, _error(row), told


def _numbered(event: Row[Any]) -> dict[str, Any]:
    return {"number": event.number, **event.data} if event.kind == "progress" else dict(event.data)


def _forget(connection: Connection, seqs: list[int]) -> None:
    connection.execute(delete(events).where(events.c.job.in_(seqs)))
    connection.execute(delete(jobs).where(jobs.c.seq.in_(seqs)))


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(row: Row[Any]) -> str | None:
    return None if row.error_code is None else f"{row.error_code}: {row.error_sentence}"


def _summary(row: Row[Any]) -> dict[str, Any]:
    return {
        "job_id": row.job_id,
        "status": row.status,
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.finished_at),
        "error": _error(row),
        "result": row.result,
    }


def _position(connection: Connection, row: Row[Any]) -> int:
    """1 for the job that is next."""
    before = select(func.count()).where(jobs.c.status == "pending", jobs.c.seq <= row.seq)
    return int(connection.execute(before).scalar_one())


def _progress(connection: Connection, seq: int) -> dict[str, Any] | None:
    last = select(events).where(events.c.job == seq, events.c.kind == "progress").order_by(events.c.number.desc()).limit(1)
    row = connection.execute(last).first()
    return None if row is None else _numbered(row)


def _logs(connection: Connection, seq: int) -> list[Mapping[str, Any]]:
    lines = select(events.c.data).where(and_(events.c.job == seq, events.c.kind == "log"))
    return list(reversed(connection.execute(lines.order_by(events.c.number.desc()).limit(KEPT)).scalars().all()))
