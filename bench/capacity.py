"""How many workers for so many pictures an hour, what a picture waits, and what it costs: a calculator.

    python -m bench.capacity --service 12 --cold 45 --per-hour 200
    python -m bench.capacity --log worker.log --cold 45 --per-hour 200 --idle 5,60 --max-workers 2,3 --price 0.90
    python -m bench.capacity --service 12 --cold 45 --per-hour 200 --burst 100

Two numbers are yours to bring, in seconds: how long a worker is busy with a picture (--service, or --log with a worker's own log, whose
job_summary lines are read), and how long it takes from its start to its first job (--cold). RunPod's console shows them as execution time
and delay time; `python -m builder doctor` and `python -m bench.gpu_pipeline` measure them on a card.

Pictures are taken to come independently of each other, and one at a time. docs/capacity.md has the formulas and what they leave out.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`busy` workers on average; `cold` share of pictures that start a worker; seconds that a picture waits, on average and 95 of 100 at
    most; `billed` seconds a picture. `wait` and `wait95` are infinite where the workers cannot keep up."""

    busy: float
    cold: float
    wait: float
    wait95: float
    billed: float


def erlang_c(workers: int, load: float) -> float:
    """The share of pictures that wait for one of so many busy workers (A. K. Erlang, 1917), at `load` = rate · service, below `workers`."""
    blocked = 1.0
    for n in range(1, workers + 1):  # Erlang B by its recursion
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def steady(per_hour: float, service: float, cold: float, workers: int, idle: float) -> Answer:
    """Pictures that come independently of each other, at most `workers`, each leaving after `idle` seconds without work."""
    rate = per_hour / HOUR
    load = rate * service
    if load >= workers:
        return Answer(load, 0.0, math.inf, math.inf, service)
    starts = math.exp(-rate * (idle + service))  # nobody came while the last worker was busy and then waited
    waits, free = erlang_c(workers, load), (workers - load) / service
    queue95 = max(0.0, math.log(max(waits, 1e-300) / 0.05) / free)
    wait95 = max(queue95, cold if starts > 0.05 else 0.0)
    billed = service + (1 - math.exp(-rate * idle)) / rate + starts * cold
    return Answer(load, starts, starts * cold + waits / free, wait95, billed)


def burst_seconds(pictures: int, service: float, cold: float, workers: int) -> float:
    """From a burst's arrival at an endpoint without workers to its last picture."""
    return cold + math.ceil(pictures / workers) * service


def logged_seconds(log: Path) -> float:
    """The mean seconds of a worker's completed jobs, from its own log. Raises `ValueError` where it has none."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and '"job_summary"' in line]
    seconds = [line["ms"] / 1000 for line in lines if line.get("status") == "completed"]
    if not seconds:
        raise ValueError(f"{log} has no job_summary of a completed job")
    return mean(seconds)


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main() -> int:
    """Print a row for each number of workers and idle timeout."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__, formatter_class=form)
    service = parser.add_mutually_exclusive_group(required=True)
    service.add_argument("--service", type=float, help="seconds that a worker is busy with a picture")
    service.add_argument("--log", type=Path, help="or a worker's log")
    parser.add_argument("--cold", type=float, required=True, help="seconds from a worker's start to its first job")
    parser.add_argument("--per-hour", type=float, required=True, help="pictures an hour")
    parser.add_argument("--max-workers", type=_numbers, default=[1.0, 2.0, 3.0, 5.0, 10.0], help="default 1,2,3,5,10")
    parser.add_argument("--idle", type=_numbers, default=[5.0, 60.0, 300.0], help="idle timeouts in seconds, default 5,60,300")
    parser.add_argument("--burst", type=int, help="also: so many pictures at once")
    parser.add_argument("--price", type=float, help="of a worker's hour, in any currency")
    options = parser.parse_args()
    try:
        seconds = options.service or logged_seconds(options.log)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if min(seconds, options.per_hour, *options.max_workers) <= 0:
        parser.error("seconds, pictures and workers are greater than 0")
    table = Table(title=f"{options.per_hour:g} an hour of {seconds:.1f} s keep {options.per_hour * seconds / HOUR:.2f} workers busy")
    for head in ("max workers", "idle", "start a worker", "wait, mean", "wait, 95 %", "billed", "a thousand cost", "burst done in"):
        table.add_column(head, justify="right")
    for workers, idle in product(map(int, options.max_workers), options.idle):
        found = steady(options.per_hour, seconds, options.cold, workers, idle)
        keeps_up = math.isfinite(found.wait)
        table.add_row(
            str(workers),
            f"{idle:g} s",
            f"{100 * found.cold:.0f} %" if keeps_up else "too few",
            *(f"{wait:.1f} s" if keeps_up else "grows" for wait in (found.wait, found.wait95)),
            f"{found.billed:.1f} s" if keeps_up else "",
            "" if options.price is None or not keeps_up else f"{1000 * found.billed / HOUR * options.price:.2f}",
            "" if options.burst is None else f"{burst_seconds(options.burst, seconds, options.cold, workers):.0f} s",
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
