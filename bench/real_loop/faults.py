"""What goes wrong in `bench.real_loop`: for each disturbed job one fault, and how a job of that fault may end."""

import random
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.control_plane import Fault
from tests.support.faulty_proxy import DROP, HANG
from tests.support.real_worker import SMALL, drawn

Act = Literal["kill", "stop", "cancel"]

#: A worker's own limits in the run: shorter than the defaults, so that a job that hangs costs less than a minute.
JOB_SECONDS = 45
CONFIG = "input: {fetch_seconds: 120}\n"


@dataclass(frozen=True, slots=True)
class BucketFault:
    """What the bucket's service does to a job's requests of a method whose path holds `name`: so often, then no more."""

    method: str
    name: str
    status: int
    times: int = 10_000


@dataclass(frozen=True, slots=True)
class Trial:
    """One job: what is sent, what goes wrong, and how it may end: COMPLETED, CANCELLED, TIMED_OUT or `FAILED code`.

    `routes` happen at the control plane; `act` is done to the worker, or the job, when `moment` of a usual job's time has passed
    since it was taken; `bucket` happens between the worker and its bucket, `refused` makes the bucket take nothing any more.
    """

    id: str
    kind: str
    request: dict[str, Any]
    ends: frozenset[str]
    routes: tuple[Fault, ...] = ()
    act: Act | None = None
    moment: float = 0.0
    bucket: BucketFault | None = None
    refused: bool = False


def ordinary(number: int) -> dict[str, Any]:
    """A job that finishes."""
    return {"input": {**drawn(number % 7), **SMALL}}


def _bad(rng: random.Random) -> tuple[dict[str, Any], str]:
    good = {**drawn(1), **SMALL}
    return rng.choice(
        [
            ({"input": {**good, "image_base64": "AAAA"}}, "UNSUPPORTED_IMAGE"),
            ({"input": {**good, "sede": 1}}, "INVALID_INPUT"),
            ({"input": {**good, "palette_hex_list": "red"}}, "INVALID_PALETTE"),
            ({"input": {**good, "output_prefix": "../x"}}, "INVALID_INPUT"),
            ({"input": {**SMALL, "image_url": "http://127.0.0.1:9/"}}, "INPUT_UNREACHABLE"),
            ({"input": {**SMALL, "image_url": "s3://another/photo.jpg"}}, "INPUT_FORBIDDEN"),
            ({"input": good, "s3Config": {"accessId": "a"}}, "INVALID_INPUT"),
            ({"input": {}}, "INVALID_INPUT"),
        ]
    )


def _route(*kinds: str, route: str) -> Callable[[random.Random, str], dict[str, Any]]:
    def made(rng: random.Random, job_id: str) -> dict[str, Any]:
        job = job_id if route in ("done", "update") else None
        return {"routes": (Fault(route, rng.choice(kinds), rng.choice([1, 1, 2, 3]), job, seconds=rng.uniform(1, 12)),)}  # type: ignore[arg-type]

    return made


def _acted(act: Act) -> Callable[[random.Random, str], dict[str, Any]]:
    ends = {"cancel": frozenset({"CANCELLED", "COMPLETED"})}.get(act, frozenset({"COMPLETED"}))
    return lambda rng, _: {"act": act, "moment": rng.uniform(0.0, 1.1), "ends": ends}


def _stored(*statuses: int, times: int = 10_000, ends: str = "COMPLETED") -> Callable[[random.Random, str], dict[str, Any]]:
    def made(rng: random.Random, _: str) -> dict[str, Any]:
        method = "PUT" if ends != "COMPLETED" else rng.choice(["PUT", "GET"])
        name = rng.choice(["illustration.svg", "preview.png", "result.json"])
        return {"bucket": BucketFault(method, name, rng.choice(statuses), times), "ends": frozenset({ends})}

    return made


def _bad_input(rng: random.Random, _: str) -> dict[str, Any]:
    request, code = _bad(rng)
    return {"request": request, "ends": frozenset({f"FAILED {code}"})}


