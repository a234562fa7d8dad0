"""How many workers for so many pictures an hour, what they wait, and what they cost: a simulated RunPod endpoint.

    python -m bench.capacity --service 12 --cold 45 --per-hour 200
    python -m bench.capacity --log worker.log --cold 45 --per-hour 200 --pattern bursts --burst 150 --price 0.90 --wait 60
    python -m bench.capacity --service 12 --cold 45 --flashboot 0.6 --warm 3 --rule queue-delay --idle 5,60,300 --max-workers 3

Two numbers are yours to bring, both in seconds: how long a worker is busy with a picture (--service, or --log with a worker's own log,
whose job_summary lines are read), and how long it takes from its start to its first job (--cold). `python -m builder doctor` and
`python -m bench.gpu_pipeline` measure them on your card; RunPod's console shows them as execution time and delay time.

A row for each setting, all on the same pictures:

    wait          from a picture's arrival to its beginning, s: the median, and what 95 of 100 do not exceed
    an hour       pictures an hour, from the first arrival to the last end
    busy, idle, starting    a worker's seconds, each billed, divided by the pictures
    most, starts  most workers at one time; workers that were started

What is known of RunPod's rules, what is assumed and what is left out stands in docs/capacity.md and in bench/capacity_model.py.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from random import Random

from bench.capacity_model import Endpoint, Gamma, Job, Measured, Rule, Start, simulate
from bench.capacity_traffic import HOUR, PATTERNS, Summary, arrivals, jobs, mean_service, measured_seconds, summary

Row = tuple[Endpoint, Summary]


def table(rows: Sequence[Row], price: float | None) -> str:
    """The rows as a table that reads well as text and as Markdown."""
    head = ["rule", "min", "max", "idle", "wait", "95 %", "an hour", "busy", "idle", "starting", "most", "starts"]
    cells = [head + (["cost"] if price is not None else [])]
    for endpoint, s in rows:
        unit = " s" if endpoint.rule == "queue-delay" else " jobs"
        idle = f"{endpoint.idle_timeout:g} s" if endpoint.rule == "queue-delay" else "-"
        cells.append(
            [f"{endpoint.rule} {endpoint.value:g}{unit}", str(endpoint.min_workers), str(endpoint.max_workers), idle]
            + [f"{s.median_wait:.1f}", f"{s.p95_wait:.1f}", f"{s.per_hour:.0f}"]
            + [f"{s.busy_seconds:.1f}", f"{s.idle_seconds:.1f}", f"{s.start_seconds:.1f}", str(s.most_workers), str(s.starts)]
            + ([f"{s.cost(price):.5f}"] if price is not None else [])
        )
    return markdown(cells)


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of equal width; the first row is the heading."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def cheapest(rows: Sequence[Row], wait: float) -> Row | None:
    """The row with the fewest billed seconds among those in which 95 of 100 pictures wait at most `wait` seconds."""
    return min((row for row in rows if row[1].p95_wait <= wait), key=lambda row: row[1].billed_seconds, default=None)


def advice(rows: Sequence[Row], wait: float, per_hour: float, service: float) -> str:
    """What the rows say about the wanted wait."""
    load = per_hour * service / HOUR
    text = f"{per_hour:g} pictures an hour of {service:.1f} s keep {load:.2f} workers busy on average.\n"
    best = cheapest(rows, wait)
    if best is None:
        return text + f"No setting lets 95 of 100 wait at most {wait:g} s: more workers at most, some always on, or a shorter start."
    endpoint, s = best
    idle = f" --idle {endpoint.idle_timeout:g}" if endpoint.rule == "queue-delay" else ""
    return text + (
        f"Cheapest with 95 of 100 waiting at most {wait:g} s: {endpoint.rule} {endpoint.value:g}, --min-workers {endpoint.min_workers} "
        f"--max-workers {endpoint.max_workers}{idle}: {s.billed_seconds:.1f} s billed a picture."
    )


def run(work: Sequence[Job], endpoints: Sequence[Endpoint], start: Start, hours: float, seed: int) -> list[Row]:
    """Every endpoint on the same jobs and the same sequence of start times."""
    return [(endpoint, summary(simulate(work, endpoint, start, hours * HOUR, seed))) for endpoint in endpoints]


def endpoints_of(options: argparse.Namespace) -> list[Endpoint]:
    """The settings to try: every combination of the given ones."""
    rules: list[tuple[Rule, float]] = []
    if options.rule != "request-count":
        rules += [("queue-delay", delay) for delay in options.delay]
    if options.rule != "queue-delay":
        rules += [("request-count", count) for count in options.jobs_per_worker]
    made = []
    for (rule, value), fewest, most, idle in product(rules, options.min_workers, options.max_workers, options.idle):
        counted = rule == "request-count"
        if fewest <= most and not (counted and idle != options.idle[0]):  # the idle timeout does nothing there
            made.append(Endpoint(rule, value, fewest, most, idle, options.interval))
    return made


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m bench.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    work = made.add_argument_group("your measurements")
    work.add_argument("--service", type=_positive, metavar="S", help="mean seconds of work a picture")
    work.add_argument("--service-variation", type=_share, default=0.3, metavar="CV", help="its deviation / mean (0.3); 1 is exponential")
    work.add_argument("--log", type=Path, metavar="FILE", help="a worker's log: its completed jobs' seconds, in place of --service")
    work.add_argument("--cold", type=_not_negative, metavar="S", help="mean seconds from a worker's start to its first job")
    work.add_argument("--cold-variation", type=_share, default=0.2, metavar="CV", help="its deviation / mean (0.2)")
    work.add_argument("--flashboot", type=_share, default=0.0, metavar="SHARE", help="share of starts that FlashBoot makes warm (0)")
    work.add_argument("--warm", type=_not_negative, metavar="S", help="seconds of a warm start; needed with --flashboot")
    traffic = made.add_argument_group("your pictures")
    traffic.add_argument("--per-hour", type=_positive, default=100.0, metavar="N", help="pictures an hour on average (100)")
    traffic.add_argument("--pattern", choices=PATTERNS, default="steady", help="how they arrive (steady); night: a day's at once at 01:00")
    traffic.add_argument("--burst", type=_count, default=100, metavar="N", help="pictures of a burst (100)")
    traffic.add_argument("--hours", type=_positive, default=24.0, help="hours to simulate (24)")
    settings = made.add_argument_group("the endpoint's settings (lists try every combination)")
    settings.add_argument("--rule", choices=("queue-delay", "request-count", "both"), default="both")
    settings.add_argument("--delay", type=_list(_not_negative), default=[4.0], metavar="S,…", help="queue delay (4)")
    settings.add_argument("--jobs-per-worker", type=_list(_positive), default=[4.0], metavar="N,…", help="request count's value (4)")
    settings.add_argument("--min-workers", type=_list(_whole), default=[0], metavar="N,…", help="active workers (0)")
    settings.add_argument("--max-workers", type=_list(_count), default=[1, 2, 3, 5, 8], metavar="N,…", help="(1,2,3,5,8)")
    settings.add_argument("--idle", type=_list(_positive), default=[5.0], metavar="S,…", help="idle timeout under queue delay (5)")
    settings.add_argument("--interval", type=_positive, default=1.0, metavar="S", help="seconds between two looks of the rule (1, assumed)")
    wanted = made.add_argument_group("what you want to know")
    wanted.add_argument("--price", type=_not_negative, metavar="P", help="of a worker's hour, any currency: adds the cost of a picture")
    wanted.add_argument("--wait", type=_positive, default=60.0, metavar="S", help="longest wait of 95 of 100 pictures (60)")
    wanted.add_argument("--seed", type=int, default=1)
    wanted.add_argument("--docs", action="store_true", help="write the tables and plots of docs/capacity.md; takes no other option")
    return made


def _number(kind: Callable[[str], float], least: float, strict: bool, most: float = float("inf")) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not (value > least if strict else value >= least) or value > most or value == float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is out of range")
        return value

    return read


_positive, _not_negative = _number(float, 0, strict=True), _number(float, 0, strict=False)
_share, _count, _whole = _number(float, 0, strict=False, most=1), _number(int, 1, strict=False), _number(int, 0, strict=False)


def _list(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    def read(text: str) -> list[float]:
        return [kind(part) for part in text.split(",")]

    return read


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and what it says."""
    made = parser()
    options = made.parse_args(arguments)
    if options.docs:
        from bench.capacity_docs import write_docs  # noqa: PLC0415 - matplotlib is needed here alone

        return write_docs()
    if (options.service is None) == (options.log is None):
        made.error("give one of --service and --log: a picture's seconds are yours to measure")
    if options.cold is None:
        made.error("give --cold: a worker's start is yours to measure")
    if options.flashboot and options.warm is None:
        made.error("--flashboot wants --warm, the seconds of a warm start")
    if options.log:
        try:
            with options.log.open(encoding="utf-8") as lines:
                service = Measured(measured_seconds(lines))
        except (OSError, ValueError) as error:
            made.error(f"--log {options.log}: {error}")
    else:
        service = Gamma(options.service, options.service_variation)
    tried = endpoints_of(options)
    if not tried:
        made.error("no combination of --min-workers and --max-workers has at most as many of the first as of the second")
    random = Random(options.seed)
    work = jobs(arrivals(options.pattern, options.per_hour, options.hours, options.burst, random), service, random)
    if not work:
        made.error("no picture arrives in that time: more --hours or --per-hour")
    start = Start(Gamma(options.cold, options.cold_variation), Gamma(options.warm or 0, 0), options.flashboot)
    rows = run(work, tried, start, options.hours, options.seed)
    print(f"{len(work)} pictures in {options.hours:g} h, {options.pattern}\n")
    print(table(rows, options.price))
    print("\n" + advice(rows, options.wait, options.per_hour, mean_service(work)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
