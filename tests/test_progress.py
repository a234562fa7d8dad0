import pytest

from pipeline.errors import Code, JobError
from pipeline.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_reports_are_throttled_and_numbered_and_a_new_phase_is_never_lost():
    sent, clock = [], Clock()
    progress = Progress(send=sent.append, interval=1.0, clock=clock)
    for phase, at in [("a", 0), ("a", 0.1), ("a", 0.9), ("a", 1.1), ("b", 1.2), ("b", 1.3), ("b", 2.3)]:
        clock.now = at
        if phase != progress.phase:
            progress.enter(phase, 0.2, 0.6)
        progress.step("x", at / 4)
    assert [(r.number, r.phase) for r in sent] == [(1, "a"), (2, "a"), (3, "b"), (4, "b")]
    assert [r.fraction for r in sent] == [0.2, 0.31, 0.32, 0.43]  # of the whole job


def test_one_step_is_reported_between_two_fractions_of_its_phase():
    sent = []
    progress = Progress(send=sent.append, interval=0.0)
    progress.enter("a", 0.5, 1.0)
    tell = progress.within("x", 0.2, 0.6)
    tell(0.0)
    tell(0.5)
    assert [r.fraction for r in sent] == [0.6, 0.7]


def test_a_cancelled_job_ends_at_its_next_step():
    progress = Progress()
    progress.step("x", 0)
    progress.cancelled.set()
    with pytest.raises(JobError) as error:
        progress.step("y", 0.1)
    assert error.value.code is Code.CANCELLED


def test_a_late_job_ends_at_its_next_step():
    clock = Clock()
    progress = Progress(clock=clock, deadline=5.0)
    progress.check()
    clock.now = 5.1
    with pytest.raises(JobError) as error:
        progress.check()
    assert error.value.code is Code.TIMED_OUT


def test_each_phase_is_told_with_its_seconds_when_it_ends():
    ended, clock = [], Clock()
    progress = Progress(clock=clock, ended=lambda phase, seconds: ended.append((phase, seconds)))
    for phase, at in [("a", 1), ("a", 2), ("b", 4)]:
        clock.now = at
        if phase != progress.phase:
            progress.enter(phase, 0.0, 1.0)
        progress.step("x", 0.1)
    assert (ended, progress.phase) == ([("a", 3)], "b")
    clock.now = 9
    progress.close()
    progress.close()
    assert (ended, progress.phase) == ([("a", 3), ("b", 5)], "")
