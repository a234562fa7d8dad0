"""The training of a style, as a value in the database: one at a time, asked for by the API, run by `server.trainer`.

While one is asked for or runs, no engine works: the engines end when their jobs have, then it begins, and they start again after it.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from server.database import Database, trainings
from server.problems import PodCode, Problem

Task = Literal["train", "install"]
Over = Literal["completed", "failed", "stopped", "interrupted"]
ACTIVE = frozenset({"waiting", "running"})
#: An engine's exit status: it ended to make room for a training.
MADE_ROOM = 5
#: The log's file, of which one older is kept, and how many of its lines are told.
LOG, TAIL = "training.log", 200
SENTENCE = "A style is being trained; the engines start again when it has ended."
INTERRUPTED = "The process that trained has ended; started again, it goes on."
#: Validation pictures that are known at most, besides those from before the first epoch.
PICTURES = 40
#: Problems of the pairs, and characters of a sentence, that are kept at most.
PROBLEMS, SENTENCE_LENGTH = 200, 2000


class Asked(BaseModel):
    """What a training may be asked for: the options of `python -m builder train-style`, whose defaults apply."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$", description="the style's name", examples=["flat"])
    trigger: str | None = Field(None, max_length=200, description="words before every caption and prompt", examples=["<flt_vctr_style>"])
    licence: str | None = Field(None, max_length=200, description="what may be done with the style", examples=["CC BY 4.0"])
    epochs: int | None = Field(None, ge=1, le=1000, examples=[10])
    patience: int | None = Field(None, ge=1, le=1000, description="epochs without getting better that end it", examples=[3])
    rank: int | None = Field(None, ge=1, le=256, examples=[32])
    alpha: float | None = Field(None, ge=0.001, le=10_000, examples=[16.0])
    rate: float | None = Field(None, ge=1e-8, le=1.0, description="AdamW's learning rate", examples=[1e-4])
    noise_offset: float | None = Field(None, ge=0.0, le=1.0, examples=[0.0])
    mirror: bool | None = Field(None, description="show each pair mirrored half of the time", examples=[True])
    seed: int | None = Field(None, ge=0, le=2**32 - 1, examples=[42])
    anew: bool = Field(False, description="forget what was trained under this name")
    insist: bool = Field(False, description="train without a card too")

    def arguments(self) -> list[str]:
        """As the command takes them."""
        given = self.model_dump(exclude_none=True)
        return [_argument(name, value) for name, value in given.items() if value is not False or name == "mirror"]


def _argument(name: str, value: object) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={value}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a training has told. `part` is check, prepare or step, `done` of `of` how far that is; `epochs` and `pictures` in order."""

    part: str = ""
    done: int = 0
    of: int = 0
    loss: float | None = None
    sentence: str = ""
    error: str = ""
    epochs: tuple[Mapping[str, Any], ...] = ()
    pictures: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[str, ...] = ()
    style: str | None = None
    installed: bool = False
    optimizer: str = ""


def heard(told: Told, event: Mapping[str, Any]) -> Told:
    """What is known after one more line of the command's `--json`; a line of another kind changes nothing."""
    return replace(told, **_changed(told, event))


def _changed(told: Told, event: Mapping[str, Any]) -> dict[str, Any]:
    match event.get("event"):
        case "check" | "prepare" as part:
            changed = {"part": part, "done": int(event["done"]), "of": int(event["of"])}
        case "training":
            changed = {"part": "step", "done": int(event["step"]), "of": int(event["steps"]), "optimizer": str(event["optimizer"])}
            if not event["step"]:  # from the beginning: nothing of before counts
                changed["epochs"] = ()
        case "step":
            changed = {"part": "step", "done": int(event["step"]), "of": int(event["steps"]), "loss": float(event["loss"])}
        case "epoch":
            epoch = {key: event[key] for key in ("epoch", "loss", "judged", "seconds")}
            changed = {"epochs": (*(one for one in told.epochs if one["epoch"] < epoch["epoch"]), epoch)}
        case "picture":
            changed = {"pictures": _with(told.pictures, event)}
        case "told":
            changed = {"sentence": str(event["sentence"])[:SENTENCE_LENGTH]}
        case "failed":
            problems = tuple(str(one)[:SENTENCE_LENGTH] for one in event["problems"][:PROBLEMS])
            changed = {"error": str(event["sentence"]).partition("\n")[0][:SENTENCE_LENGTH], "problems": problems}
        case "done":
            changed = {"sentence": str(event["sentence"]), "style": str(event["style"])}
        case _:
            changed = {}
    return changed


