"""The API's routes. The work is done in `server.intake`, `server.jobs` and `server.events`."""

import asyncio
import json
import re
import sys
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote_to_bytes

from anyio import to_thread
from fastapi import FastAPI, Header, Query, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from pipeline import __version__
from pipeline.errors import Code, JobError
from pipeline.job import Job
from server import answers, files, intake, jobs, metrics, sign_in, status
from server.database import Database
from server.events import LISTENERS, stream
from server.problems import PodCode, Problem
from server.settings import Pod

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: The report has scripts and styles of its own, which its own policy names by their digests; a drawing has neither.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
#: Browsers show a PDF by a viewer of theirs, which a sandbox stops.
_PDF_POLICY = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'none'"
#: Bytes of a form's text that are decoded at a time.
_PIECE = 1 << 16
#: Fields that a form may have, and those of a job that hold a file, each with an example's name.
_FIELDS = 100
_PICTURES = {"file": "car.jpg", "matte": "matte.png"}


def body_limits(pod: Pod) -> dict[str, int]:
    """Path → bytes of a request in all: a picture, for a job maybe in base64, and room for everything else."""
    return {"/api/v1/process": pod.max_bytes * 4 // 3 + 1_000_000, "/api/v1/palette": pod.max_bytes + 10_000}


async def _form(request: Request, pod: Pod, most_files: int) -> FormData:
    """The request's form; what is not a form is `INVALID_INPUT`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise Problem(Code.INVALID_INPUT, "Send a form: Content-Type multipart/form-data with the picture as file.", status=415)
    if kind == "application/x-www-form-urlencoded":
        return await to_thread.run_sync(_urlencoded, await request.body())
    try:
        return await request.form(max_files=most_files, max_fields=_FIELDS, max_part_size=body_limits(pod)[request.url.path])
    except HTTPException as fault:
        raise Problem(Code.INVALID_INPUT, f"The form cannot be read: {str(fault.detail).rstrip('.')}.", status=400) from None
    except OSError as fault:  # large files wait on the disk while the rest comes
        raise (files.full() if files.is_full(fault) else fault) from None


def _urlencoded(body: bytes) -> FormData:
    """A form without files, as `curl -d` sends it (URL Standard, application/x-www-form-urlencoded)."""
    parts = body.split(b"&", _FIELDS)
    if len(parts) > _FIELDS:
        raise Problem(Code.INVALID_INPUT, f"The form cannot be read: it has more than {_FIELDS} fields.", status=400)
    pairs = (part.partition(b"=") for part in parts if part)
    return FormData([(_unquoted(name), _unquoted(value)) for name, _, value in pairs])


def _unquoted(text: bytes) -> str:
    """`urllib.parse.unquote_plus`, a piece at a time: for a whole text its list of the parts between two % takes eighty times the text's
    bytes."""
    text, decoded, start = text.replace(b"+", b" "), bytearray(), 0
    while start < len(text):
        end = start + _PIECE
        if (cut := text.find(b"%", end - 2, end)) >= 0 and end < len(text):
            end = cut
        decoded += unquote_to_bytes(text[start:end])
        start = end
    return decoded.decode("utf-8", "replace")


def _submission(form: FormData, key: str | None) -> intake.Submission:
    fields: list[tuple[str, str]] = []
    given: dict[str, UploadFile] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields.append((name, value))
        elif not value.filename and not value.size:
            continue  # so a browser sends a field that no file was chosen for
        elif name in given:
            raise Problem(Code.INVALID_INPUT, f"{name}: is given twice.", status=400)
        else:
            given[name] = value
    if not given.keys() <= _PICTURES.keys():
        raise JobError(Code.INVALID_INPUT, "Only the fields named file and matte may hold a file.")
    for name, example in _PICTURES.items():
        if any(field == name and text for field, text in fields):
            raise JobError(Code.INVALID_INPUT, f"{name}: must be a file (with curl: -F {name}=@{example}).")
    if key is not None and not _KEY.fullmatch(key):
        raise JobError(Code.INVALID_INPUT, "Idempotency-Key: must be 1 to 255 printable ASCII characters without spaces.")
    file, matte = (given[name].file if name in given else None for name in _PICTURES)
    return intake.Submission(tuple(fields), file, key, matte)


def _form_schema() -> dict[str, Any]:
    """The form of a submission as OpenAPI says it: the job's keys, and the file."""
    schema = Job.model_json_schema(ref_template="#/components/schemas/{model}")
    keys = {name: part for name, part in schema["properties"].items() if name not in ("stroke", "color_locks")}
    stroke = {"type": "string", "contentMediaType": "application/json", "description": "JSON of mode, width and color"}
    locks = {"type": "string", "contentMediaType": "application/json", "description": "JSON list of part or point, and color"}
    file = {"type": "string", "format": "binary", "description": "the photo; image_url or image_base64 in its place"}
    matte = {"type": "string", "format": "binary", "description": "the vehicle's shape; matte_url or matte_base64 in its place"}
    options = {"type": "string", "contentMediaType": "application/json", "description": "any of the other keys in one JSON object"}
    return {
        "type": "object",
        "properties": {"file": file, "matte": matte, "options": options, **keys, "stroke": stroke, "color_locks": locks},
    }


_EXAMPLE = {"file": "(the photo)", "palette_hex_list": "FF0000,00FF00,0000FF,FFFFFF,000000", "vehicle_box": "0.1,0.3,0.9,0.9", "size": 2048}
_SUBMIT: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema(), "example": _EXAMPLE}}},
}


