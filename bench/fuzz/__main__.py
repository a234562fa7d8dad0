"""Feed the worker's two doors with what no honest caller sends, and count what comes of it.

    python -m bench.fuzz jobs   --cases 1000000 --seed 0 [--docs]
    python -m bench.fuzz photos --cases 50000   --seed 0 [--real 2000] [--docs]
    python -m bench.fuzz_parsers --seconds 60                                     (coverage-guided, by atheris)

A case is made from the seed and its number alone: `--only NUMBER` makes one again and says what it is and what it gives.
The exit status is 1 when anything is wrong. `--docs` writes the counts into docs/security.md, `--json` prints them for a program.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.fuzz import jobs as fuzz_jobs
from bench.fuzz import photos as fuzz_photos
from bench.fuzz.tally import Tally
from bench.machine import machine

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
T = TypeVar("T")
Rows = list[tuple[str, str]]


def _with_bar(cases: int, work: Callable[[Callable[[int], None]], T]) -> T:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("cases", total=cases)
        return work(lambda done: bar.advance(task, done))


def _run(options: argparse.Namespace) -> Tally:
    if options.what == "jobs":
        return _with_bar(options.cases, lambda tick: fuzz_jobs.fuzz(options.seed, options.cases, tick))
    return _with_bar(options.cases + options.real, lambda tick: fuzz_photos.fuzz(options.seed, options.cases, options.real, tick))


def _rows(what: str, tally: Tally) -> Rows:
    rows = [(answer, f"{count:,}") for answer, count in sorted(tally.answers.items())]
    rows += [("the slowest case", f"{tally.slowest:.2f} s")]
    if what == "photos":
        rows += [("the most that a decoder added to its memory", f"{tally.largest / 1e6:.0f} MB")]
    return [*rows, ("growth of the fuzzing process", f"{tally.grown / 1e6:.0f} MB"), ("faults", f"{len(tally.faults):,}")]


def write_docs(what: str, heading: str, rows: Rows) -> None:
    """Put the table between the markers of `what` in docs/security.md."""
    begin, end = f"<!-- fuzz {what} -->\n", f"<!-- end of fuzz {what} -->"
    text = DOCUMENT.read_text()
    start, stop = text.index(begin) + len(begin), text.index(end)
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    DOCUMENT.write_text(f"{text[:start]}{heading}\n\n{table}\n{text[stop:]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=["jobs", "photos"], help="jobs: job, s3Config, output_prefix, base64; photos: files of every format"
    )
    parser.add_argument("--cases", type=int, default=10_000, help="how many (default 10000); photos: those that reach the decoder")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other cases (default 0)")
    parser.add_argument("--real", type=int, default=0, help="photos: so many more through pipeline.intake.photo.decode and its own process")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="make this one case again")
    parser.add_argument("--docs", action="store_true", help="write the counts into docs/security.md")
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object, not as a table")
    return parser


def main() -> int:
    """Fuzz and print a table; 1 when anything is wrong."""
    options = _parser().parse_args()
    if options.only is not None:
        print((fuzz_jobs if options.what == "jobs" else fuzz_photos).tell(options.seed, options.only))
        return 0
    began = time.perf_counter()
    tally = _run(options)
    seconds = time.perf_counter() - began
    if options.json:
        print(tally.as_json())
        return 1 if tally.faults else 0
    rows = _rows(options.what, tally)
    real = f" --real {options.real}" if options.real else ""
    command = f"python -m bench.fuzz {options.what} --cases {options.cases} --seed {options.seed}{real}"
    table = Table(title=command)
    table.add_column("what")
    table.add_column("count", justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    for number, wrong in tally.faults[:20]:
        print(f"case {number}: {wrong}")
    if options.docs:
        write_docs(options.what, f"`{command}`: {datetime.now(UTC):%Y-%m-%d}, {seconds:.0f} s by the clock on a core of {machine()}.", rows)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
