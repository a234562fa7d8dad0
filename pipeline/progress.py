"""Progress reports and the cancel flag: the one object that a job carries through all phases."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import Code, JobError


@dataclass(frozen=True, slots=True)
class Report:
    """Where a job stands. `number` counts up by one a report, so that late arrivals can be told."""

    number: int
    phase: str
    step: str
    fraction: float  # of the whole job, 0..1


def _nowhere(_: Report) -> None:
    return None


def _unheard(_phase: str, _seconds: float) -> None:
    return None


@dataclass(slots=True)
class Progress:
    """Passes throttled reports to `send` and ends the job at the next step when it is cancelled or late.

    `deadline` is a reading of `clock` (seconds); `interval` the least time between two reports, seconds. Whoever knows the order of the
    phases opens each (`enter`); the phase itself says how far it is, 0..1 (`step`). The first report of a phase is never throttled away.
    `ended` is called with a phase and its seconds when the next one opens, or the job is over (`close`). `phase` is the one that is open,
    empty before the first and after the last.
    """

    send: Callable[[Report], None] = _nowhere
    interval: float = 0.5
    deadline: float | None = None
    clock: Callable[[], float] = time.monotonic
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: Callable[[str, float], None] = _unheard
    phase: str = ""
    _share: tuple[float, float] = (0.0, 1.0)
    _opened_at: float = 0.0
    _number: int = 0
    _sent_at: float = float("-inf")

    def enter(self, phase: str, start: float, end: float) -> None:
        """Open a phase, which is the job's share from `start` to `end`, 0..1; raises `CANCELLED` or `TIMED_OUT` as `step` does."""
        self.check()
        self.close()
        self.phase, self._share = phase, (start, end)
        self._opened_at, self._sent_at = self.clock(), float("-inf")

    def step(self, step: str, done: float) -> None:
        """Report a step of the open phase and how far that is, 0..1; raises `CANCELLED` or `TIMED_OUT` when the job has to end here."""
        self.check()
        now = self.clock()
        if now - self._sent_at < self.interval:
            return
        start, end = self._share
        self._number, self._sent_at = self._number + 1, now
        self.send(Report(self._number, self.phase, step, round(start + (end - start) * done, 3)))

    def close(self) -> None:
        """No phase is open any more: the job is over, or the next phase begins."""
        if self.phase:
            self.ended(self.phase, self.clock() - self._opened_at)
        self.phase = ""

    def within(self, step: str, start: float, end: float) -> Callable[[float], None]:
        """A function that reports how far one step is, 0..1, between two fractions of its phase; raises as `step` does."""
        return lambda done: self.step(step, start + (end - start) * done)

    def check(self) -> None:
        """Raise `CANCELLED` or `TIMED_OUT` when the job has to end here."""
        if self.cancelled.is_set():
            raise JobError(Code.CANCELLED, "The job was cancelled.")
        if self.deadline is not None and self.clock() > self.deadline:
            raise JobError(Code.TIMED_OUT, "The job took longer than JOB_TIMEOUT_SECONDS allows; raise it or send a smaller picture.")