def _served(path: Path, media: str, policy: str, name: str, *, download: bool) -> Response:
    """A file of a job: its name and policy; `no-cache`: a browser asks whether it is still there."""
    headers = {"Content-Security-Policy": policy, "Cache-Control": "private, no-cache"}
    return FileResponse(
        path, media_type=media, headers=headers, filename=name, content_disposition_type="attachment" if download else "inline"
    )


_MEDIA = {".svg": "image/svg+xml", ".png": "image/png", ".pdf": "application/pdf", ".html": "text/html; charset=utf-8"}


def add(app: FastAPI, pod: Pod, database: Database) -> None:
    """Give the application the routes of one pod."""
    _submitting(app, pod, database)
    _asking(app, pod, database)
    _fetching(app, pod, database)
    _watching(app, pod, database)


def _submitting(app: FastAPI, pod: Pod, database: Database) -> None:
    @app.post(
        "/api/v1/process",
        status_code=202,
        response_model=answers.Submitted,
        responses=answers.problems(400, 403, 408, 413, 415, 422, 503),
        openapi_extra=_SUBMIT,
        tags=["jobs"],
        summary="Submit a photo",
    )
    async def process(
        request: Request,
        idempotency_key: Annotated[str | None, Header(description="the same key with the same request gives the same job")] = None,
    ) -> Response:
        """Queue a job. Each key of the job is a form field, or all of them are one JSON object in `options`; lists are comma-separated."""
        form = await _form(request, pod, len(_PICTURES))
        try:
            queued = await to_thread.run_sync(intake.accept, _submission(form, idempotency_key), pod, database)
        finally:
            await form.close()
        return JSONResponse({"job_id": queued.job_id, "status": queued.status}, 202, {"Location": f"/api/v1/jobs/{queued.job_id}"})

    one_at_a_time = asyncio.Semaphore(1)

    @app.post(
        "/api/v1/palette",
        response_model=answers.Palette,
        responses=answers.problems(400, 403, 408, 413, 415, 422),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "required": ["file"],
                            "properties": {
                                "file": {"type": "string", "format": "binary"},
                                "colors": {"type": "integer", "minimum": 2, "maximum": 64, "default": 8},
                            },
                        }
                    }
                },
            }
        },
        tags=["jobs"],
        summary="The main colours of a picture",
    )
    async def palette(request: Request) -> Response:
        """At most `colors` (2 to 64, default 8) colours of the picture `file`, the most frequent first: a start for a palette."""
        form = await _form(request, pod, 1)
        try:
            file, text = form.get("file"), form.get("colors", "8")
            if not isinstance(file, UploadFile):
                raise JobError(Code.INVALID_INPUT, "file: must be a picture file.")
            if not (isinstance(text, str) and text.isascii() and text.isdecimal() and 2 <= int(text[:9]) <= 64):
                raise JobError(Code.INVALID_INPUT, "colors: must be a whole number from 2 to 64.")
            data = await file.read()
        finally:
            await form.close()
        async with one_at_a_time:
            told = await _colors(data, int(text), pod)
        if "code" in told:
            raise JobError(Code(told["code"]), told["sentence"])
        return JSONResponse({"palette": told})


