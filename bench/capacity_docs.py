"""The tables and plots of docs/capacity.md, each from the settings that stand here and on the page."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from bench.capacity import markdown, run, table
from bench.capacity_model import Draw, Endpoint, Gamma, Job, Measured, Run, Start, simulate
from bench.capacity_plots import Point, plot_burst, plot_idle, plot_workers
from bench.capacity_traffic import arrivals, jobs, percentile, summary

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT, IMAGES = DOCS / "capacity.md", DOCS / "images"
SEED = 1

#: Mean seconds of a cold start: what docs/benchmarks/cold_start.md measured until the last network was read at 300 MB/s (42.9 s),
#: rounded up. A container's own start and the way to the card are not in it.
COLD = 45.0
STARTS = Start(Gamma(COLD, 0.2))
#: Seconds of a picture in the examples. Not measured: no card was at hand.
WORK = 10.0
#: The classical engine on the 13 photographs with a vehicle beside the project, size 4096, JSON in and files out: processor seconds of a
#: job, and seconds from the process's start until the engine is ready. How and where stands on the page.
CLASSICAL = (7.34, 7.43, 7.49, 8.48, 8.79, 9.71, 9.75, 10.23, 10.75, 11.19, 11.36, 11.41, 14.04)
CLASSICAL_START = 8.3


def work_of(pattern: str, per_hour: float, hours: float, service: Draw, burst: int = 100) -> list[Job]:
    """The same pictures for everybody who asks for the same."""
    random = Random(SEED)
    return jobs(arrivals(pattern, per_hour, hours, burst, random), service, random)


def fewest_workers(work: Sequence[Job], wait: float, most: int) -> int | None:
    """The fewest `max_workers` with which 95 of 100 wait at most `wait` seconds under queue delay, None above `most`."""

    def enough(workers: int) -> bool:
        served = simulate(work, Endpoint(max_workers=workers, idle_timeout=COLD), STARTS, seed=SEED).served
        return percentile([s.wait for s in served], 95) <= wait

    low, high = 0, 1  # `low` is not enough
    while not enough(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def workers_plot(most: int = 40) -> None:
    """capacity_workers.png."""
    panels: dict[str, dict[str, list[Point]]] = {}
    for title, pattern, wait in (
        ("Steady: 95 of 100 wait at most 90 s", "steady", 90.0),
        ("Bursts of 100: 95 of 100 wait at most 5 min", "bursts", 300.0),
    ):
        lines = panels.setdefault(title, {})
        for seconds in (3.0, 10.0, 30.0, 90.0):
            points = lines.setdefault(f"{seconds:g} s", [])
            for per_hour in (20, 50, 100, 200, 500, 1000, 2000):
                needed = fewest_workers(work_of(pattern, per_hour, max(3.0, 1000 / per_hour), Gamma(seconds, 0.3)), wait, most)
                if needed is not None:
                    points.append((per_hour, needed))
                print(f"{title}, {seconds:g} s, {per_hour} an hour: {needed}", flush=True)
    plot_workers(IMAGES / "capacity_workers.png", panels)


def burst_plot() -> str:
    """capacity_burst.png, and a row for each rule."""
    work = [Job(0.5, job.service) for job in work_of("night", 100, 1, Gamma(WORK, 0.3))]
    endpoints = {
        "queue delay 4 s": Endpoint(max_workers=8),
        "request count 4": Endpoint("request-count", 4, max_workers=8),
        "request count 20": Endpoint("request-count", 20, max_workers=8),
    }
    runs: dict[str, Run] = {label: simulate(work, endpoint, STARTS, seed=SEED) for label, endpoint in endpoints.items()}
    plot_burst(IMAGES / "capacity_burst.png", runs)
    return table([(endpoints[label], summary(made)) for label, made in runs.items()], None)


def idle_plot() -> None:
    """capacity_idle.png."""
    waits: dict[str, list[Point]] = {}
    billed: dict[str, list[Point]] = {}
    for per_hour in (20, 60, 200):
        work = work_of("steady", per_hour, 2000 / per_hour, Gamma(WORK, 0.3))
        endpoints = [Endpoint(max_workers=3, idle_timeout=idle) for idle in (5, 10, 20, 45, 90, 180, 360, 720)]
        for endpoint, s in run(work, endpoints, STARTS, 0, SEED):
            waits.setdefault(str(per_hour), []).append((endpoint.idle_timeout, s.p95_wait))
            billed.setdefault(str(per_hour), []).append((endpoint.idle_timeout, s.billed_seconds))
    plot_idle(IMAGES / "capacity_idle.png", waits, billed, COLD)


def patterns_table() -> str:
    """The same pictures a day, arriving in four ways, at one setting of each rule."""
    cells = [["pictures", "rule", "wait, median", "95 %", "busy", "idle", "starting", "most workers", "starts"]]
    names = {"steady": "steady", "bursts": "bursts of 100", "day": "day curve", "night": "a day's at 01:00"}
    endpoints = [Endpoint(max_workers=5, idle_timeout=COLD), Endpoint("request-count", 4, max_workers=5)]
    for pattern, name in names.items():
        for endpoint, s in run(work_of(pattern, 100, 24, Gamma(WORK, 0.3)), endpoints, STARTS, 24, SEED):
            rule = f"queue delay 4 s, idle {COLD:g} s" if endpoint.rule == "queue-delay" else "request count 4"
            cells.append([name, rule, f"{s.median_wait:.0f} s", f"{s.p95_wait:.0f} s"])
            cells[-1] += [f"{s.busy_seconds:.1f} s", f"{s.idle_seconds:.1f} s", f"{s.start_seconds:.1f} s"]
            cells[-1] += [str(s.most_workers), str(s.starts)]
    return markdown(cells)


def flashboot_table() -> str:
    """What FlashBoot's share of warm starts does, and what the assumed interval of looks does."""
    cells = [["warm starts", "looks every", "wait, median", "95 %", "billed a picture"]]
    work = work_of("steady", 60, 24, Gamma(WORK, 0.3))
    for share, interval in ((0.0, 1.0), (0.5, 1.0), (0.9, 1.0), (0.0, 0.2), (0.0, 4.0), (0.0, 10.0)):
        start = Start(Gamma(COLD, 0.2), Gamma(3, 0), share)
        s = run(work, [Endpoint(max_workers=3, interval=interval)], start, 24, SEED)[0][1]
        cells.append([f"{share:.0%}", f"{interval:g} s", f"{s.median_wait:.1f} s", f"{s.p95_wait:.1f} s", f"{s.billed_seconds:.1f} s"])
    return markdown(cells)


def classical_table() -> str:
    """The classical engine, as it was measured."""
    work = work_of("steady", 100, 24, Measured(CLASSICAL))
    endpoints = [Endpoint(max_workers=most, idle_timeout=idle) for most in (1, 2, 3) for idle in (5, 60)]
    return table(run(work, endpoints, Start(Gamma(CLASSICAL_START, 0.2)), 24, SEED), None)


def sections() -> Iterator[tuple[str, str]]:
    """Each marked place of the page and what belongs there; the plots are written on the way."""
    yield "burst", burst_plot()
    yield "patterns", patterns_table()
    yield "flashboot", flashboot_table()
    yield "classical", classical_table()
    idle_plot()
    workers_plot()


def write_docs() -> int:
    """Put every table between its markers in docs/capacity.md."""
    for name, text in sections():
        begin, end = f"<!-- {name}: python -m bench.capacity --docs -->\n", f"<!-- end of {name} -->"
        page = DOCUMENT.read_text(encoding="utf-8")
        start, stop = page.index(begin) + len(begin), page.index(end)
        DOCUMENT.write_text(f"{page[:start]}\n{text}\n\n{page[stop:]}", encoding="utf-8")
    return 0
