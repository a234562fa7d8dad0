"""The API's routes for training a style. What happens is in `server.training`, `server.trainer` and `server.unpack`."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from anyio import to_thread
from fastapi import FastAPI, Request
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from pipeline.errors import Code
from server import answers, files, training
from server.database import Database
from server.problems import PodCode, Problem
from server.routes import FILE_POLICY, REPORT_POLICY, form_of, served
from server.settings import Pod
from server.unpack import Limits, unpack

#: What a training imports; serving by the classical engine does without.
_PACKAGES = ("torch", "diffusers", "transformers", "peft")
_PICTURE = re.compile(r"[0-9a-f]{12}-[0-9]{3,4}\.png")
_FORM = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary", "description": "the zip"}}}
_SEND: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM, "example": {"file": "(pairs.zip)"}}}}
}


def lacking(pod: Pod) -> list[str]:
    """What this server needs to train and does not have, a sentence each."""
    volume, said = pod.environment.volume, []
    if volume is None:
        said.append("No model volume is named: set MODEL_VOLUME_PATH to the folder that python -m builder fetch --text has filled.")
    elif not volume.is_dir():
        said.append("MODEL_VOLUME_PATH names no folder; python -m builder fetch --text makes and fills it.")
    if absent := [name for name in _PACKAGES if find_spec(name) is None]:
        said.append(f"Not installed: {', '.join(absent)}. The image for cards and requirements.txt have them.")
    return said


def _folder(pod: Pod, name: str) -> Path:
    """Where the builder keeps what belongs to the training of a style (docs/style.md)."""
    return (pod.environment.volume or Path("/nowhere")) / ".builder" / "training" / name.removesuffix(".safetensors")


def _pairs(pod: Pod) -> dict[str, int]:
    """Ending → number of files to train with."""
    found: dict[str, int] = {}
    for path in (pod.training_folder / "pairs").rglob("*"):
        if path.is_file():
            kind = path.suffix.lower().removeprefix(".")
            found[kind] = found.get(kind, 0) + 1
    return dict(sorted(found.items()))


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown(pod: Pod, database: Database) -> dict[str, Any]:
    """All that is told of the training."""
    it = training.current(database)
    told = asdict(it.told if it else training.Told())
    style = told.pop("style")
    told.pop("error")
    return {
        "status": it.status if it else "none",
        "task": it.task if it else "train",
        "asked": it.asked.model_dump(exclude_none=True) if it else None,
        "started_at": _time(it.started_at if it else None),
        "finished_at": _time(it.finished_at if it else None),
        "stopping": it is not None and it.active and it.stop_at is not None,
        "error": it.error if it else None,
        **told,
        "trained": style is not None and Path(style).is_file(),
        "report": it is not None and (_folder(pod, it.asked.name) / "report.html").is_file(),
        "lacking": lacking(pod),
        "pairs": _pairs(pod),
        "logs": training.tail(pod.training_folder),
    }


def accept(file: IO[bytes], pod: Pod, database: Database) -> dict[str, int]:
    """Unpack a zip of pairs in place of those before. Raises `JobError`, `Problem`; then nothing changes."""
    with database.read() as connection:
        training.free(connection)
    limits = Limits(int(pod.environment.training_mb * 1e6), pod.max_bytes, pod.environment.training_files)
    folder, place, old = files.incoming(pod), pod.training_folder / "pairs", files.incoming(pod)
    try:
        found = unpack(file, folder, limits, lambda size: files.check_space(pod, size))
        place.parent.mkdir(parents=True, exist_ok=True)
        with database.write() as connection:  # alone, so that none begins with half of each
            training.free(connection)
            if place.exists():
                place.rename(old / "pairs")
            folder.rename(place)
    except BaseException as error:
        if files.is_full(error):
            raise files.full() from error
        raise
    finally:
        files.remove(folder)
        files.remove(old)
    return found


def _ask(asked: training.Asked, pod: Pod, database: Database) -> None:
    if absent := lacking(pod):
        raise Problem(PodCode.CONFLICT, f"This server cannot train. {' '.join(absent)}")
    if not (pod.training_folder / "pairs").is_dir():
        raise Problem(PodCode.CONFLICT, "There are no pairs yet: send them as a zip first (POST /api/v1/training/pairs).")
    training.start(database, asked)


def add(app: FastAPI, pod: Pod, database: Database) -> None:
    """Give the application these routes."""
    _acting(app, pod, database)
    _fetching(app, pod, database)


def _acting(app: FastAPI, pod: Pod, database: Database) -> None:
    about: dict[str, Any] = {"tags": ["training"], "response_model": answers.Training}

    async def told(status: int) -> Response:
        return JSONResponse(await to_thread.run_sync(shown, pod, database), status)

    @app.get("/api/v1/training", responses=answers.problems(), summary="The training of a style", **about)
    async def get_training() -> Response:
        """How it stands: progress, losses, validation pictures, the log's end; what this server lacks to train."""
        return await told(200)

    @app.post(
        "/api/v1/training/pairs",
        responses=answers.problems(400, 403, 408, 409, 413, 415, 422, 503),
        openapi_extra=_SEND,
        summary="Send pairs to train with",
        **about,
    )
    async def post_pairs(request: Request) -> Response:
        """A zip of photographs and drawings in place of those before: side by side, or in photos, drawings, captions."""
        form = await form_of(request, pod, 1)
        try:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise Problem(Code.INVALID_INPUT, "file: must be a zip file (with curl: -F file=@pairs.zip).")
            await to_thread.run_sync(accept, file.file, pod, database)
        finally:
            await form.close()
        return await told(200)

    @app.post("/api/v1/training", status_code=202, responses=answers.problems(400, 403, 409, 422), summary="Train a style", **about)
    async def post_training(asked: training.Asked) -> Response:
        """Begin, or go on after the last whole epoch of a training of the same name, options and pairs. The engines end first."""
        await to_thread.run_sync(_ask, asked, pod, database)
        return await told(202)

    @app.post("/api/v1/training/stop", status_code=202, responses=answers.problems(403, 409), summary="Stop the training", **about)
    async def post_stop() -> Response:
        """It ends within KILL_GRACE_SECONDS; started again, it goes on."""
        await to_thread.run_sync(training.stop, database)
        return await told(202)

    @app.post("/api/v1/training/install", status_code=202, responses=answers.problems(403, 409), summary="Install the style", **about)
    async def post_install() -> Response:
        """What `python -m builder add-style` does, by the trained style; the engines start again with it."""
        await to_thread.run_sync(training.install, database)
        return await told(202)


