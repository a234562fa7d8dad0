"""What a batch speaks of: a picture to make, a task, an answer, and the ways a run can end early."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batch.protocol import LASTING
from pipeline.errors import Code
from pipeline.palette import shown


class WrongUse(Exception):  # noqa: N818 - a refusal, not a fault
    """The run cannot begin or go on as it was asked for; the message is one sentence (exit status 2)."""


class Unavailable(Exception):  # noqa: N818 - the sentence of a run that ends early
    """The endpoint did not answer for so long that the run ends; the same command goes on later (exit status 3)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the source. `keys`: the job's, without pictures that are files here; `photo` and `matte`: these files; `identity` says what
    picture it is: its digest, its URL, or an S3 object's ETag and size."""

    id: str
    origin: str
    keys: Mapping[str, Any]
    identity: str
    photo: Path | None = None
    matte: Path | None = None
    matte_identity: str = ""

    @property
    def task(self) -> str:
        """The digest of the work that the item stands for: two items with the same one are drawn once. The picture's address does not
        count where its content is known."""
        keys = {key: value for key, value in self.keys.items() if key != "image_url"}
        said = json.dumps([keys, self.identity, self.matte_identity], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Task:
    """One job to be done. `tries`: how often it was answered so far; `remote`: its id at the endpoint while it is there."""

    key: str
    keys: Mapping[str, Any]
    photo: Path | None
    matte: Path | None
    tries: int
    remote: str | None = None

    @property
    def sending(self) -> str:
        """A name for this try of the task: an answer to an earlier one that arrives late is none to it."""
        return f"{self.key}-{self.tries}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine answered: a result with its files (name → `data:` or http(s) address), or an error `CODE: sentence`.

    `seconds` of execution, which cost money; `passing`: the same job may succeed later.
    """

    result: Mapping[str, Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    passing: bool = False


def failed(error: str, seconds: float = 0.0) -> Answer:
    """The answer of a failed job. What has no code of ours (a lost worker, a traceback) may pass; of it the last line is kept."""
    code = error.partition(":")[0]
    if code not in Code.__members__:
        lines = error.strip().splitlines() or ["the endpoint gave no reason"]
        return Answer(error=f"{Code.INTERNAL}: {shown(lines[-1].strip(), 500)}", seconds=seconds, passing=True)
    return Answer(error=shown(" ".join(error.split()), 1000), seconds=seconds, passing=code not in LASTING)


#: Key of the result → the file's name.
FILES: Final = {
    "svg_url": "illustration.svg",
    "png_url": "preview.png",
    "report_url": "report.html",
    "pdf_url": "illustration.pdf",
}


def completed(result: Mapping[str, Any], seconds: float) -> Answer:
    """The answer of a completed job. Its files' addresses are taken out of the result; what is left of it are facts."""
    files = {name: str(result[key]) for key, name in FILES.items() if result.get(key)}
    pictures = result.get("intermediates")
    if isinstance(pictures, Mapping):
        files |= {f"{name}.png": str(url) for name, url in pictures.items()}
    facts = {key: value for key, value in result.items() if key not in FILES and key != "intermediates"}
    return Answer(facts, files, None, seconds)
