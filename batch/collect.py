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
from batch.values import Answer, Unavailable
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


def stage_inline(answer: Answer, staging: Path) -> Answer:
    """Write the files that came within the answer; the answer without them. Raises `DELIVERY_FAILED`."""
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
        staging.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(data)
    return Answer(answer.result, left, answer.error, answer.seconds, answer.passing)


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
    staging.mkdir(parents=True, exist_ok=True)
    if photo is not None:
        _before(photo, staging / BEFORE)
    _after(staging / "preview.png", staging / AFTER)
    (staging / RESULT_NAME).write_text(json.dumps(dict(result), ensure_ascii=False), "utf-8")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(kept, ignore_errors=True)
    staging.rename(kept)
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
    target, kept = folder / FILES / name, kept_of(folder, key)
    new = folder / ".staging" / f"{key}.place"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for path in kept.iterdir():
        try:
            os.link(path, new / path.name)
        except OSError:  # a disk without hard links
            shutil.copy2(path, new / path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


async def fetch_all(session: aiohttp.ClientSession, files: Mapping[str, str], staging: Path, headers: Any) -> None:
    """Fetch the files that lie elsewhere. Those at `file://` addresses are where this process has put them. Raises `DELIVERY_FAILED`."""
    wanted = {name: url for name, url in files.items() if not url.startswith("file://") and _NAME.fullmatch(name)}
    await asyncio.gather(*(download(session, url, staging / name, headers(url)) for name, url in wanted.items()))