def _fetching(app: FastAPI, pod: Pod, database: Database) -> None:
    def about(media: str) -> dict[str, Any]:
        responses = {200: {"content": {media: {}}}, **answers.problems(404)}
        return {"tags": ["training"], "responses": responses, "response_class": Response}

    def place() -> Path:
        it = training.current(database)
        if it is None:
            raise Problem(PodCode.NOT_FOUND, "No style was trained here.")
        return _folder(pod, it.asked.name)

    @app.get("/api/v1/training/style", summary="The trained LoRA", **about("application/octet-stream"))
    async def get_style() -> Response:
        """The style as safetensors, with its metadata."""
        try:
            path = await to_thread.run_sync(lambda: training.trained(training.current(database)))
        except Problem as problem:
            raise Problem(PodCode.NOT_FOUND, problem.sentence) from None
        return served(path, "application/octet-stream", FILE_POLICY, path.name, download=True)

    @app.get("/api/v1/training/report", summary="The page about the training", **about("text/html"))
    async def get_report() -> Response:
        """Losses, the pictures of each epoch, all pairs; written after each epoch."""
        path = await to_thread.run_sync(place) / "report.html"
        if not path.is_file():
            raise Problem(PodCode.NOT_FOUND, "There is no page yet; the first is written when the training begins.")
        return served(path, "text/html; charset=utf-8", REPORT_POLICY, f"{path.parent.name}-report.html", download=False)

    @app.get("/api/v1/training/pictures/{name}", summary="A validation picture", **about("image/png"))
    async def get_picture(name: str) -> Response:
        """A pair that was held back, drawn after an epoch; epoch 0 is without the style."""
        path = await to_thread.run_sync(place) / "pictures" / name
        if not _PICTURE.fullmatch(name) or not path.is_file():
            raise Problem(PodCode.NOT_FOUND, "There is no such picture.")
        return served(path, "image/png", FILE_POLICY, name, download=False)
