"""An answer's files: gathered in a staging folder, kept once for each task, and given to every item under its id."""

import asyncio
import base64
import binascii
import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from batch.http import check_passing, patient
from batch.values import Answer, Task, Unavailable
from delivery import RESULT_NAME
from pipeline.errors import Code, JobError
from pipeline.intake.photo import Limits, decode

#: Where the files of an id lie, and where each task's are kept; both hold the same files (hard links where the disk has them).
FILES, KEPT = "files", ".kept"
#: Longest side of the pictures of the gallery, pixels, and their WebP quality.
_SHOWN_SIDE, _QUALITY = 960, 76
BEFORE, AFTER = "before.webp", "after.webp"
#: A name that a file of an answer may have.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.[a-z]{1,5}")


def staging_of(folder: Path, key: str) -> Path:
    """Where a task's files are gathered."""
    return folder / ".staging" / key


def kept_of(folder: Path, key: str) -> Path:
    """Where a task's files are kept."""
    return folder / KEPT / key[:2] / key


def is_kept(folder: Path, key: str) -> bool:
    """Whether an earlier process put all of a task's files into their place."""
    return kept_of(folder, key).exists() and not staging_of(folder, key).exists()


def take(folder: Path, task: Task, answer: Answer) -> tuple[Answer, dict[str, Any] | None]:
    """Write the files that came within the answer. Gives the answer without them, and what `keep` gives where no other file has to be
    fetched, else None. Raises `DELIVERY_FAILED`, OSError."""
    staging = staging_of(folder, task.key)
    left = {}
    for name, url in answer.files.items():
        if not _NAME.fullmatch(name):
            continue
        if not url.startswith("data:"):
            left[name] = url
            continue
        try:
            data = base64.b64decode(url.partition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            raise JobError(Code.DELIVERY_FAILED, f"{name} in the answer is no base64.") from None
        _made(staging)
        (staging / name).write_bytes(data)
    taken = Answer(answer.result, left, answer.error, answer.seconds, answer.passing)
    return taken, None if left else keep(folder, task.key, answer.result or {}, task.photo)


def _made(folder: Path) -> None:
    """Make a folder that mostly has its parent and is not there: the first try is then the only call to the system."""
    try:
        folder.mkdir()
    except OSError:
        folder.mkdir(parents=True, exist_ok=True)


def _moved(new: Path, target: Path) -> None:
    """Put a folder into its place; what was there goes."""
    try:
        new.rename(target)
    except OSError:  # there is one already, or its parent is missing
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        new.rename(target)


async def download(session: aiohttp.ClientSession, url: str, into: Path, headers: Mapping[str, str]) -> None:
    """Store what lies at an http(s) address. Raises `DELIVERY_FAILED`."""

    async def once() -> None:
        async with session.get(url, headers=headers) as response:
            check_passing(response.status, response.headers)
            if response.status != 200:
                raise JobError(Code.DELIVERY_FAILED, f"{into.name} cannot be fetched: its address answers with status {response.status}.")
            with into.open("wb") as file:
                async for chunk in response.content.iter_chunked(1 << 16):
                    file.write(chunk)

    into.parent.mkdir(parents=True, exist_ok=True)
    try:
        await patient(once, f"The address of {into.name}", 30.0)
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError):
        raise JobError(Code.DELIVERY_FAILED, f"{into.name} cannot be fetched: the answer names no http(s) address.") from None
    except Unavailable as fault:
        raise JobError(Code.DELIVERY_FAILED, f"{into.name} cannot be fetched: {fault}") from fault


def keep(folder: Path, key: str, result: Mapping[str, Any], photo: Path | None) -> dict[str, Any]:
    """Put a task's gathered files into their place, with pictures for the gallery; what the gallery has to know of them.

    `shown`: `files`, the names; `rect`: where the upright photo lies in the drawing, left, top, width and height as fractions of the
    drawing's; absent where the result has no frame.
    """
    staging, kept = staging_of(folder, key), kept_of(folder, key)
    if is_kept(folder, key):
        return _shown(kept, result)
    _made(staging)
    if photo is not None:
        _before(photo, staging / BEFORE)
    _after(staging / "preview.png", staging / AFTER)
    (staging / RESULT_NAME).write_text(json.dumps(dict(result), ensure_ascii=False), "utf-8", "replace")
    _moved(staging, kept)
    return _shown(kept, result)


def _shown(kept: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(path.name for path in kept.iterdir())
    return {"files": names} | ({"rect": rect} if (rect := _rect(kept / "illustration.svg", result.get("frame"))) else {})


def _before(photo: Path, into: Path) -> None:
    try:
        rgb = decode(photo.read_bytes(), Limits()).rgb
    except (OSError, JobError):  # taken away or changed since it was sent: the gallery shows no photo then
        return
    _small(Image.fromarray(rgb), into)


def _after(preview: Path, into: Path) -> None:
    if not preview.exists():
        return
    try:
        with Image.open(io.BytesIO(preview.read_bytes()), formats=["PNG"]) as image:
            _small(image, into)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # a file from outside, which stays as it came
        return


def _small(image: Image.Image, into: Path) -> None:
    image.draft("RGB", (_SHOWN_SIDE, _SHOWN_SIDE))
    image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE), reducing_gap=2.0)
    image.save(into, "WEBP", quality=_QUALITY, method=2)


def _rect(svg: Path, frame: object) -> list[float] | None:
    """The upright photo in the SVG's viewBox, fractions: left, top, width, height."""
    if not isinstance(frame, Mapping) or not svg.exists():
        return None
    with svg.open("rb") as file:
        found = re.search(rb'viewBox="([-0-9. e+]+)"', file.read(2000))
    try:
        x, y, width, height = (
            (float(part) for part in found[1].split()) if found else (0.0, 0.0, float(frame["width"]), float(frame["height"]))
        )
        scale = float(frame["scale"])
        left, top = (float(frame["x0"]) - x) / width, (float(frame["y0"]) - y) / height
        return [round(v, 5) for v in (left, top, frame["photo_width"] * scale / width, frame["photo_height"] * scale / height)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def place(folder: Path, key: str, name: str) -> None:
    """Give the item of this id the task's files, all at once; what an earlier task left there goes."""
    new = folder / ".staging" / f"{key}.place"
    if new.exists():  # of a process that was killed
        shutil.rmtree(new)
    _made(new)
    for path in kept_of(folder, key).iterdir():
        try:
            os.link(path, new / path.name)
        except OSError:  # a disk without hard links
            shutil.copy2(path, new / path.name)
    _moved(new, folder / FILES / name)


async def fetch_all(session: aiohttp.ClientSession, files: Mapping[str, str], staging: Path, headers: Any) -> None:
    """Fetch the files that lie elsewhere. Raises `DELIVERY_FAILED`."""
    await asyncio.gather(*(download(session, url, staging / name, headers(url)) for name, url in files.items()))
