"""Refusals as RFC 9457 problems: an HTTP status, a code of this project, and one sentence."""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import structlog
from starlette.responses import JSONResponse

from pipeline.errors import Code, JobError

log = structlog.get_logger()


class PodCode(StrEnum):
    """Codes that only the pod has; docs/errors.md says what each asks of the caller."""

    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    RATE_LIMITED = "RATE_LIMITED"
    QUEUE_FULL = "QUEUE_FULL"
    NOT_READY = "NOT_READY"
    POISONED = "POISONED"


STATUS: Mapping[str, int] = {
    Code.INVALID_INPUT: 422,
    Code.INVALID_PALETTE: 422,
    Code.INPUT_TOO_LARGE: 413,
    Code.UNSUPPORTED_IMAGE: 415,
    Code.TIMED_OUT: 408,
    PodCode.UNAUTHORIZED: 401,
    PodCode.FORBIDDEN: 403,
    PodCode.NOT_FOUND: 404,
    PodCode.METHOD_NOT_ALLOWED: 405,
    PodCode.CONFLICT: 409,
    PodCode.RATE_LIMITED: 429,
    PodCode.QUEUE_FULL: 503,
    PodCode.NOT_READY: 503,
    Code.INTERNAL: 500,
}


class Problem(Exception):  # noqa: N818 - the name of RFC 9457
    """A request that is refused. `status` None: the one that belongs to the code."""

    def __init__(
        self,
        code: Code | PodCode,
        sentence: str,
        *,
        status: int | None = None,
        job_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence, self.job_id = code, sentence, job_id
        self.status = status or STATUS[code]
        self.headers = dict(headers or {})


def of_job_error(error: JobError) -> Problem:
    """A job's error as the answer to the request that brought the job."""
    return Problem(error.code, error.sentence, status=STATUS.get(error.code, 422))


def of_bug(fault: BaseException) -> Problem:
    """The answer to a request on which the server failed; the traceback is logged under the id that the caller gets."""
    number = uuid.uuid4().hex[:12]
    log.error("internal_error", error_id=number, exc_info=fault)
    return Problem(Code.INTERNAL, f"Something went wrong inside the server; its log holds the details under {number}.")


def of_status(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A refusal of the framework's as one of ours."""
    codes: dict[int, Code | PodCode] = {
        401: PodCode.UNAUTHORIZED,
        403: PodCode.FORBIDDEN,
        404: PodCode.NOT_FOUND,
        405: PodCode.METHOD_NOT_ALLOWED,
        413: Code.INPUT_TOO_LARGE,
    }
    return Problem(codes.get(status, Code.INVALID_INPUT), sentence, status=status, headers=headers)


def body_of(problem: Problem) -> dict[str, Any]:
    """The members of the problem. `type` about:blank: the code says what it is."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.sentence,
        "code": str(problem.code),
    }
    return told | ({"job_id": problem.job_id} if problem.job_id else {})


def answer(problem: Problem) -> JSONResponse:
    """The problem as a response."""
    return JSONResponse(body_of(problem), problem.status, problem.headers, media_type="application/problem+json")
