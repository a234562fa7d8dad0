"""What is said to a RunPod endpoint of this worker, and how its answers read, whoever sends it: `batch.client`, `batch.endpoint`.

The routes are described in docs/endpoint.openapi.json (https://docs.runpod.io/serverless/endpoints/operation-reference).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Annotated, Any, Final, TypedDict
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

BASE: Final = "https://api.runpod.ai/v2"
#: Bytes of a request that RunPod takes (10 MB for /run).
MOST_REQUEST: Final = 10_000_000
#: States in which a job stays.
FINAL: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
#: Error codes of jobs that end in the same way when they are sent again: the caller's own, the verdicts on the picture, missing models.
LASTING: Final = frozenset(
    {
        "INVALID_INPUT", "INVALID_PALETTE", "INPUT_UNREACHABLE", "INPUT_FORBIDDEN", "INPUT_TOO_LARGE", "UNSUPPORTED_IMAGE",
        "NO_VEHICLE", "LOW_IOU", "OUTPUT_TOO_LARGE", "MODELS_MISSING", "CANCELLED",
    }
)  # fmt: skip
#: Seconds to the first look at a job, the factor from look to look, and the longest pause.
FIRST, GROWTH, LONGEST = 0.1, 1.4, 3.0

_CODE = re.compile(r"([A-Z][A-Z0-9_]+): +(.+)", re.DOTALL)


class JobFailed(Exception):  # noqa: N818 - it speaks of the job
    """A job that ended without a result. `code`: of docs/errors.md (`INTERNAL` where RunPod gave none); `sentence`: for a person;
    `may_pass`: whether the same job may succeed later."""

    def __init__(self, code: str, sentence: str, job_id: str = "") -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence, self.job_id = code, sentence, job_id

    @property
    def may_pass(self) -> bool:
        """Whether sending the same job again can help; docs/errors.md says when and how often."""
        return self.code not in LASTING


class Refused(Exception):  # noqa: N818 - a refusal, not a fault
    """RunPod refuses the request, whatever the job: a wrong key (`status` 401 or 403), an unknown endpoint (404), an account without
    money (402), or no key that is given (0)."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Gone(Exception):  # noqa: N818 - not a fault: results are kept for half an hour
    """RunPod does not know the job (any more)."""


def seconds_of(milliseconds: object) -> float:
    """A time as it is told, in seconds; 0 where it is none."""
    return milliseconds / 1000 if isinstance(milliseconds, int | float) and 0 < milliseconds < inf else 0.0


class _Open(BaseModel):
    """An answer's data: keys that a later worker adds are kept, and nothing fails by them."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)


class Progress(_Open):
    """Where a running job stands. `number` counts up; an update with a smaller one is late."""

    number: int
    phase: str
    step: str
    percent: int


class Result(_Open):
    """A completed job (docs/job.md). The addresses that `outputs` did not ask for are None. `quality`: null for what cannot be known."""

    job_id: str
    engine: str
    schema_version: int = Field(alias="schema")
    svg_url: str | None = None
    png_url: str | None = None
    report_url: str | None = None
    pdf_url: str | None = None
    intermediates: dict[str, str] = {}
    processing_time_ms: int
    seed: int
    palette: list[str]
    vehicle_box: list[float]
    quality: dict[str, float | None]
    warnings: list[str]


class State(_Open):
    """What RunPod says of a job, as an answer to a request or as the body of a webhook."""

    id: Annotated[str, BeforeValidator(str)] = ""
    status: Annotated[str, BeforeValidator(str)] = ""
    output: Any = None
    error: Any = None
    execution_ms: Any = Field(None, alias="executionTime")

    @property
    def final(self) -> bool:
        """Whether the job is over."""
        return self.status in FINAL

    @property
    def seconds(self) -> float:
        """Seconds of execution, 0 where RunPod does not tell them."""
        return seconds_of(self.execution_ms)

    @property
    def progress(self) -> Progress | None:
        """The last update of a running job, if it has sent one."""
        try:
            return Progress.model_validate(self.output) if self.status == "IN_PROGRESS" else None
        except ValidationError:
            return None

    @property
    def failure(self) -> JobFailed | None:
        """Why the job has no result; None while it is not over, and where it has one."""
        told = self.error or (self.output.get("error") if isinstance(self.output, Mapping) else None)
        if not self.final or (self.status == "COMPLETED" and isinstance(self.output, Mapping) and not told):
            return None
        if self.status == "CANCELLED":
            return JobFailed("CANCELLED", "The job was cancelled at the endpoint.", self.id)
        if self.status == "TIMED_OUT":
            return JobFailed("TIMED_OUT", "RunPod ended the job: it took longer than its policy allows.", self.id)
        text = str(told or "the job ended without output").strip()
        if (found := _CODE.fullmatch(text)) is not None:
            return JobFailed(found[1], " ".join(found[2].split()), self.id)
        return JobFailed("INTERNAL", text.splitlines()[-1].strip()[:500], self.id)  # of a traceback the last line says what it was

    def result(self) -> Result:
        """The result of a job that is over. Raises `JobFailed`; also where the output is none of this worker's."""
        if (failure := self.failure) is not None:
            raise failure
        try:
            return Result.model_validate(self.output)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"]) or "output"
            raise JobFailed("INTERNAL", f"The answer is no result of this worker: {place} is missing or wrong.", self.id) from None


