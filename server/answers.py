"""The shapes of the API's answers, for its description; and examples that are answers of a real server."""

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, Field

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
JOB_ID = "6f1d0c6f8b1e4a0d9c5e2b7a41f3d8e0"


class Problem(BaseModel):
    """What is wrong (RFC 9457), with the code that docs/errors.md explains."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such job; it was deleted, or never was."])
    code: str = Field(examples=["NOT_FOUND"])
    job_id: str | None = Field(None, examples=[None])


class Submitted(BaseModel):
    """A job that was queued, or that had been queued before under the same idempotency key."""

    job_id: str = Field(examples=[JOB_ID])
    status: Status = Field(examples=["pending"])


class Progress(BaseModel):
    """How far a job is."""

    number: int = Field(description="grows from report to report", examples=[17])
    phase: str = Field(examples=["illustrate"])
    step: str = Field(examples=["matte"])
    percent: float = Field(examples=[41.0])


class Job(BaseModel):
    """A job in a list."""

    job_id: str = Field(examples=[JOB_ID])
    status: Status = Field(examples=["processing"])
    created_at: str = Field(examples=["2026-11-24T05:44:39.789Z"])
    started_at: str | None = Field(examples=["2026-11-24T05:44:40.012Z"])
    finished_at: str | None = Field(examples=[None])
    error: str | None = Field(description="CODE: sentence", examples=[None])
    result: dict[str, Any] | None = Field(
        description="the result as the worker gives it, and svg_path, png_path, … on this machine", examples=[None]
    )


class JobInFull(Job):
    """Everything about a job."""

    queue_position: int | None = Field(description="1 for the job that is next; null unless pending", examples=[None])
    attempts: int = Field(description="how often it was begun; more than 1 after an interruption", examples=[1])
    progress: Progress | None
    last_event_id: str = Field(description="follow on from here with `Last-Event-ID`", examples=["17"])
    settings: dict[str, Any] = Field(description="the keys that were sent, without pictures and addresses", examples=[{"size": 2048}])
    logs: list[dict[str, Any]] = Field(
        description="the job's last 1,000 lines of the log", examples=[[{"event": "phase_done", "phase": "fetch", "ms": 104}]]
    )


class Jobs(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[Job]
    next: str | None = Field(description="give it as `before` for the page after this; null on the last", examples=["41"])


class Cancelled(BaseModel):
    """A job that was cancelled, or will be at its next step."""

    job_id: str = Field(examples=[JOB_ID])
    status: Literal["cancelled", "processing"]
    cancel_requested: bool = True


class Palette(BaseModel):
    """The main colours of a picture, the most frequent first."""

    palette: list[str] = Field(examples=[["#1E222B", "#F4F4F2", "#B01C24"]])


class Epoch(BaseModel):
    """An epoch that has ended: the loss of the pairs trained with, and of those held back; seconds a step."""

    epoch: int = Field(examples=[3])
    loss: float = Field(examples=[0.0812])
    judged: float = Field(examples=[0.0934])
    seconds: float = Field(examples=[0.61])


class Drawn(BaseModel):
    """A validation picture: `GET /api/v1/training/pictures/{name}`; epoch 0 is without the style."""

    epoch: int = Field(examples=[3])
    pair: str = Field(examples=["car7"])
    name: str = Field(examples=["1f0c6d6f8b1e-003.png"])


class Training(BaseModel):
    """The training of a style."""

    status: Literal["none", "waiting", "running", "completed", "failed", "stopped", "interrupted"]
    task: Literal["train", "install"]
    asked: dict[str, Any] | None = Field(description="the options it was started with", examples=[{"name": "flat", "epochs": 10}])
    started_at: str | None = Field(examples=["2026-11-24T05:44:40.012Z"])
    finished_at: str | None = Field(examples=[None])
    stopping: bool = Field(description="its end was asked for")
    error: str | None = Field(examples=[None])
    part: str = Field(description="check, prepare, step; empty before", examples=["step"])
    done: int = Field(description="of `of`: pairs, pairs, or steps", examples=[120])
    of: int = Field(examples=[430])
    loss: float | None = Field(description="of the last step", examples=[0.0791])
    sentence: str = Field(description="the builder's last word", examples=["reading the drawing's networks; 43 pairs teach, 11 judge"])
    optimizer: str = Field(examples=["AdamW8bit"])
    epochs: list[Epoch]
    pictures: list[Drawn]
    problems: list[str] = Field(description="what is wrong with the pairs", examples=[["car3.photo.png: a photograph without drawing"]])
    trained: bool = Field(description="GET /api/v1/training/style answers")
    installed: bool
    report: bool = Field(description="GET /api/v1/training/report answers")
    lacking: list[str] = Field(description="what this server needs to train and does not have", examples=[[]])
    pairs: dict[str, int] = Field(description="ending → number of files that were sent", examples=[{"jpg": 54, "svg": 54}])
    logs: list[str] = Field(description="the last 200 lines of the builder's")


class Ready(BaseModel):
    """The server takes jobs, and an engine does them."""

    status: Literal["ready"]
    engine: Literal["classical", "neural"]
    version: str = Field(examples=["0.1.0"])
    models: dict[str, str] = Field(examples=[{"rapidocr": "3.10.0"}])


class Health(BaseModel):
    """The server is alive."""

    status: Literal["ok"]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a route, for its description, including those that every route may give."""
    return {status: {"description": _MEANING[status], "content": _content(status)} for status in sorted({*statuses, 401, 429, 500})}


def _content(status: int) -> dict[str, Any]:
    code, _, sentence = _EXAMPLES[status].partition(": ")
    example = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": sentence, "code": code}
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}


_EXAMPLES = {
    400: "INVALID_INPUT: The form cannot be read: Invalid multipart data.",
    401: "UNAUTHORIZED: This server wants its API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
    403: "FORBIDDEN: A page of another site may not do this; send the API key, or set CORS_ORIGINS.",
    404: "NOT_FOUND: There is no such job; it was deleted, or never was.",
    408: "TIMED_OUT: The request did not arrive in full within 300 s (UPLOAD_SECONDS).",
    409: "CONFLICT: The job is completed already.",
    413: "INPUT_TOO_LARGE: The picture has more than 50,000,000 bytes, the limit.",
    415: "UNSUPPORTED_IMAGE: The picture is a GIF; JPEG, PNG, WebP, AVIF, HEIC, TIFF and BMP are accepted.",
    422: "INVALID_PALETTE: A palette holds 2 to 64 different colours, not 1.",
    429: "RATE_LIMITED: More than 60 requests in a minute; wait 12 s.",
    500: "INTERNAL: Something went wrong inside the server; its log holds the details under 1f0c6d6f8b1e.",
    503: "QUEUE_FULL: The server's disk is full; delete jobs that are done, or send the job again later.",
}


_MEANING = {
    400: "INVALID_INPUT: the form cannot be read",
    401: "UNAUTHORIZED: the API key is missing or wrong",
    403: "FORBIDDEN: a page of another site",
    404: "NOT_FOUND: no such job, or no such file of it",
    408: "TIMED_OUT: the request did not arrive in time",
    409: "CONFLICT: the job's status does not allow it",
    413: "INPUT_TOO_LARGE: more bytes than MAX_INPUT_MB allows",
    415: "UNSUPPORTED_IMAGE: not a picture, or of a kind that is not read",
    422: "INVALID_INPUT, INVALID_PALETTE: the sentence names the key",
    429: "RATE_LIMITED: wait as long as Retry-After says",
    500: "INTERNAL: the server's log holds the details under the id in the sentence",
    503: "QUEUE_FULL, NOT_READY: later, perhaps",
}
