"""The queue as engines and their keepers see it: taking a job, keeping it, giving it back, ending it.

A job is taken under a lease that is renewed while the work goes on. An engine that is gone, or renews no more, loses the job, which is
pending again in its old place, once; a job that ends its engine twice is failed as poisoned.

An engine that lost its job may go on without knowing it. So every change of a job names a lease, and only a transaction that finds the
lease still good changes the job's row and its files (`server.files`).

Leases and deadlines go by the machine's monotonic clock, which all its processes share, so that neither setting the clock nor a machine's
sleep ends a healthy engine. That clock restarts with the machine; a lease from before the restart is too far in the future, or has run out.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, and_, delete, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from pipeline.errors import Code
from server.database import Database, engines, events, jobs
from server.problems import PodCode

#: Seconds that a lease holds; it is renewed far more often.
LEASE = 15.0
#: Seconds after which any engine may take over from one whose keeper has not done so.
ABANDONED = 30.0
#: How often a job is begun at most.
TRIES = 2
#: Log lines, and progress reports, that are kept of a job.
KEPT = 1000

CANCELLED = "The job was cancelled."
TIMED_OUT = "The job took longer than JOB_TIMEOUT_SECONDS allows, and its process had to be ended; raise it or send a smaller picture."
POISONED = "The job was interrupted twice by the end of the process that worked on it, and is not tried again."

Over = Literal["completed", "failed", "cancelled"]
Overdue = Literal["cancelled", "late", "silent"]
Event = tuple[Literal["progress", "log"], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that was taken. `lease` proves to whom it belongs; it came `waited` seconds ago."""

    seq: int
    job_id: str
    request: Mapping[str, Any]
    picture: str | None
    matte: str | None
    attempts: int
    lease: str
    waited: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over, for the counters: its end, and the error's code."""

    job_id: str
    status: Over
    code: str | None


def claim(database: Database, slot: int, job_seconds: float) -> Claim | None:
    """Take the oldest pending job for the engine of this slot; None where there is none. `job_seconds` is the job's time limit."""
    with database.read() as connection:  # most looks find nothing, and need not keep others from writing
        if connection.execute(select(jobs.c.seq).where(jobs.c.status == "pending").limit(1)).first() is None:
            return None
    now, clock, lease = time.time(), time.monotonic(), secrets.token_hex(8)
    oldest = select(jobs.c.seq).where(jobs.c.status == "pending").order_by(jobs.c.seq).limit(1).scalar_subquery()
    taking = (
        update(jobs)
        .where(jobs.c.seq == oldest)
        .values(
            status="processing",
            started_at=now,
            attempts=jobs.c.attempts + 1,
            slot=slot,
            lease=lease,
            lease_until=clock + LEASE,
            deadline=clock + job_seconds,
        )
        .returning(jobs.c.seq, jobs.c.job_id, jobs.c.request, jobs.c.picture, jobs.c.matte, jobs.c.attempts, jobs.c.created_at)
    )
    with database.write() as connection:
        row = connection.execute(taking).first()
    if row is None:
        return None
    return Claim(row.seq, row.job_id, row.request, row.picture, row.matte, row.attempts, lease, max(now - row.created_at, 0.0))


@dataclass(frozen=True, slots=True)
class Hold:
    """What an engine learns of its job: whether the job is still its own, and whether it is to be cancelled."""

    own: bool
    cancel: bool


def look(database: Database, taken: Claim) -> Hold:
    """Whether the job still belongs to this lease, and whether it is to end."""
    with database.read() as connection:
        row = connection.execute(select(jobs.c.cancel_at).where(_mine(taken))).first()
    return Hold(row is not None, row is not None and row.cancel_at is not None)


def renew(database: Database, taken: Claim, told: Sequence[Event]) -> bool:
    """Renew the lease, and store what the job told meanwhile. False: another engine holds the job by now."""
    with database.write() as connection:
        kept = connection.execute(update(jobs).where(_mine(taken)).values(lease_until=time.monotonic() + LEASE)).rowcount == 1
        if kept:
            _store(connection, taken.seq, told)
    return kept


def finish(
    database: Database,
    taken: Claim,
    told: Sequence[Event],
    *,
    result: Mapping[str, Any] | None = None,
    error: tuple[str, str] | None = None,
    place: Callable[[bool], int],
) -> Ended | None:
    """End the job: with its result, or its error's code and sentence.

    `place` is called inside the transaction once the lease is proven to hold the job: it gives the job's folder the attempt's files (True,
    the job completes) or none, and answers with the folder's bytes. When it raises, nothing is changed.

    A job whose cancel was requested is cancelled, whatever its outcome. None: another engine holds the job by now, and nothing is changed.
    """
    with database.write() as connection:
        row = connection.execute(select(jobs.c.cancel_at).where(_mine(taken))).first()
        if row is None:
            return None
        if row.cancel_at is not None:
            result, error = None, (Code.CANCELLED, CANCELLED)
        _store(connection, taken.seq, told)
        return _end(connection, taken.seq, taken.job_id, result, error, place(error is None))


