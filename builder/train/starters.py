"""Pairs to begin with: photographs and what the classical engine draws of them, as SVG for a designer to correct in place.

A corrected SVG is the pair's drawing from then on: nothing that is there is ever written over.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, WrongOption
from builder.train.files import write_bytes
from builder.train.options import Hear
from builder.train.pictures import PICTURES, Unreadable, read_photo
from pipeline import engines
from pipeline import settings as configuration
from pipeline.errors import JobError
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.settings import SettingsError

#: What a job's folder holds of a pair: the vehicle's square without what was removed, and its drawing. `outputs`: svg, intermediates.
_PLATE, _SVG = "clean_plate.png", "illustration.svg"


@dataclass(frozen=True, slots=True)
class _Source:
    """One pair to be: its name, its photograph, and where the drawing is there already, that."""

    stem: str
    photo: Path
    drawing: Path | None


def make_pairs(source: Path, out: Path, config: Path | None, hear: Hear) -> int:
    """Fill `out` with a pair for each photograph of `source`, and for each job's folder in it; how many drawings are new.

    Raises `WrongOption` for a folder without either; `BuilderError` that names each photograph that could not be drawn, after all others
    were.
    """
    if not source.is_dir():
        raise WrongOption(f"There is no folder {source} of photographs.")
    sources = list(_sources(source))
    if not sources:
        raise WrongOption(f"{source} holds neither photographs nor folders of jobs with {_SVG} and {_PLATE} (outputs: svg, intermediates).")
    names = [one.stem.lower() for one in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise WrongOption(f"Several photographs are of one name: {', '.join(twice)}.")
    todo = [one for one in sources if not _has_drawing(out, one.stem)]
    if kept := len(sources) - len(todo):
        hear("told", {"sentence": f"{kept} drawings are there and stay as they are"})
    try:
        drawn = _Engine(config) if any(one.drawing is None for one in todo) else None
    except (SettingsError, JobError) as error:
        raise BuilderError(str(getattr(error, "sentence", error))) from error
    failed = []
    for done, one in enumerate(todo):
        hear("prepare", {"done": done, "of": len(todo), "pair": one.stem})
        try:
            svg = one.drawing.read_bytes() if one.drawing else drawn.draw(one.photo)  # type: ignore[union-attr]
        except (JobError, Unreadable) as error:
            failed.append(f"\n  {one.photo.name}: {str(getattr(error, 'sentence', error)).rstrip('.')}")
            continue
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.photo, out / f"{one.stem}.photo{one.photo.suffix.lower()}")
        write_bytes(out / f"{one.stem}.svg", svg)
    hear("pairs", {"folder": str(out), "new": len(todo) - len(failed), "kept": kept, "failed": len(failed)})
    if failed:
        raise BuilderError(f"{len(failed)} photographs could not be drawn.{''.join(failed)}")
    return len(todo)


def _sources(source: Path) -> Iterator[_Source]:
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    jobs = [folder for folder in folders if (folder / _SVG).is_file() and (folder / _PLATE).is_file()]
    for folder in jobs:
        yield _Source(folder.resolve().name, folder / _PLATE, folder / _SVG)
    if source in jobs:
        return
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name[0] != "." and path.suffix.lower() in PICTURES - {".svg"}:
            yield _Source(path.stem, path, None)


def _has_drawing(out: Path, stem: str) -> bool:
    return any((out / f"{stem}{ending}").is_file() for ending in PICTURES)


class _Engine:
    """The classical engine, built once."""

    def __init__(self, config: Path | None) -> None:
        environment = configuration.environment().model_copy(update={"engine": "classical"})
        self._settings = configuration.load(config or environment.pipeline_config)
        self._steps = engines.build(environment, self._settings)

    def draw(self, path: Path) -> bytes:
        """The photograph's SVG, of the photograph's aspect. Raises `JobError`, `Unreadable`."""
        job = Job(image_base64="-", canvas="photo", outputs=["svg"])
        return run(read_photo(path), None, job, self._steps, self._settings, Progress()).drawing.svg
