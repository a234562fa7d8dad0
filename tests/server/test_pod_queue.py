"""The queue's promises on a database of its own: order, leases, interruptions, cancelling, idempotency, retention."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from pipeline.progress import Progress
from pipeline.settings import SettingsError
from server import engine, jobs, queue
from server.database import JOURNAL_BYTES, Database, connect
from server.database import jobs as table
from server.problems import Problem


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = connect(tmp_path / "jobs.sqlite")
    yield opened
    opened.close()


def new(job_id: str, key: str | None = None, digest: str = "d", size: int = 10) -> jobs.New:
    return jobs.New(job_id, {"size": 1024}, "input", None, size, digest, key)


def status(database: Database, job_id: str) -> str:
    return str(jobs.shown(database, job_id)["status"])


def claim(database: Database, slot: int = 0, seconds: float = 300) -> queue.Claim:
    taken = queue.claim(database, slot, seconds)
    assert taken is not None
    return taken


def cleared(job_id: str) -> None:
    """For jobs without files; tests/server/test_pod_leases.py has some."""


def placed(complete: bool) -> int:
    """The same."""
    return 1


def set_times(database: Database, job_id: str, **values: float) -> None:
    with database.write() as connection:
        connection.execute(update(table).where(table.c.job_id == job_id).values(**values))


def test_many_takers_take_each_job_once_and_in_order(database: Database) -> None:
    names = [f"j{n:02}" for n in range(40)]
    for name in names:
        jobs.add(database, new(name))
    taken: list[tuple[int, str]] = []
    lock = threading.Lock()

    def take(slot: int) -> None:
        while (found := queue.claim(database, slot, 300)) is not None:
            with lock:
                taken.append((found.seq, found.job_id))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(4)))
    assert sorted(name for _, name in taken) == names
    assert [name for _, name in sorted(taken)] == names
    assert queue.claim(database, 0, 300) is None


def test_an_interrupted_job_runs_again_in_its_old_place_once_and_is_then_poisoned(database: Database) -> None:
    for name in ("first", "second"):
        jobs.add(database, new(name))
    assert claim(database).job_id == "first"
    assert queue.reap(database, 0, cleared) == []
    assert status(database, "first") == "pending" and jobs.shown(database, "first")["queue_position"] == 1
    assert claim(database).job_id == "first"
    assert queue.reap(database, 1, cleared) == []  # another slot's engine ended
    assert status(database, "first") == "processing"
    assert [(over.job_id, over.status, over.code) for over in queue.reap(database, 0, cleared)] == [("first", "failed", "POISONED")]
    assert str(jobs.shown(database, "first")["error"]).startswith("POISONED: ")
    assert claim(database).job_id == "second"


def test_a_lease_that_ran_out_is_lost_for_ever(database: Database) -> None:
    jobs.add(database, new("j"))
    old = claim(database)
    assert queue.renew(database, old, [])
    assert queue.reap(database, None, cleared) == [] and status(database, "j") == "processing"
    assert queue.overdue(database, 0, 30) is None
    set_times(database, "j", lease_until=time.monotonic() - 1)
    assert queue.overdue(database, 0, 30) == "silent"  # its keeper's turn
    set_times(database, "j", lease_until=time.monotonic() - queue.ABANDONED - 1)
    queue.reap(database, None, cleared)
    young = claim(database, slot=1)
    assert young.attempts == 2
    # who has slept through it changes nothing any more
    assert not queue.renew(database, old, [("log", {"event": "late"})])
    assert not queue.look(database, old).own
    assert queue.finish(database, old, [], result={"svg": 1}, place=placed) is None
    assert not queue.put_back(database, old, [])
    assert jobs.shown(database, "j")["logs"] == []
    assert queue.finish(database, young, [], result={"svg": 2}, place=placed) == queue.Ended("j", "completed", None)
    assert jobs.shown(database, "j")["result"] == {"svg": 2}


def test_a_clock_that_is_set_takes_nothing_from_a_healthy_engine(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.add(database, new("j"))
    real = time.time
    for jump in (86_400.0, -86_400.0):
        taken = claim(database, seconds=60)
        monkeypatch.setattr(time, "time", lambda by=jump: real() + by)
        assert taken.waited >= 0 and queue.overdue(database, 0, 5) is None and queue.reap(database, None, cleared) == []
        assert queue.look(database, taken) == queue.Hold(own=True, cancel=False)
        assert queue.put_back(database, taken, [])
    assert claim(database).waited == 0  # it came, by this clock, in the future


def test_what_ran_when_the_machine_ended_runs_again_however_long_it_was_off(database: Database) -> None:
    """Its deadline has passed meanwhile, or the machine's clock has begun anew; nobody keeps the slot of it any more."""
    for lease_until, deadline in ((time.monotonic() - 1e6, time.monotonic() - 1e6), (time.monotonic() + 1e6, time.monotonic() + 1e6)):
        name = f"until {lease_until}"
        jobs.add(database, new(name))
        assert claim(database, slot=7).job_id == name
        set_times(database, name, lease_until=lease_until, deadline=deadline)
        assert queue.reap(database, None, cleared) == [] and status(database, name) == "pending"
        again = claim(database)
        assert again.attempts == 2 and queue.finish(database, again, [], result={}, place=placed) is not None