def _with(pictures: tuple[Mapping[str, Any], ...], event: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The pictures and one more, by epoch: those from before the first, and the last ones."""
    picture = {"epoch": int(event["epoch"]), "pair": str(event["pair"]), "name": Path(event["file"]).name}
    others = sorted((one for one in (*pictures, picture) if one["name"] != picture["name"] or one is picture), key=lambda one: one["epoch"])
    first, later = ([one for one in others if (one["epoch"] == 0) is begins] for begins in (True, False))
    return (*first, *later[-PICTURES:])


@dataclass(frozen=True, slots=True)
class Training:
    """The training as it stands."""

    task: Task
    status: str
    asked: Asked
    told: Told
    started_at: float
    finished_at: float | None
    stop_at: float | None
    error: str | None

    @property
    def active(self) -> bool:
        """Whether it is asked for, or runs."""
        return self.status in ACTIVE


def _training(row: Row[Any]) -> Training:
    kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.told.items()}
    return Training(row.task, row.status, Asked(**row.asked), Told(**kept), row.started_at, row.finished_at, row.stop_at, row.error)


def _find(connection: Connection) -> Training | None:
    row = connection.execute(select(trainings)).first()
    return None if row is None else _training(row)


def current(database: Database) -> Training | None:
    """The training that runs, else the last one."""
    with database.read() as connection:
        return _find(connection)


def _active(connection: Connection) -> bool:
    return connection.execute(select(trainings.c.only).where(trainings.c.status.in_(ACTIVE))).first() is not None


def holds(database: Database) -> bool:
    """Whether a training keeps the engines from working."""
    with database.read() as connection:
        return _active(connection)


def refuse(connection: Connection) -> None:
    """Raises `CONFLICT` while a training is asked for or runs."""
    if _active(connection):
        sentence = "A style is being trained, and this server takes no jobs meanwhile (WHILE_TRAINING); send it when that has ended."
        raise Problem(PodCode.CONFLICT, sentence, headers={"Retry-After": "60"})


def free(connection: Connection) -> None:
    """Raises `CONFLICT` unless another training may be asked for, and its pairs exchanged."""
    if _active(connection):
        raise Problem(PodCode.CONFLICT, "A training is under way; wait for its end, or stop it.")


def start(database: Database, asked: Asked) -> None:
    """Ask for a training. Raises `CONFLICT` where one is under way. What one of the same name told stays until the new one tells more."""
    with database.write() as connection:
        free(connection)
        before = _find(connection)
        same = before is not None and before.asked.name == asked.name and not asked.anew
        told = Told(epochs=before.told.epochs, pictures=before.told.pictures) if before is not None and same else Told()
        values = {"task": "train", "status": "waiting", "asked": asked.model_dump(), "told": asdict(told), "started_at": time.time()}
        values |= {"finished_at": None, "stop_at": None, "error": None}
        connection.execute(upsert(trainings).values(only=1, **values).on_conflict_do_update(index_elements=["only"], set_=values))


def install(database: Database) -> None:
    """Ask for the trained style to be installed. Raises `CONFLICT` where there is none, or a training is under way."""
    with database.write() as connection:
        free(connection)
        trained(_find(connection))
        connection.execute(update(trainings).values(task="install", status="waiting", finished_at=None, stop_at=None, error=None))


def trained(training: Training | None) -> Path:
    """The file of the trained style. Raises `CONFLICT` where there is none."""
    path = None if training is None or training.told.style is None else Path(training.told.style)
    if path is None or not path.is_file():
        raise Problem(PodCode.CONFLICT, "There is no trained style: no training has ended well, or its file was removed.")
    return path


def stop(database: Database) -> None:
    """Ask for the training's end. Raises `CONFLICT` where none is under way."""
    with database.write() as connection:
        if not _active(connection):
            raise Problem(PodCode.CONFLICT, "No training is under way.")
        connection.execute(update(trainings).where(trainings.c.stop_at.is_(None)).values(stop_at=time.time()))


def tail(folder: Path) -> list[str]:
    """The last lines of the log."""
    lines: list[str] = []
    for name in (f"{LOG}.1", LOG):
        with suppress(FileNotFoundError):
            lines += (folder / name).read_text("utf-8", "replace").splitlines()
    return lines[-TAIL:]


def begin(database: Database) -> None:
    """Note that it runs."""
    with database.write() as connection:
        connection.execute(update(trainings).values(status="running"))


def note(database: Database, told: Told) -> None:
    """Keep what it has told."""
    with database.write() as connection:
        connection.execute(update(trainings).values(told=asdict(told)))


def end(database: Database, status: Over, told: Told, error: str | None) -> None:
    """Note how it ended."""
    values = {"status": status, "told": asdict(told), "error": error, "finished_at": time.time()}
    with database.write() as connection:
        connection.execute(update(trainings).values(**values))


def interrupt(database: Database, *, waiting: bool = False) -> None:
    """Note that what ran, or also what waits, has ended without a word. For the holder of the training's lock."""
    values = {
        "status": "interrupted",
        "error": INTERRUPTED,
        "finished_at": time.time(),
    }
    ended = ACTIVE if waiting else ("running",)
    with database.write() as connection:
        connection.execute(update(trainings).where(trainings.c.status.in_(ended)).values(**values))
