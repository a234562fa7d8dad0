"""A job that two engines work at: whose files it has in the end, whatever the other one does, and when."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import settings as test_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update

from delivery import Artifact, Bucket, deliver_local, deliver_s3
from model_cache import embedded
from pipeline import service, settings
from pipeline.errors import Code, JobError
from pipeline.progress import Progress
from server import engine as engines
from server import files, intake, jobs, keeper, queue
from server.database import Database, connect
from server.database import jobs as table
from server.problems import Problem
from server.settings import Pod, read
from tests.support.s3_service import S3Service
from tests.support.serving import NO_NETWORKS


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return read({"OUTPUT_DIR": str(tmp_path / "out"), "ENGINE": "classical", "ALLOW_PRIVATE_URLS": "1"})


@pytest.fixture
def database(pod: Pod) -> Iterator[Database]:
    opened = connect(pod.database)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def engine() -> service.Worker:
    """Without networks: it draws nothing here."""
    return service.start(settings.environment({"ENGINE": "classical", embedded.VARIABLE: NO_NETWORKS}), settings.load())


def submitted(pod: Pod, database: Database, photo: bytes) -> str:
    return intake.accept(intake.Submission((), io.BytesIO(photo), None), pod, database).job_id


def expire(database: Database, job_id: str) -> None:
    """The engine at work is silent for so long that any other may take the job over."""
    with database.write() as connection:
        silent = time.monotonic() - queue.ABANDONED - 1
        connection.execute(update(table).where(table.c.job_id == job_id).values(lease_until=silent))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@dataclass
class Attempt:
    """An engine at work in a thread of this process that waits in mid-job until it is let go."""

    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(default_factory=threading.Thread)

    def wait(self) -> None:
        self.reached.set()
        assert self.go.wait(60)

    def ends(self) -> None:
        self.go.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


Start = Callable[..., Attempt]


def picture(lease: str) -> bytes:
    """What an attempt makes here: the same bytes for every one, and in its result its own name."""
    return f'{{"by": "{lease}"}}'.encode()


@pytest.fixture
def start(pod: Pod, database: Database, engine: service.Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Begin the job that is next, in an engine of its own that is held while it draws ("draw") or when its files are delivered ("done");
    `fault`: what then happens while it draws. Nothing is drawn: queue, files and deliveries are the real ones."""
    held: dict[str, tuple[str, Exception | None, Attempt]] = {}

    def attempt(
        job_id: str, raw: object, worker: service.Worker, progress: Progress, staging: service.Staging, pictures: service.Pictures
    ) -> service.Delivered:
        lease = staging.folder.name
        at, fault, one = held[lease]
        if at == "draw":
            one.wait()
        if fault is not None:
            raise service.explain(fault)
        progress.check()
        made = [Artifact.of("illustration.svg", b"<svg/>"), Artifact.of("result.json", picture(lease))]
        deliver_local(made, staging.folder, check=progress.check)
        withdraw = deliver_s3(made, worker.bucket, job_id, check=progress.check) if worker.bucket else lambda: None
        if at == "done":
            one.wait()
        return service.Delivered({"peak_vram_mb": 0, "by": lease}, withdraw)

    monkeypatch.setattr(service, "attempt", attempt)
    begun: list[Attempt] = []

    def begin(slot: int, at: str, *, fault: Exception | None = None, bucket: Bucket | None = None) -> Attempt:
        queue.reap(database, None, lambda job_id: files.clear_outputs(files.folder_of(pod, job_id)))
        taken, one = queue.claim(database, slot, 300), Attempt()
        assert taken is not None
        held[taken.lease] = at, fault, one
        worker = replace(engine, environment=pod.environment, bucket=bucket)
        one.thread = threading.Thread(target=engines.do, args=(slot, taken, pod, worker, database, threading.Event()), daemon=True)
        one.thread.start()
        begun.append(one)
        assert one.reached.wait(60)
        return one

    yield begin
    for one in begun:
        one.ends()


#: How the engine that lost its job ends: told to end at its next step, failed by itself, done too late.
ENDS = {
    "cancelled": {"at": "draw"},
    "failed": {"at": "draw", "fault": RuntimeError("a bug")},
    "done": {"at": "done"},
}