def test_a_stop_of_the_server_is_not_the_jobs_fault(database: Database) -> None:
    jobs.add(database, new("j"))
    for _ in range(5):
        taken = claim(database)
        assert taken.attempts == 1
        assert queue.put_back(database, taken, [])
    assert jobs.shown(database, "j")["attempts"] == 0


def test_the_engine_puts_a_job_back_that_does_not_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LAST_SECONDS", 0.3)
    jobs.add(database, new("j"))
    taken, stopping, release = claim(database), threading.Event(), threading.Event()
    thread = threading.Thread(target=release.wait, daemon=True)
    thread.start()
    stopping.set()
    assert not engine._watch(thread, taken, engine.Recorder("j"), Progress(), database, stopping)
    release.set()
    assert status(database, "j") == "pending" and jobs.shown(database, "j")["attempts"] == 0


def test_an_engine_leaves_that_lost_its_job_and_cannot_end_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LAST_SECONDS", 0.3)
    jobs.add(database, new("j"))
    lost, release, progress = claim(database), threading.Event(), Progress()
    set_times(database, "j", lease_until=time.monotonic() - queue.ABANDONED - 1)
    queue.reap(database, None, cleared)
    young = claim(database, slot=1)
    thread = threading.Thread(target=release.wait, daemon=True)
    thread.start()
    assert not engine._watch(thread, lost, engine.Recorder("j"), progress, database, threading.Event())
    release.set()
    assert progress.cancelled.is_set() and queue.look(database, young) == queue.Hold(own=True, cancel=False)


def test_a_job_to_be_cancelled_never_completes(database: Database) -> None:
    jobs.add(database, new("running"))
    taken = claim(database)
    jobs.add(database, new("pending"))
    assert jobs.cancel(database, "pending")["status"] == "cancelled"
    assert jobs.cancel(database, "running")["status"] == "processing"
    assert queue.look(database, taken) == queue.Hold(own=True, cancel=True)
    assert not queue.put_back(database, taken, [])
    ended = queue.finish(database, taken, [], result={"svg": 1}, place=placed)
    assert ended == queue.Ended("running", "cancelled", "CANCELLED")
    told = jobs.shown(database, "running")
    assert (told["status"], told["result"]) == ("cancelled", None)
    assert queue.claim(database, 0, 300) is None
    with pytest.raises(Problem, match="NOT_FOUND"):
        jobs.cancel(database, "none")


def test_who_hangs_is_overdue_and_its_job_is_cancelled_or_timed_out(database: Database) -> None:
    for name in ("cancelled", "late"):
        jobs.add(database, new(name))
    claim(database)
    jobs.cancel(database, "cancelled")
    assert queue.overdue(database, 0, 5) is None
    set_times(database, "cancelled", cancel_at=time.time() - 6)
    assert queue.overdue(database, 0, 5) == "cancelled"
    queue.reap(database, 0, cleared)
    assert status(database, "cancelled") == "cancelled"
    claim(database, seconds=1)
    set_times(database, "late", deadline=time.monotonic() - 6)
    assert queue.overdue(database, 0, 5) == "late"
    assert [over.code for over in queue.reap(database, 0, cleared, late=True)] == ["TIMED_OUT"]
    assert queue.overdue(database, 0, 5) is None