async def _colors(data: bytes, count: int, pod: Pod) -> Any:
    """What `server.colors` says of a picture."""
    given = pod.settings.input
    limits = (str(pod.max_bytes), str(given.max_pixels), str(given.max_side), str(given.decode_seconds))
    command = (sys.executable, "-m", "server.colors", str(count), *limits)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        told, _ = await asyncio.wait_for(process.communicate(data), 2 * given.decode_seconds + 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"server.colors ended with status {process.returncode}")
    return json.loads(told)


def _asking(app: FastAPI, pod: Pod, database: Database) -> None:
    room = asyncio.Semaphore(LISTENERS)

    @app.get("/api/v1/jobs", response_model=answers.Jobs, responses=answers.problems(422), tags=["jobs"], summary="All jobs")
    async def list_jobs(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        before: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before")] = None,
    ) -> Response:
        """A page of jobs, the newest first."""
        cursor = None if before is None else int(before)
        return JSONResponse(await to_thread.run_sync(jobs.listed, database, limit, cursor))

    @app.get("/api/v1/jobs/{job_id}", response_model=answers.JobInFull, responses=answers.problems(404), tags=["jobs"], summary="One job")
    async def get_job(job_id: str) -> Response:
        """Status, progress, log, and in the end the result or the error."""
        return JSONResponse(await to_thread.run_sync(jobs.shown, database, job_id))

    @app.get(
        "/api/v1/jobs/{job_id}/events",
        responses={
            200: {"content": {"text/event-stream": {}}},
            204: {"description": "everything has been told"},
            **answers.problems(404, 422),
        },
        response_class=Response,
        tags=["jobs"],
        summary="Follow a job",
    )
    async def get_events(
        job_id: str,
        last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$", description="go on after this event")] = None,
    ) -> Response:
        """Server-sent events: `progress` and `log` as they happen, `end` with the status when the job is over. Comments keep it alive."""
        return await stream(database, job_id, int(last_event_id or 0), room)

    @app.post(
        "/api/v1/jobs/{job_id}/cancel",
        response_model=answers.Cancelled,
        responses=answers.problems(403, 404, 409),
        tags=["jobs"],
        summary="Cancel a job",
    )
    async def cancel_job(job_id: str) -> Response:
        """A pending job is cancelled at once; one at work ends at its next step (202), or is ended."""
        told = await to_thread.run_sync(jobs.cancel, database, job_id)
        return JSONResponse(told, 200 if told["status"] == "cancelled" else 202)

    @app.delete("/api/v1/jobs/{job_id}", status_code=204, responses=answers.problems(403, 404, 409), tags=["jobs"], summary="Delete a job")
    async def delete_job(job_id: str) -> Response:
        """Forget a job and delete its files. One at work has to be cancelled first."""
        await to_thread.run_sync(jobs.remove, database, job_id)
        await to_thread.run_sync(files.remove, files.folder_of(pod, job_id))
        return Response(status_code=204)