def put_back(database: Database, taken: Claim, told: Sequence[Event]) -> bool:
    """Make the job pending again as if it had not been begun: the server stops, and that is not the job's fault.

    False: its cancel was requested, or another engine holds it, and it stays as it is.
    """
    with database.write() as connection:
        back = and_(_mine(taken), jobs.c.cancel_at.is_(None))
        done = connection.execute(update(jobs).where(back).values(**_PENDING, attempts=jobs.c.attempts - 1)).rowcount == 1
        if done:
            _store(connection, taken.seq, told)
    return done


def reap(database: Database, slot: int | None, clear: Callable[[str], None], *, late: bool = False) -> list[Ended]:
    """Decide about the jobs whose engine is gone: that of `slot`, which surely does not run; for None all that have been silent for too
    long. `late`: the engine was ended because its job took too long. `clear` is called for each job inside the transaction, with its id: it
    removes from the job's folder what an engine that ended in mid-transaction may have put there.

    Cancelled ones are cancelled, late ones timed out, those begun too often poisoned; any other is pending again in its old place.
    """
    clock = time.monotonic()
    silent = or_(jobs.c.lease_until < clock - ABANDONED, jobs.c.lease_until > clock + LEASE)
    whose = jobs.c.slot == slot if slot is not None else silent
    lost = select(jobs).where(jobs.c.status == "processing", whose)
    with database.read() as connection:
        if connection.execute(lost).first() is None:
            return []
    ended: list[Ended] = []
    with database.write() as connection:
        for row in connection.execute(lost).all():
            clear(row.job_id)
            error = _fate(row.cancel_at is not None, late, row.attempts >= TRIES)
            if error is None:
                connection.execute(update(jobs).where(jobs.c.seq == row.seq).values(**_PENDING))
            else:
                ended.append(_end(connection, row.seq, row.job_id, None, error, row.bytes))
    return ended


def overdue(database: Database, slot: int, grace: float) -> Overdue | None:
    """Why the engine of this slot has to be ended from outside, in a word; None while it keeps to its time.

    It is given `grace` seconds beyond the job's time limit, and as many to end a job that is to be cancelled.
    """
    clock = time.monotonic()
    mine = and_(jobs.c.status == "processing", jobs.c.slot == slot)
    with database.read() as connection:
        row = connection.execute(select(jobs.c.deadline, jobs.c.lease_until, jobs.c.cancel_at).where(mine)).first()
    if row is None:
        return None
    if row.cancel_at is not None and row.cancel_at + grace < time.time():
        return "cancelled"
    if row.deadline + grace < clock:
        return "late"
    return "silent" if row.lease_until < clock else None


def leases(database: Database) -> frozenset[str]:
    """The leases of all jobs at work."""
    with database.read() as connection:
        return frozenset(connection.execute(select(jobs.c.lease).where(jobs.c.lease.is_not(None))).scalars())


def note_engine(database: Database, slot: int, **told: Any) -> None:
    """Write down how the engine of a slot is: `pid`, `state`, `engine`, `models`, `error`."""
    with database.write() as connection:
        connection.execute(upsert(engines).values(slot=slot, **told).on_conflict_do_update(index_elements=["slot"], set_=told))


_PENDING: Mapping[str, Any] = {
    "status": "pending",
    "started_at": None,
    "slot": None,
    "lease": None,
    "lease_until": None,
    "deadline": None,
}


def _mine(taken: Claim) -> Any:
    return and_(jobs.c.seq == taken.seq, jobs.c.status == "processing", jobs.c.lease == taken.lease)


def _fate(cancel: bool, late: bool, tried: bool) -> tuple[str, str] | None:
    if cancel:
        return Code.CANCELLED, CANCELLED
    if late:
        return Code.TIMED_OUT, TIMED_OUT
    return (PodCode.POISONED, POISONED) if tried else None


def _end(
    connection: Connection, seq: int, job_id: str, result: Mapping[str, Any] | None, error: tuple[str, str] | None, size: int
) -> Ended:
    code, sentence = error or (None, None)
    status: Over = "completed" if code is None else "cancelled" if code == Code.CANCELLED else "failed"
    connection.execute(
        update(jobs)
        .where(jobs.c.seq == seq)
        .values(
            status=status,
            finished_at=time.time(),
            result=result,
            error_code=code,
            error_sentence=sentence,
            bytes=size,
            slot=None,
            lease=None,
            lease_until=None,
            deadline=None,
        )
    )
    return Ended(job_id, status, code)


def _store(connection: Connection, seq: int, told: Iterable[Event]) -> None:
    """Append what a job told; of each kind only the last are kept."""
    rows = [{"job": seq, "kind": kind, "data": dict(data)} for kind, data in told]
    if not rows:
        return
    connection.execute(insert(events), rows)
    for kind in {row["kind"] for row in rows}:
        same = and_(events.c.job == seq, events.c.kind == kind)
        last = select(events.c.number).where(same).order_by(events.c.number.desc()).limit(1).offset(KEPT).scalar_subquery()
        connection.execute(delete(events).where(same, events.c.number <= last))