def test_the_last_thousand_lines_are_kept(database: Database) -> None:
    jobs.add(database, new("j"))
    taken = claim(database)
    for start in range(0, 2500, 250):
        queue.renew(database, taken, [("log", {"n": n}) for n in range(start, start + 250)])
    queue.renew(database, taken, [("progress", {"phase": "fetch", "step": "photo", "percent": 1})])
    told = jobs.shown(database, "j")
    assert [line["n"] for line in told["logs"]] == list(range(1500, 2500))
    assert told["progress"]["phase"] == "fetch" and told["progress"]["number"] == int(told["last_event_id"])


def test_the_same_key_means_the_same_job(database: Database) -> None:
    assert jobs.add(database, new("a", "key")) == jobs.Queued("a", "pending", is_new=True)
    assert jobs.add(database, new("b", "key")) == jobs.Queued("a", "pending", is_new=False)
    with pytest.raises(Problem, match="INVALID_INPUT"):
        jobs.add(database, new("c", "key", digest="another"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: jobs.add(database, new(f"n{n}", "one")), range(24)))
    assert len({queued.job_id for queued in found}) == 1 and sum(queued.is_new for queued in found) == 1


STATUSES = ["pending", "processing", "completed", "failed", "cancelled"]
HOURS, ROOM = st.integers(0, 9), st.integers(0, 40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.sampled_from(STATUSES), st.integers(0, 9), st.integers(1, 9)), max_size=8), hours=HOURS, room=ROOM)
def test_retention_takes_the_oldest_ended_jobs_and_no_other(
    database: Database, rows: list[tuple[str, int, int]], hours: int, room: int
) -> None:
    with database.write() as connection:
        connection.execute(delete(table))
    for n, (how, ended, size) in enumerate(rows):
        jobs.add(database, new(f"j{n}", size=size))
        over = how in jobs.OVER
        with database.write() as connection:
            connection.execute(
                update(table).where(table.c.job_id == f"j{n}").values(status=how, finished_at=float(ended) if over else None)
            )
    gone = set(jobs.forget_old(database, float(hours), room))
    left = {job["job_id"] for job in jobs.listed(database, 100, None)["jobs"]}
    everything = {f"j{n}" for n in range(len(rows))}
    ended_at = {f"j{n}": ended for n, (how, ended, _) in enumerate(rows) if how in jobs.OVER}
    sizes = {f"j{n}": size for n, (_, _, size) in enumerate(rows)}
    assert gone | left == everything and not gone & left and gone <= set(ended_at)
    staying = left & set(ended_at)
    assert all(ended_at[job] >= hours for job in staying)
    assert not staying or sum(sizes[job] for job in left) <= room
    assert all(ended_at[a] <= ended_at[b] for a in gone for b in staying)
    for job in gone:  # none went without need: it was too old, or those that stayed had no room beside it
        newer = {other for other in ended_at if ended_at[other] > ended_at[job]}
        busy = everything - set(ended_at)
        same = {other for other in ended_at if ended_at[other] == ended_at[job]}
        assert ended_at[job] < hours or sum(sizes[other] for other in newer | busy | same) > room


def test_the_file_does_not_grow_with_the_jobs_that_were_forgotten(database: Database, tmp_path: Path) -> None:
    """Their room is used again, and the journal is cut short; any number of folders is asked for at once."""
    sizes, count = [], 2_000
    for turn in range(3):
        with database.write() as connection:
            row = {"status": "completed", "created_at": 1.0, "finished_at": 1.0, "request": {"p": "x" * 5_000}, "digest": "d", "bytes": 1}
            connection.execute(insert(table), [row | {"job_id": f"{turn}-{n}"} for n in range(count)])
        assert len(jobs.forget_old(database, 2.0, 1e12)) == count
        assert jobs.listed(database, 1, None)["jobs"] == []
        sizes.append((tmp_path / "jobs.sqlite").stat().st_size)
    assert max(sizes) < 1.05 * sizes[0]
    jobs.add(database, new("j"))
    assert 0 < (tmp_path / "jobs.sqlite-wal").stat().st_size <= JOURNAL_BYTES
    assert jobs.known(database, ["j", *(str(n) for n in range(40_000))]) == {"j"}


def test_another_versions_file_is_refused(tmp_path: Path) -> None:
    database = connect(tmp_path / "jobs.sqlite")
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SettingsError, match="OUTPUT_DIR"):
        connect(tmp_path / "jobs.sqlite")