def _fetching(app: FastAPI, pod: Pod, database: Database) -> None:
    @app.get(
        "/api/v1/jobs/{job_id}/output/{kind}",
        responses={200: {"content": {media: {} for media in _MEDIA.values()}}, **answers.problems(404, 422)},
        response_class=Response,
        tags=["files"],
        summary="A file that was made",
    )
    async def get_output(job_id: str, kind: str, download: bool = False) -> Response:
        """`kind`: svg, png, report, pdf; or an intermediate: clean_plate, matte, illustration, labels, depth, edges."""
        job = await to_thread.run_sync(jobs.brief, database, job_id)
        name = files.output_name(kind)
        if name is None:
            raise Problem(PodCode.NOT_FOUND, "There is no such kind of output: svg, png, report and pdf are.", job_id=job_id)
        if job.status != "completed":
            raise Problem(PodCode.NOT_FOUND, f"The job has no files: it is {job.status}.", job_id=job_id)
        path = files.folder_of(pod, job_id) / name
        if not path.is_file():
            raise Problem(PodCode.NOT_FOUND, f"The job's outputs did not ask for {kind}.", job_id=job_id)
        policy = {"report": _REPORT_POLICY, "pdf": _PDF_POLICY}.get(kind, _FILE_POLICY)
        return _served(path, _MEDIA[path.suffix], policy, f"{job_id}-{name}", download=download)

    @app.get(
        "/api/v1/jobs/{job_id}/input",
        responses={200: {"content": {media: {} for media in files.MEDIA.values()}}, **answers.problems(404)},
        response_class=Response,
        tags=["files"],
        summary="The photo that was sent",
    )
    async def get_input(job_id: str) -> Response:
        """The photo as it was sent. One that came as an address is not kept."""
        job = await to_thread.run_sync(jobs.brief, database, job_id)
        path = files.folder_of(pod, job_id) / files.PICTURE
        if job.picture is None or not path.is_file():
            raise Problem(PodCode.NOT_FOUND, "The photo came as an address and is not kept.", job_id=job_id)
        return _served(path, files.media_of(path), _FILE_POLICY, f"{job_id}-photo", download=False)

    @app.get(
        "/api/v1/sample",
        responses={200: {"content": {"image/jpeg": {}}}},
        response_class=Response,
        tags=["files"],
        summary="A sample photo",
    )
    async def get_sample() -> Response:
        """A photo of a vehicle, made by this project, to try the server with."""
        headers = {"Cache-Control": "private, max-age=3600"}
        return FileResponse(str(package_files("server") / "sample.jpg"), media_type="image/jpeg", headers=headers)


def _watching(app: FastAPI, pod: Pod, database: Database) -> None:
    @app.get("/health", response_model=answers.Health, tags=["server"], summary="Whether the server is alive")
    async def health() -> Response:
        """200 as long as the web process answers; nothing is asked of anybody."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", response_model=answers.Ready, responses=answers.problems(503), tags=["server"], summary="Whether jobs are done")
    async def ready() -> Response:
        """200 when an engine is warm; else 503 with the reason. Jobs are taken all the same."""
        return JSONResponse(await to_thread.run_sync(status.ready, database) | {"version": __version__})

    @app.get(
        "/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response, tags=["server"], summary="Prometheus metrics"
    )
    async def get_metrics() -> Response:
        """Counters, gauges and histograms in Prometheus' text format; docs/server.md lists them."""
        return Response(await to_thread.run_sync(metrics.exposition, database), media_type=CONTENT_TYPE_LATEST)

    @app.post("/", include_in_schema=False)
    async def enter(request: Request) -> Response:
        return await _enter(request, pod)


async def _enter(request: Request, pod: Pod) -> Response:
    """The sign-in form's answer: back to the page with a session, or the form again."""
    if pod.environment.api_key is None:
        return RedirectResponse("/", 303)
    given = parse_qs((await request.body()).decode("utf-8", "replace")).get("key", [""])[0]
    key = pod.environment.api_key.get_secret_value()
    if not sign_in.is_key(given, key):
        return sign_in.page("That is not the server's API key.")
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    return sign_in.signed_in(key, secure=secure)
