"""The run itself: tasks from the ledger to the engine, answers back into the ledger, a bounded number at once."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import aiohttp

from batch import collect
from batch.engines import Engine
from batch.ledger import Ledger
from batch.protocol import Gone
from batch.source import Digests, Source
from batch.values import Answer, Item, Task, Unavailable, WrongUse, failed
from pipeline.errors import Code, JobError

#: Items that are noted in one transaction.
_AT_ONCE = 200
#: Seconds of the first pause before a failed task is tried again, which doubles, and of the longest.
_AGAIN, _LONGEST_AGAIN = 2.0, 120.0
#: Seconds between two looks at the whole: due retries, files that were still being written.
_LOOK = 0.5
#: Seconds that files which never stop changing are waited for when the source is looked at once.
_UNSETTLED = 30.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run goes: at most `concurrency` jobs at once, `retries` more tries of what may pass, no cost above `budget` at `price` an hour
    of execution, `watch` for what comes later."""

    concurrency: int
    retries: int
    budget: float | None
    price: float
    watch: bool


@dataclass(slots=True)
class Run:
    """A run at work. `stopping` is set by Ctrl-C; `scanned` once the source was read to its end; `unsettled` are files of the last look
    that are still being written; `fault` is what ends it early."""

    folder: Path
    ledger: Ledger
    engine: Engine
    source: Source
    rules: Rules
    session: aiohttp.ClientSession
    say: Callable[[str], None]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    scanned: bool = False
    over_budget: bool = False
    unsettled: dict[Path, None] = field(default_factory=dict)
    fault: Exception | None = None
    _at_work: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def in_flight(self) -> int:
        """Jobs that are at the engine now, or whose files are being fetched."""
        return len(self._at_work)

    async def go(self) -> None:
        """Do everything that is to be done; returns early when `stopping` is set, the budget is used up, or `fault` says why."""
        self._take_up()
        scan = asyncio.create_task(self._scan())
        scan.add_done_callback(lambda _: self._changed.set())
        stop = asyncio.create_task(self.stopping.wait())
        stop.add_done_callback(lambda _: self._changed.set())
        try:
            while not self.stopping.is_set() and self.fault is None:
                self._changed.clear()
                self._begin_more()
                if scan.done():
                    scan.result()
                if not self._at_work and (self.over_budget or (scan.done() and not self.ledger.waiting())):
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _LOOK)
        finally:
            stop.cancel()
            scan.cancel()
            await asyncio.gather(scan, stop, return_exceptions=True)
            await self._end_all()

    def _take_up(self) -> None:
        """Go on with what an earlier run left: first the jobs at the endpoint, which are asked for before anything is sent."""
        self.ledger.forget_elsewhere(self.engine.name)
        for task in self.ledger.left("sent", self.engine.name):
            self._start(task, self._found_again(task))
        for task in self.ledger.left("answered"):
            self._start(task, self._collect(task))
        for key in self.ledger.late():
            self._place(key)

    async def _end_all(self) -> None:
        """Cancel what is in flight and wait until the ledger knows."""
        for task in self._at_work.values():
            task.cancel()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    # --- the source --------------------------------------------------------------------------------------------------

    async def _scan(self) -> None:
        """Note everything that the source names; again and again where it is watched, or until no file is being written any more."""
        digests = Digests(self.folder)
        given_up = time.monotonic() + _UNSETTLED
        try:
            while True:
                self.unsettled.clear()
                began = time.monotonic()
                try:
                    await self._note_all(self.source.items(digests, self._not_yet))
                except WrongUse as error:
                    if not (self.rules.watch and self.scanned):
                        raise
                    self.say(str(error))
                self.ledger.try_failed_again(self.rules.retries)
                self.scanned = True
                self._changed.set()
                waits_for_files = self.unsettled and time.monotonic() < given_up
                if not self.rules.watch and not waits_for_files:
                    return
                await asyncio.sleep(max(self.source.every if self.rules.watch else _LOOK, 5 * (time.monotonic() - began)))
        finally:
            digests.close()

    def _not_yet(self, path: Path) -> None:
        self.unsettled[path] = None

    async def _note_all(self, items: Iterator[Item]) -> None:
        position = 0
        while some := await asyncio.to_thread(lambda: list(islice(items, _AT_ONCE))):
            self.ledger.add((position + count, item) for count, item in enumerate(some))
            for key in self.ledger.late(position):  # pictures that were drawn before, under another id
                self._place(key)
            position += len(some)
            self._changed.set()

    # --- the work ----------------------------------------------------------------------------------------------------

    def _begin_more(self) -> None:
        while len(self._at_work) < self.rules.concurrency and self._may_spend():
            task = self.ledger.next(time.time(), self._at_work)
            if task is None:
                return
            self._start(task, self._do(task))

    def _may_spend(self) -> bool:
        """Whether one more job, at the average cost so far and with those in flight, stays within the budget. The first job is sent alone,
        because nobody knows yet what one costs."""
        budget, ledger = self.rules.budget, self.ledger
        if budget is None:
            return True
        if ledger.answers:
            may = ledger.spent + (1 + len(self._at_work)) * ledger.spent / ledger.answers <= budget
        else:
            may = ledger.spent < budget and not self._at_work
        self.over_budget = not may and not self._at_work and ledger.waiting()
        return may

    def _start(self, task: Task, work: Coroutine[object, object, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as fault:  # noqa: BLE001 - it ends the run, which tells it
                self.fault = self.fault or fault
            finally:
                self._at_work.pop(task.key, None)
                self._changed.set()

        self._at_work[task.key] = asyncio.create_task(guarded())

    async def _do(self, task: Task) -> None:
        sending = asyncio.ensure_future(self.engine.send(task))
        try:
            remote = await asyncio.shield(sending)
        except JobError as error:
            self._failed(task, failed(str(error)))
            return
        except asyncio.CancelledError:
            with suppress(Exception):  # a job that was not taken needs no cancelling
                remote = await asyncio.wait_for(sending, 15)
                await self._cancel(task, remote)
            raise
        self.ledger.sent(task.key, remote, self.engine.name)
        await self._finish(task, remote, again=False)

    async def _found_again(self, task: Task) -> None:
        await self._finish(task, task.remote or "", again=True)

    async def _finish(self, task: Task, remote: str, *, again: bool) -> None:
        """Wait for the answer and record it. One found again that this program had cancelled, or that is no longer known, has none."""
        try:
            answer = await self.engine.answer(task, remote)
        except Gone:
            if again:
                self.ledger.unsent(task.key)
            else:  # sent again without end it would cost without end
                self._failed(task, failed(f"{Code.INTERNAL}: The endpoint forgot the job before it was over."))
            return
        except asyncio.CancelledError:
            with suppress(Unavailable, Gone, JobError):
                await self._cancel(task, remote)
            raise
        if again and answer.error is not None and answer.error.startswith("CANCELLED"):
            self.ledger.unsent(task.key)
            return
        await self._record(task, answer)

    async def _cancel(self, task: Task, remote: str) -> None:
        """Cancel a job; an answer that was faster counts."""
        answer = await self.engine.cancel(remote)
        if answer is None:
            self.ledger.unsent(task.key)
        else:
            await self._record(task, answer)

    def _cost(self, answer: Answer) -> float:
        return answer.seconds * self.rules.price / 3600

    def _failed(self, task: Task, answer: Answer) -> None:
        now, again_at = time.time(), None
        if answer.passing and task.tries < self.rules.retries:
            again_at = now + min(_LONGEST_AGAIN, _AGAIN * 2**task.tries)
        self.ledger.answered(task.key, answer, self._cost(answer), now, again_at=again_at)

    async def _record(self, task: Task, answer: Answer) -> None:
        shown = None
        if answer.error is None:
            try:
                with self._storing():
                    answer, shown = await asyncio.to_thread(collect.take, self.folder, task, answer)
            except JobError as error:
                answer = failed(str(error), answer.seconds)
        if answer.error is not None:
            self._failed(task, answer)
            return
        self.ledger.answered(task.key, answer, self._cost(answer), time.time(), shown=shown)
        if shown is None:
            await self._collect(task)
        else:
            self._place(task.key)

    async def _collect(self, task: Task) -> None:
        """Fetch the files of a task that was answered, and give them to its items."""
        result, files = self.ledger.answer(task.key)
        try:
            with self._storing():
                if not collect.is_kept(self.folder, task.key):
                    await collect.fetch_all(self.session, files, collect.staging_of(self.folder, task.key), self.engine.headers)
                shown = await asyncio.to_thread(collect.keep, self.folder, task.key, result, task.photo)
        except JobError as error:
            self.ledger.not_fetched(task.key, str(error))
            return
        self.ledger.completed(task.key, shown)
        self._place(task.key)

    def _place(self, key: str) -> None:
        with self._storing():
            for name in self.ledger.unplaced(key):
                collect.place(self.folder, key, name)
        self.ledger.placed(key)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """A disk that takes no more ends the run, which goes on where it was."""
        try:
            yield
        except OSError as error:
            raise Unavailable(f"The files cannot be stored in {self.folder}: {error.strerror}.") from error