class Beside(TypedDict, total=False):
    """What a request may hold beside the job. `webhook`: the address that is called with the final state; `policy`: RunPod's own
    (`executionTimeout` and `ttl` in milliseconds, `lowPriority`); `s3Config`: a bucket of the job's own (`accessId`, `accessSecret`,
    `bucketName`, `endpointUrl`)."""

    webhook: str
    policy: dict[str, Any]
    s3Config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an endpoint: method, route after the endpoint's address, body."""

    method: str
    route: str
    body: bytes | None = None

    @staticmethod
    def run(job: Mapping[str, Any], beside: Beside | None = None) -> "Call":
        """Put a job into the queue. Raises `JobFailed` (`INPUT_TOO_LARGE`)."""
        body = json.dumps({"input": dict(job), **(beside or {})}).encode()
        if len(body) > MOST_REQUEST:
            limit = f"{MOST_REQUEST / 1e6:g}"
            sentence = f"The job takes {len(body) / 1e6:.1f} MB and RunPod takes {limit}; give the picture by address (image_url)."
            raise JobFailed("INPUT_TOO_LARGE", sentence)
        return Call("POST", "run", body)

    @staticmethod
    def status(job_id: str) -> "Call":
        """Ask for a job's state."""
        return Call("GET", f"status/{quote(job_id, safe='')}")

    @staticmethod
    def cancel(job_id: str) -> "Call":
        """Cancel a job; the state after it tells whether its end was faster."""
        return Call("POST", f"cancel/{quote(job_id, safe='')}")


def is_passing(status: int) -> bool:
    """Whether an HTTP status is one of a busy or broken server, which may answer later."""
    return status in (408, 425, 429) or status >= 500


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def told(call: Call, status: int, body: bytes) -> State:
    """What RunPod answered to a call. Raises `Refused`, `Gone`, or `JobFailed` for a job that it does not take."""
    if status in (401, 403):
        raise Refused(status, "RunPod refuses the key; set RUNPOD_API_KEY to one that may use the endpoint.")
    if status == 404 and call.route == "run":
        raise Refused(status, "RunPod knows no such endpoint.")
    if status == 404:
        raise Gone("RunPod does not know the job (any more).")
    if status == 413:
        raise JobFailed("INPUT_TOO_LARGE", "RunPod refuses the job as too large; give the picture by address (image_url).")
    if status in (400, 422) and call.route == "run":
        raise JobFailed("INVALID_INPUT", f"RunPod refuses the job with status {status}.")
    if status >= 300:  # not the job's fault: 402, where the account's money is used up, would be every job's
        raise Refused(status, f"RunPod refuses the request with status {status}{_phrase(status)}.")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    state = State.model_validate(data if isinstance(data, dict) else {})
    if call.route == "run" and not state.id:
        raise JobFailed("INTERNAL", "The endpoint took the job and told no id.")
    return state