@pytest.mark.parametrize("how", ENDS)
def test_who_lost_the_job_changes_nothing_of_the_one_who_completed_it(
    how: str, pod: Pod, database: Database, start: Start, photo: bytes
) -> None:
    job_id = submitted(pod, database, photo)
    folder = files.folder_of(pod, job_id)
    first = start(0, **ENDS[how])
    expire(database, job_id)
    start(1, "done").ends()
    told = jobs.shown(database, job_id)
    assert told["status"] == "completed"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["illustration.svg", "input", "result.json"]
    first.ends()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert jobs.shown(database, job_id) == told and files.attempts(pod) == []
    assert told["result"]["svg_path"] == str(folder / "illustration.svg")
    assert before["result.json"] == picture(told["result"]["by"])


@pytest.mark.parametrize("how", ENDS)
def test_who_lost_the_job_takes_nothing_from_the_one_at_work(how: str, pod: Pod, database: Database, start: Start, photo: bytes) -> None:
    job_id = submitted(pod, database, photo)
    first = start(0, **ENDS[how])
    expire(database, job_id)
    second = start(1, "done")
    first.ends()
    assert jobs.shown(database, job_id)["status"] == "processing" and names(files.folder_of(pod, job_id)) == ["input"]
    second.ends()
    assert jobs.shown(database, job_id)["status"] == "completed" and files.attempts(pod) == []
    assert names(files.folder_of(pod, job_id)) == ["illustration.svg", "input", "result.json"]


@pytest.mark.parametrize("fate", ["cancelled", "deleted", "forgotten"])
def test_who_is_done_too_late_leaves_nothing(fate: str, pod: Pod, database: Database, start: Start, photo: bytes) -> None:
    job_id = submitted(pod, database, photo)
    first = start(0, "done")
    expire(database, job_id)
    second = start(1, "draw", fault=JobError(Code.INVALID_INPUT, "Something is wrong."))
    if fate == "cancelled":
        jobs.cancel(database, job_id)
    second.ends()
    assert jobs.shown(database, job_id)["status"] == ("cancelled" if fate == "cancelled" else "failed")
    if fate == "deleted":
        jobs.remove(database, job_id)
        files.remove(files.folder_of(pod, job_id))
    elif fate == "forgotten":
        old = replace(pod, environment=pod.environment.model_copy(update={"retention_hours": 1e-9}))
        keeper.sweep(old, database)
    first.ends()
    folder = files.folder_of(pod, job_id)
    assert (names(folder) == ["input"]) if fate == "cancelled" else not folder.exists()
    assert files.attempts(pod) == []


@pytest.mark.parametrize("at", ["draw", "done"])
def test_a_bucket_keeps_the_files_of_the_one_who_completed(
    at: str, pod: Pod, database: Database, start: Start, photo: bytes, s3_service: S3Service
) -> None:
    """Both use the same keys."""
    job_id, bucket = submitted(pod, database, photo), s3_service.new_bucket()
    first = start(0, at, bucket=bucket)
    expire(database, job_id)
    second = start(1, "done", bucket=bucket)
    stored = s3_service.objects(bucket)
    assert sorted(stored) == [f"{job_id}/{name}" for name in ("illustration.svg", "result.json")]
    first.ends()
    assert s3_service.objects(bucket) == stored
    second.ends()
    assert jobs.shown(database, job_id)["status"] == "completed" and s3_service.objects(bucket) == stored


def test_a_job_cancelled_at_the_last_moment_leaves_nothing_in_a_bucket(
    pod: Pod, database: Database, start: Start, photo: bytes, s3_service: S3Service
) -> None:
    job_id, bucket = submitted(pod, database, photo), s3_service.new_bucket()
    one = start(0, "done", bucket=bucket)
    assert s3_service.objects(bucket)
    jobs.cancel(database, job_id)
    one.ends()
    assert jobs.shown(database, job_id)["status"] == "cancelled" and names(files.folder_of(pod, job_id)) == ["input"]
    assert s3_service.objects(bucket) == {}


def test_what_an_interrupted_attempt_left_is_swept(pod: Pod, database: Database, photo: bytes) -> None:
    submitted(pod, database, photo)
    keeper.sweep(pod, database)  # nobody has written anything yet
    taken = queue.claim(database, 0, 300)
    assert taken is not None
    at_work, left = files.attempt_of(pod, taken.lease), files.attempt_of(pod, "0" * 16)
    for folder in (at_work, left):
        folder.mkdir(parents=True)
        (folder / "illustration.svg").write_text("a part of it")
    keeper.sweep(pod, database)
    assert files.attempts(pod) == [at_work]


