"""The simulated endpoint against closed forms of queueing theory, against cases worked out by hand, and against what must always hold."""

import math
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.capacity import advice, cheapest, endpoints_of, main, parser, table
from bench.capacity_model import Endpoint, Gamma, Job, Look, Measured, Start, simulate
from bench.capacity_traffic import HOUR, Summary, arrivals, measured_seconds, percentile, summary

NO_START = Start(Gamma(0, 0))
#: Workers that are always there: the endpoint is then the plain queue of the textbooks.
ALWAYS = 1e7


def fixed(workers: int) -> Endpoint:
    return Endpoint(min_workers=workers, max_workers=workers, idle_timeout=ALWAYS, interval=ALWAYS)


def poisson(count: int, rate: float, service: Gamma, seed: int) -> list[Job]:
    random, now, made = Random(seed), 0.0, []
    for _ in range(count):
        now += random.expovariate(rate)
        made.append(Job(now, service(random)))
    return made


def erlang_c(servers: int, load: float) -> float:
    """The share of jobs that wait at all in M/M/c; load = arrival rate x mean service. Cooper, Introduction to Queueing Theory, 3.4."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (3, 2.1), (8, 6.4)])
def test_waits_of_exponential_jobs_are_those_of_erlang_c(servers: int, load: float) -> None:
    service = 10.0
    run = simulate(poisson(20_000, load / service, Gamma(service, 1), seed=5), fixed(servers), NO_START)
    waits = [served.wait for served in run.served]
    delayed = erlang_c(servers, load)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(delayed, rel=0.05)
    assert fmean(waits) == pytest.approx(delayed * service / (servers - load), rel=0.1)
    # M/M/c: the wait of those that wait is exponential, so the 95th percentile of all is known too
    assert percentile(waits, 95) == pytest.approx(math.log(delayed / 0.05) * service / (servers - load), rel=0.1)


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.5])
def test_one_worker_waits_as_pollaczek_and_khinchine_say(variation: float) -> None:
    load, service = 0.6, 10.0
    run = simulate(poisson(20_000, load / service, Gamma(service, variation), seed=2), fixed(1), NO_START)
    assert fmean(s.wait for s in run.served) == pytest.approx(load * service * (1 + variation**2) / 2 / (1 - load), rel=0.1)


@pytest.mark.parametrize("rule", ["queue-delay", "request-count"])
def test_the_queue_that_the_rule_sees_obeys_littles_law(rule: str) -> None:
    work = poisson(4_000, 0.2, Gamma(12, 0.5), seed=4)
    run = simulate(work, Endpoint(rule, 4, 0, 5, 20), Start(Gamma(30, 0.3)))
    lasted = run.looks[-1].time
    waits = sum(s.wait for s in run.served)
    assert sum(look.queued for look in run.looks) / len(run.looks) == pytest.approx(waits / lasted, rel=0.02)
    assert sum(look.in_progress for look in run.looks) / len(run.looks) == pytest.approx(sum(j.service for j in work) / lasted, rel=0.02)


def test_a_lone_job_waits_for_the_delay_and_the_cold_start() -> None:
    endpoint = Endpoint("queue-delay", value=4, max_workers=3, idle_timeout=5, interval=1)
    run = simulate([Job(0.5, 10)], endpoint, Start(Gamma(45, 0)))
    (served,), (life,) = run.served, run.workers
    assert life.started == 5  # the first look at which it had waited longer than 4 s
    assert served.began == 50
    assert (life.starting, life.busy, life.idle, life.ended) == (45, 10, 5, 65)


def test_the_idle_timeout_keeps_a_worker_for_who_comes_in_time() -> None:
    endpoint = Endpoint("queue-delay", value=4, max_workers=1, idle_timeout=5)
    start = Start(Gamma(20, 0))
    in_time = simulate([Job(0, 10), Job(39.5, 10)], endpoint, start)  # the worker is idle from 35
    assert len(in_time.workers) == 1
    assert in_time.served[1].wait == 0
    late = simulate([Job(0, 10), Job(40.5, 10)], endpoint, start)
    assert len(late.workers) == 2
    assert late.served[1].wait == 24.5  # 4.5 s until the look, 20 s of starting


def test_the_request_count_starts_what_its_formula_says() -> None:
    run = simulate([Job(0.5, 10)] * 10, Endpoint("request-count", value=4, max_workers=8), Start(Gamma(20, 0)))
    assert run.looks[1] == Look(1, 10, 0, 0)
    assert [life.started for life in run.workers] == [1, 1, 1]  # ceil(10 / 4)
    # 3 jobs at a time from 21 on: the tenth ends at 61, and who has nothing to do leaves at the next look
    assert max(s.ended for s in run.served) == 61
    assert sorted(life.ended for life in run.workers) == [52, 52, 62]


def test_the_request_count_counts_jobs_in_progress_too() -> None:
    run = simulate([Job(0.5, 100), Job(30.5, 10)], Endpoint("request-count", value=1, max_workers=8), Start(Gamma(5, 0)))
    assert [life.started for life in run.workers] == [1, 31]
    assert run.served[1].began == 36


def test_queue_delay_adds_one_worker_at_each_look() -> None:
    run = simulate([Job(0, 100)] * 50, Endpoint("queue-delay", value=4, max_workers=4, interval=2), Start(Gamma(60, 0)))
    assert [life.started for life in run.workers] == [6, 8, 10, 12]


def test_no_more_workers_start_than_jobs_are_overdue() -> None:
    run = simulate([Job(0, 1)], Endpoint("queue-delay", value=0, max_workers=5), Start(Gamma(30, 0)))
    assert len(run.workers) == 1


def test_min_workers_are_there_from_the_beginning_and_are_billed_to_the_end() -> None:
    run = simulate([Job(100, 10)], Endpoint(min_workers=2, max_workers=3), Start(Gamma(45, 0)), until=1000)
    assert run.served[0].wait == 0
    assert len(run.workers) == 2
    assert all(life.started == 0 and 1000 <= life.ended <= 1005 and life.starting == 0 for life in run.workers)


def test_flashboot_makes_its_share_of_the_starts_warm() -> None:
    work = [Job(200.0 * i, 1) for i in range(2000)]
    run = simulate(work, Endpoint(max_workers=1, interval=20), Start(Gamma(40, 0), Gamma(2, 0), 0.7), seed=3)
    assert {life.starting for life in run.workers} == {2, 40}
    assert sum(life.starting == 2 for life in run.workers) / len(run.workers) == pytest.approx(0.7, abs=0.04)


moments = st.floats(0, 300, allow_nan=False)
lengths = st.floats(0.01, 60, allow_nan=False)


@settings(max_examples=80, deadline=None)
@given(
    work=st.lists(st.builds(Job, moments, lengths), min_size=1, max_size=40),
    rule=st.sampled_from(["queue-delay", "request-count"]),
    value=st.floats(0.5, 20),
    fewest=st.integers(0, 3),
    more=st.integers(0, 4),
    idle=st.floats(0.5, 60),
    cold=st.just(0.0) | st.floats(0.01, 90),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_what_holds_for_every_endpoint(work, rule, value, fewest, more, idle, cold, share, seed) -> None:
    endpoint = Endpoint(rule, value, fewest, max(1, fewest + more), idle)
    start = Start(Gamma(cold, 0.4), Gamma(1, 0), share)
    run = simulate(work, endpoint, start, until=200, seed=seed)
    assert sorted(s.job for s in run.served) == sorted(work)  # every job once
    assert [s.job.arrival for s in run.served] == sorted(job.arrival for job in work)  # in the order they came
    assert all(s.wait >= -1e-9 for s in run.served)  # sums of floats
    for number, life in enumerate(run.workers):
        mine = [s for s in run.served if s.worker == number]
        assert life.started + life.starting <= min((s.began for s in mine), default=math.inf) + 1e-6
        assert all(a.ended <= b.began + 1e-6 for a, b in pairwise(mine))  # one at a time
        assert max((s.ended for s in mine), default=0) <= life.ended + 1e-6
        assert life.starting + life.busy + life.idle == pytest.approx(life.ended - life.started)  # what is billed is explained
    assert sum(life.busy for life in run.workers) == pytest.approx(sum(job.service for job in work))
    changes = sorted([(life.started, 1) for life in run.workers] + [(life.ended, -1) for life in run.workers])
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    assert most <= endpoint.max_workers
    assert all(look.workers >= endpoint.min_workers for look in run.looks)
    assert run == simulate(work, endpoint, start, until=200, seed=seed)


@pytest.mark.parametrize(
    "wrong",
    [
        Endpoint(max_workers=0),
        Endpoint(min_workers=4, max_workers=3),
        Endpoint(interval=0),
        Endpoint(idle_timeout=0),
        Endpoint("request-count", 0),
    ],
)
def test_an_endpoint_that_cannot_serve_is_refused(wrong: Endpoint) -> None:
    with pytest.raises(ValueError):
        simulate([Job(0, 1)], wrong, NO_START)


@pytest.mark.parametrize(("mean", "variation"), [(10, 0), (10, 0.3), (40, 1), (5, 2)])
def test_gamma_has_the_mean_and_the_variation_that_were_asked_for(mean: float, variation: float) -> None:
    random = Random(1)
    drawn = [Gamma(mean, variation)(random) for _ in range(40_000)]
    assert fmean(drawn) == pytest.approx(mean, rel=0.05)
    assert pstdev(drawn) / fmean(drawn) == pytest.approx(variation, rel=0.05, abs=1e-9)


def test_arrivals_come_as_often_as_asked_and_in_their_pattern() -> None:
    random = Random(7)
    steady = arrivals("steady", 200, 240, 1, random)
    assert len(steady) == pytest.approx(48_000, rel=0.02)
    bursts = arrivals("bursts", 200, 2400, 50, random)
    assert len(bursts) == pytest.approx(480_000, rel=0.05)
    assert len(bursts) == 50 * len(set(bursts))
    day = arrivals("day", 200, 240, 1, random)
    assert len(day) == pytest.approx(48_000, rel=0.02)
    in_hour = [sum(int(t / HOUR) % 24 == hour for t in day) / 10 for hour in (14, 2, 8)]
    assert in_hour == pytest.approx([380, 20, 200], rel=0.2)
    night = arrivals("night", 100, 48, 1, random)
    assert night == [HOUR] * 2400 + [25 * HOUR] * 2400
    assert all(steady == sorted(steady) for steady in (steady, bursts, day))


def test_a_summary_adds_up() -> None:
    run = simulate([Job(0.5, 10)] * 4, Endpoint("request-count", 4, max_workers=1), Start(Gamma(19.5, 0)))
    found = summary(run)
    assert (found.pictures, found.median_wait, found.starts, found.most_workers) == (4, 35, 1, 1)
    assert found.per_hour == pytest.approx(4 * 3600 / 60)
    assert (found.busy_seconds, found.start_seconds) == (10, 4.875)
    assert found.billed_seconds == pytest.approx((run.workers[0].ended - run.workers[0].started) / 4)
    assert found.cost(3600) == pytest.approx(found.billed_seconds)


def test_a_workers_log_gives_its_jobs_seconds(tmp_path: Path) -> None:
    lines = [
        '{"event": "engine_ready", "ms": 9}',
        '{"event": "job_summary", "status": "completed", "ms": 3774}',
        "a line of the SDK",
        '{"event": "job_summary", "status": "failed", "ms": 20}',
        '{"event": "job_summary", "status": "completed", "ms": 1500}',
    ]
    assert measured_seconds(lines) == (3.774, 1.5)
    assert Measured((3.774,))(Random(0)) == 3.774
    with pytest.raises(ValueError, match="job_summary"):
        measured_seconds(lines[:1])


def _row(rule: str, p95: float, idle: float) -> tuple[Endpoint, Summary]:
    return Endpoint(rule), Summary(10, 1, p95, 100, 10, idle, 0, 1, 1)


def test_the_cheapest_setting_that_keeps_the_wait_is_named() -> None:
    rows = [_row("queue-delay", 80, 0), _row("queue-delay", 50, 9), _row("request-count", 60, 5), _row("request-count", 61, 1)]
    assert cheapest(rows, 60) is rows[2]
    assert "request-count" in advice(rows, 60, 100, 12)
    assert cheapest(rows, 10) is None
    assert "No setting" in advice(rows, 10, 100, 12)
    assert table(rows, 3600).splitlines()[4].split("|")[-2].strip() == "15.00000"
    assert len({len(line) for line in table(rows, None).splitlines()}) == 1


def test_the_command_tries_every_combination_on_the_same_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = parser().parse_args(["--min-workers", "0,2", "--max-workers", "1,3", "--idle", "5,60", "--delay", "2,4"])
    made = endpoints_of(chosen)
    assert len(made) == len(set(made)) == 15  # 3 pairs of workers; 2 delays x 2 idle times, and one request count
    assert main(["--service", "10", "--cold", "30", "--per-hour", "60", "--hours", "1", "--max-workers", "2", "--price", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("queue-delay 4 s") == out.count("request-count 4 jobs") == 1
    assert "cost" in out and "Cheapest" in out


def test_the_command_reads_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "worker.log"
    log.write_text('{"event": "job_summary", "status": "completed", "ms": 20000}\n')
    assert main(["--log", str(log), "--cold", "30", "--hours", "1", "--max-workers", "2"]) == 0
    assert "of 20.0 s keep 0.56 workers busy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--cold", "3"], "--service and --log"),
        (["--service", "3"], "--cold"),
        (["--service", "3", "--cold", "3", "--flashboot", "0.5"], "--warm"),
        (["--service", "-1", "--cold", "3"], "out of range"),
        (["--service", "nan", "--cold", "3"], "out of range"),
        (["--service", "3", "--cold", "3", "--flashboot", "1.5"], "out of range"),
        (["--service", "3", "--cold", "3", "--max-workers", "0"], "out of range"),
        (["--service", "3", "--cold", "3", "--min-workers", "9"], "combination"),
        (["--service", "3", "--cold", "3", "--hours", "0.0001"], "no picture"),
        (["--log", "nowhere.log", "--cold", "3"], "nowhere.log"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
