"""What `bench.real_loop` found: each job's end and answers held against what is in the bucket and in the workers' logs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.real_loop.faults import Trial
from tests.support.control_plane import FINAL, Job

#: An answer that arrives so many seconds after its job was cancelled had left before the cancellation could be known.
CROSSING = 0.5


@dataclass
class Audit:
    """The counts asked for, all to be 0, with the jobs behind them; and what happened to each kind of job.

    `lost`: no answer, and neither cancelled nor timed out by the platform. `double`: more than one answer, or one of a job that the
    platform had ended; posts of the same body under the same request id by the same worker are one, repeated by the transport
    (`repeated` counts them). `orphans`: objects of jobs that did not complete, and files that `result.json` does not name. `torn`:
    completed jobs whose set in the bucket is not whole.
    `late`: progress that arrived after the answer or out of order. `surprises`: jobs that ended as their fault does not explain.
    `crossed`: the only answer of a job that the platform ended, on its way when that happened (it arrived within `CROSSING` seconds).
    `overtaken`: cancelled jobs whose files were all stored before the cancellation reached the worker; a whole set lies there.
    """

    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    repeated: int = 0
    updates: int = 0
    retried: int = 0
    ends: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.double or self.orphans or self.torn or self.late or self.surprises)

    def public(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {**self.__dict__, "ends": {kind: dict(ends) for kind, ends in self.ends.items()}}


def outcome(job: Job) -> str:
    """COMPLETED, CANCELLED, TIMED_OUT, `FAILED code`; another status where the job is not at an end."""
    if job.status != "FAILED":
        return job.status
    return f"FAILED {str(job.answer['error']).partition(':')[0]}"


def audit(trials: Iterable[Trial], jobs: Mapping[str, Job], objects: Mapping[str, bytes], completed: set[str]) -> Audit:
    """`objects` is all that is in the bucket, `completed` the jobs that some worker's `job_summary` calls so."""
    found = Audit()
    by_job: dict[str, dict[str, bytes]] = {}
    for key, data in objects.items():
        name, _, file = key.rpartition("/")
        by_job.setdefault(name, {})[file] = data
    found.orphans += [name for name in by_job if name not in jobs and not name.startswith(".vehicle-vector")]
    for trial in trials:
        job, files = jobs[trial.id], by_job.get(trial.id, {})
        ended = outcome(job)
        found.ends.setdefault(trial.kind, Counter())[ended] += 1
        found.repeated += len(job.posts) - len(job.finals)
        found.updates += len(job.updates)
        found.retried += job.retries
        by_platform = job.status in ("CANCELLED", "TIMED_OUT")
        if job.status not in FINAL or not (job.finals or by_platform):
            found.lost.append(job.id)
        if by_platform and len(job.finals) == 1 and job.finals[0].at - job.ended <= CROSSING:
            found.crossed.append(job.id)
        elif len(job.finals) > (0 if by_platform else 1):
            found.double.append(job.id)
        if ended not in trial.ends:
            found.surprises.append(f"{job.id} ({trial.kind}): {ended} {job.answer.get('error', '')}")
        if any(after for _, after in job.updates) or not _in_order(job):
            found.late.append(job.id)
        if job.status == "COMPLETED":
            if not _whole(job.answer["output"], files):
                found.torn.append(job.id)
        elif files and by_platform and job.id in completed and _whole(json.loads(files.get("result.json", b"{}")), files):
            found.overtaken.append(job.id)
        elif files:
            found.orphans += [f"{job.id}/{file}" for file in files]
    return found


def _in_order(job: Job) -> bool:
    """Whether the numbers of each attempt's updates rise."""
    attempts: dict[str, list[int]] = {}
    for post, _ in job.updates:
        attempts.setdefault(post.pod, []).append(post.told["output"]["number"])
    # a number may come twice: a post whose receipt was lost
    return all(numbers == sorted(set(numbers)) for numbers in attempts.values())


def _whole(answer: Mapping[str, Any], files: Mapping[str, bytes]) -> bool:
    """Whether a job's files are exactly those that its answer names, `result.json` is that answer, and the SVG is as long as it says."""
    urls = [value for key, value in answer.items() if key.endswith("_url")] + list(answer.get("intermediates", {}).values())
    named = {urlsplit(url).path.rpartition("/")[2] for url in urls} | {"result.json"}
    return (
        named == set(files)
        and json.loads(files["result.json"]) == answer
        and len(files["illustration.svg"]) == answer["quality"]["svg_bytes"]
    )