class Attempts(RuleBasedStateMachine):
    """Any number of attempts at some jobs, in any order. The model: which attempt's files each job has."""

    places: Iterator[Path]
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.pod = read({"OUTPUT_DIR": str(next(self.places))})
        self.database = connect(self.pod.database)
        self.kept: dict[str, str | None] = {}
        self.submit()

    def teardown(self) -> None:
        self.database.close()

    def clear(self, job_id: str) -> None:
        files.clear_outputs(files.folder_of(self.pod, job_id))

    @rule()
    def submit(self) -> None:
        job_id = files.new_id()
        folder = files.folder_of(self.pod, job_id)
        folder.mkdir()
        (folder / files.PICTURE).write_bytes(b"photo")
        jobs.add(self.database, jobs.New(job_id, {}, files.PICTURE, None, 5, "", None))
        self.kept[job_id] = None

    @rule(target=claims, silent=st.booleans())
    def claim(self, silent: bool) -> object:
        """Another engine; with `silent` those at work are, and lose what they have."""
        for job_id in self.kept if silent else ():
            expire(self.database, job_id)
        queue.reap(self.database, None, self.clear)
        taken = queue.claim(self.database, 0, 300)
        if taken is None:
            return multiple()
        attempt = files.attempt_of(self.pod, taken.lease)  # it writes before it is known whether it counts
        attempt.mkdir(parents=True)
        (attempt / "illustration.svg").write_text(taken.lease)
        return taken

    def finish(self, taken: queue.Claim, delivered: service.Delivered | None, error: JobError | None) -> None:
        over = engines._finish(taken, self.pod, self.database, engines.Recorder(taken.job_id), delivered, error)
        if over is not None and over.status == "completed":
            self.kept[taken.job_id] = taken.lease

    @rule(taken=consumes(claims))
    def complete(self, taken: queue.Claim) -> None:
        self.finish(taken, service.Delivered({}, lambda: None), None)

    @rule(taken=consumes(claims))
    def fail(self, taken: queue.Claim) -> None:
        self.finish(taken, None, JobError(Code.INVALID_INPUT, "Something is wrong."))

    @rule(taken=consumes(claims))
    def put_back(self, taken: queue.Claim) -> None:
        queue.put_back(self.database, taken, [])

    @rule(taken=consumes(claims))
    def die_in_mid_transaction(self, taken: queue.Claim) -> None:
        """The files are in place when the process ends; the transaction is undone, and its engine's slot reaped."""

        def place(_: bool) -> int:
            files.keep(files.attempt_of(self.pod, taken.lease), files.folder_of(self.pod, taken.job_id))
            raise KeyboardInterrupt

        try:
            queue.finish(self.database, taken, [], result={}, place=place)
        except KeyboardInterrupt:
            with self.database.write() as connection:
                mine = table.c.lease == taken.lease
                connection.execute(update(table).where(mine).values(slot=7))
            queue.reap(self.database, 7, self.clear)

    @precondition(lambda self: self.kept)
    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        job_id = list(self.kept)[number % len(self.kept)]
        try:
            jobs.cancel(self.database, job_id)
        except Problem as problem:
            assert "CONFLICT" in str(problem)

    @precondition(lambda self: self.kept)
    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        job_id = list(self.kept)[number % len(self.kept)]
        try:
            jobs.remove(self.database, job_id)
        except Problem as problem:
            assert "CONFLICT" in str(problem)
        else:
            files.remove(files.folder_of(self.pod, job_id))
            del self.kept[job_id]

    @rule(most=st.booleans())
    def sweep(self, most: bool) -> None:
        for job_id in jobs.forget_old(self.database, 0, 0 if most else 1e9):
            files.remove(files.folder_of(self.pod, job_id))
            del self.kept[job_id]
        keeper.sweep(self.pod, self.database)

    @invariant()
    def each_job_has_the_files_of_the_attempt_that_completed_it(self) -> None:
        for job_id, lease in self.kept.items():
            folder = files.folder_of(self.pod, job_id)
            assert (jobs.brief(self.database, job_id).status == "completed") == (lease is not None)
            assert names(folder) == (["input"] if lease is None else ["illustration.svg", "input"])
            assert lease is None or (folder / "illustration.svg").read_text() == lease
        held = queue.leases(self.database)
        assert {path.name for path in self.pod.jobs_folder.iterdir()} == {*self.kept, ".server"}
        assert held <= {path.name for path in files.attempts(self.pod)}


def test_any_order(tmp_path: Path) -> None:
    Attempts.places = (tmp_path / str(n) for n in range(10**6))
    run_state_machine_as_test(Attempts, settings=test_settings(max_examples=20, stateful_step_count=20, deadline=None))
