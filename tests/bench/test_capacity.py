"""The calculator of workers against formulas by hand and its own limits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import burst_seconds, erlang_c, logged_seconds, steady


def test_erlangs_formula():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)  # M/M/1: the share of time that the one is busy
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(3, 2.0) == pytest.approx(4 / 9)


@given(st.integers(1, 40), st.floats(0.01, 0.99))
def test_more_workers_wait_less(workers, share):
    load = workers * share
    assert 0 <= erlang_c(workers + 1, load) <= erlang_c(workers, load) <= 1


@given(st.floats(1, 2000), st.floats(0.5, 60), st.floats(0, 300), st.integers(1, 20), st.floats(1, 600))
def test_bounds(per_hour, service, cold, workers, idle):
    found = steady(per_hour, service, cold, workers, idle)
    if found.busy >= workers:
        assert math.isinf(found.wait)
        return
    assert 0 <= found.cold <= 1 and found.wait >= 0 and found.wait95 >= 0
    assert service <= found.billed <= service + idle + cold + 1e-9
    longer = steady(per_hour, service, cold, workers, idle * 2)
    assert longer.cold <= found.cold and longer.wait <= found.wait + 1e-9


def test_a_burst():
    assert burst_seconds(100, 10.0, 45.0, 8) == 45 + 13 * 10


def test_a_workers_log(tmp_path):
    log = tmp_path / "worker.log"
    log.write_text(
        'noise\n{"event": "job_summary", "ms": 4000, "status": "completed"}\n{"event": "job_summary", "ms": 9, "status": "failed"}\n'
    )
    assert logged_seconds(log) == 4.0
    log.write_text("")
    with pytest.raises(ValueError, match="no job_summary"):
        logged_seconds(log)