#: Kind → what a job of that kind is beside an ordinary one, and how often the kind is drawn.
KINDS: dict[str, tuple[Callable[[random.Random, str], dict[str, Any]], int]] = {
    "worker killed (SIGKILL)": (_acted("kill"), 4),
    "worker stopped (SIGTERM)": (_acted("stop"), 4),
    "job cancelled": (_acted("cancel"), 4),
    "job-take: 500, 429, dropped before or after the job was handed out": (_route("500", "429", "drop", "drop after", route="take"), 4),
    "job-stop: 500 or dropped": (_route("500", "drop", route="stop"), 2),
    "job-done: 500 once to three times": (_route("500", "500 after", "429", route="done"), 4),
    "job-done: dropped before or after the body was taken": (_route("drop", "drop after", route="done"), 4),
    "job-done: slow": (_route("slow", route="done"), 2),
    "progress: 500, dropped or slow": (_route("500", "drop", "drop after", "slow", route="update"), 4),
    "ping: 500 or dropped": (_route("500", "drop", route="ping"), 2),
    "bucket: 500 or dropped, once": (_stored(500, 503, DROP, times=1), 4),
    "bucket: 500 for good": (_stored(500, ends="FAILED DELIVERY_FAILED"), 2),
    "bucket: one file refused (403)": (_stored(403, ends="FAILED DELIVERY_FAILED"), 2),
    "bucket: hangs once": (_stored(HANG, times=1), 1),
    "bucket refuses everything, also the probe": (lambda *_: {"refused": True, "ends": frozenset({"FAILED DELIVERY_FAILED"})}, 2),
    "bad input": (_bad_input, 4),
    "execution time-out by the platform": (lambda *_: {"ends": frozenset({"TIMED_OUT", "COMPLETED"})}, 2),
    "picture that never comes: the worker's own time-out": (lambda *_: {"ends": frozenset({"FAILED TIMED_OUT"})}, 1),
}


def trials(jobs: int, faults: float, seed: int, silent_url: str) -> list[Trial]:
    """So many jobs, that fraction of them disturbed, in an order of chance. `silent_url` never answers."""
    rng = random.Random(seed)
    disturbed = round(jobs * faults)
    names, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    drawn = names[:disturbed] + rng.choices(names, weights, k=max(0, disturbed - len(names)))  # each kind at least once
    kinds = drawn + ["none"] * (jobs - disturbed)
    rng.shuffle(kinds)
    made = []
    for number, kind in enumerate(kinds):
        name = f"r-{number:04}"
        given: dict[str, Any] = {"request": ordinary(number), "ends": frozenset({"COMPLETED"})}
        if kind != "none":
            given |= KINDS[kind][0](rng, name)
        if kind.startswith("execution"):
            given["request"] = {**given["request"], "policy": {"executionTimeout": rng.randrange(200, 2000)}}
        if kind.startswith("picture"):
            given["request"] = {"input": {**SMALL, "image_url": silent_url}}
        made.append(Trial(name, kind, **given))
    return made


class BucketFaults:
    """What the proxy before the bucket does: (method, path) → a status, HANG, DROP or None. Counts what happened to each job."""

    def __init__(self, made: list[Trial]) -> None:
        self._faults = {trial.id: trial.bucket for trial in made if trial.bucket}
        self._refused = {trial.id for trial in made if trial.refused}
        self._probes = 0
        self._lock = threading.Lock()
        self.happened: Counter[str] = Counter()

    def __call__(self, method: str, path: str) -> int | None:
        """Decide about one request."""
        with self._lock:
            if method == "PUT" and "/takes-files" in path and self._probes:
                self._probes -= 1
                return 403
            found = re.search(r"/(r-\d+)/", path)
            if found is None:
                return None
            name = found[1]
            if name in self._refused and method == "PUT":
                self._probes += self.happened[name] == 0
                self.happened[name] += 1
                return 403
            fault = self._faults.get(name)
            if fault is None or method != fault.method or fault.name not in path or self.happened[name] >= fault.times:
                return None
            self.happened[name] += 1
            return fault.status
