"""docs/benchmarks/real_loop.md, from the figures that the runs of `bench.real_loop` left behind."""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "real_loop.md"

HEAD = """# The worker in RunPod's real loop, with faults

Written by `python -m bench.real_loop --docs` from what the runs below left. `python -u handler.py` in real worker mode, RunPod's own SDK,
the classical engine, pictures of 160 x 120 at size 1024, a real S3 service (OpenStack Swift) and the control plane of
`tests/support/control_plane.py`; everything on loopback.

| figure | asked | measured |
|---|---|---|
"""

FAULTS = """
## What went wrong, and how the jobs ended

{jobs} jobs, {disturbed} of them with one fault each, {workers} workers one after the other ({at_once} at a time), {minutes:.0f} minutes.
{date}, {machine}. `python -m bench.real_loop {command}`

| fault | jobs | ends |
|---|---|---|
"""

COUNTED = """
How it is counted:

- **lost**: a job without an answer that was neither cancelled nor timed out by the platform.
- **double**: a job with two answers, or with one after the platform had ended it. Posts of the same body under the same `X-Request-ID`
  by the same worker are one answer: the SDK posts again when the receipt was lost ({repeated} times here). Not counted: the only answer of
  a job that was cancelled while it was on its way, arriving within 0.5 s ({crossed} here); nobody can call it back. (This exception was
  made after it had happened, 4 ms after the cancellation.)
- **orphaned objects**: objects in the bucket that no completed job owns. Every completed job's files were compared with its `result.json`,
  and that with the answer; a set that is not exactly what they name is torn.
- **late progress**: updates after the answer, or out of order, of {updates} that arrived.
- A job-take whose connection breaks leaves the job in the queue; a container that ends gives its job back ({retried} jobs were handed out
  again).
- {too_late} of the kills, stops and cancellations came when their job was already done. {overtaken} cancelled job(s) had stored all their
  files when the cancellation reached the worker: between storing and answering nothing is taken back, and a whole set stays.

What arrived at the control plane, by route and status: {seen}.
"""

REST = """
## Memory

{late_jobs} jobs in one worker ({date}, {machine}; every tenth one is refused, every tenth has all its files).

| after | resident MB | threads | file handles | temporary files | child processes |
|---|---|---|---|---|---|
"""

OVERHEAD = """
## The worker's part of a job

From the control plane handing out a job to the arrival of its answer, less the phases of its `job_summary` (in which are PNG encoding and
the upload): median {median:.0f} ms, 95th percentile {most:.0f} ms over {jobs} jobs ({date}, {machine}). A handler that does nothing,
under the same SDK and in turns with ours, takes {empty:.0f} ms: the SDK looks into its queue every 100 ms, and a median of so many waits
is uncertain by {chance:.0f} ms. The difference is {own:.0f} ms.
"""


def _read(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.json"
    if not file.exists():
        raise SystemExit(f"{file.name} is missing: run that part first")
    return dict(json.loads(file.read_text()))


def write(folder: Path) -> None:
    """The page, from jobs.json, memory.json and overhead.json."""
    jobs, memory, cost = (_read(folder, name) for name in ("jobs", "memory", "overhead"))
    early, late = memory["early"], memory["late"]
    growth = 100 * (late["rss"] / early["rss"] - 1)
    rows = [
        ("jobs lost", 0, len(jobs["lost"])),
        ("jobs answered twice", 0, len(jobs["double"])),
        ("orphaned objects", 0, len(jobs["orphans"])),
        ("completed jobs whose set is torn", 0, len(jobs["torn"])),
        ("jobs with late progress", 0, len(jobs["late"])),
        ("jobs that ended as their fault does not explain", 0, len(jobs["surprises"])),
        ("the worker's part of a job, median", "at most 60 ms", f"{1000 * cost['median']:.0f} ms"),
        ("the same of a handler that does nothing, under the same SDK", "", f"{1000 * cost['empty']:.0f} ms"),
        ("resident memory after 200 jobs, beside after 20", "within 5 %", f"{growth:+.1f} %"),
        ("threads, file handles, temporary files", "equal", f"{_held(early)} and {_held(late)}"),
    ]
    text = HEAD + "".join(f"| {name} | {asked} | {value} |\n" for name, asked, value in rows)
    text += FAULTS.format(**{**jobs, "minutes": jobs["seconds"] / 60})
    for kind, ends in sorted(jobs["ends"].items(), key=lambda item: item[0] != "none"):
        told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items(), key=lambda item: -item[1]))
        text += f"| {kind} | {sum(ends.values())} | {told} |\n"
    seen = ", ".join(f"{name} {count:,}" for name, count in jobs["seen"].items())
    text += COUNTED.format(**{**jobs, "seen": seen, "overtaken": len(jobs["overtaken"]), "crossed": len(jobs["crossed"])})
    text += REST.format(**memory, late_jobs=200)
    for number, state in ((20, early), (200, late)):
        held = " | ".join(str(state[name]) for name in ("threads", "handles", "files", "children"))
        text += f"| {number} jobs | {state['rss'] / 1e6:.1f} | {held} |\n"
    own = 1000 * (cost["median"] - cost["empty"])
    chance = 100 / 2 / cost["jobs"] ** 0.5  # standard error of the median of waits between 0 and 100 ms
    text += OVERHEAD.format(**{**cost, "own": own, "chance": chance, **{name: 1000 * cost[name] for name in ("median", "most", "empty")}})
    PAGE.write_text(text)


def _held(state: dict[str, Any]) -> str:
    return "/".join(str(state[name]) for name in ("threads", "handles", "files"))
