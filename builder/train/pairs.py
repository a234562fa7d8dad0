"""The pairs of a folder: photographs and drawings of the same stem, all checked before anything is loaded. No torch.

```
FOLDER/photos/STEM.jpg    FOLDER/drawings/STEM.svg    FOLDER/captions/STEM.txt      or, all in one folder:
FOLDER/STEM.photo.jpg     FOLDER/STEM.svg             FOLDER/STEM.txt
```

A drawing is an SVG or a picture of the photograph's aspect. A caption is optional, and may lie beside photograph or drawing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import WrongOption
from builder.train.pictures import PICTURES, Unreadable, read_drawing, read_photo, same_aspect

#: Fewer pairs teach the vehicles themselves and not their style; 80/20 leaves one of them to judge by.
LEAST = 5
#: What marks a photograph's name where all files lie in one folder.
_MARK = ".photo"
_IGNORED = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Pair:
    """One photograph and its drawing. `caption` None: the default prompt; `digest` sha256 of both files, hex."""

    stem: str
    photo: Path
    drawing: Path
    caption: str | None
    digest: str


class WrongPairs(WrongOption):
    """Pairs that cannot be used; `problems` names each, one sentence without a stop."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{folder} cannot be trained with as it is; nothing was loaded.{listed}")
        self.problems = problems


@dataclass(slots=True)
class _Files:
    """What belongs to one stem."""

    photos: list[Path]
    drawings: list[Path]
    captions: list[Path]


def read_pairs(folder: Path, progress: Callable[[int, int], None]) -> list[Pair]:
    """All pairs of a folder, by stem. `progress(done, of)` while pictures are read.

    Raises `WrongPairs` that names everything that is wrong, `WrongOption` where there is no folder.
    """
    if not folder.is_dir():
        raise WrongOption(f"There is no folder {folder} of pairs.")
    problems: list[str] = []
    pairs: list[Pair] = []
    by_stem = _by_stem(folder, problems)
    for done, (key, files) in enumerate(sorted(by_stem.items())):
        progress(done, len(by_stem))
        found = list(_alone(key, files)) or [problem for path in (files.photos[0], files.drawings[0]) for problem in _reading(path)]
        problems += found
        if not found:
            pairs += _pair(files, problems)
    problems += _twice(pairs)
    if len(pairs) < LEAST:
        problems.append(f"{len(pairs)} whole pairs: at least {LEAST} are needed, and a style wants about 50")
    if problems:
        raise WrongPairs(folder, problems)
    return pairs


def _by_stem(folder: Path, problems: list[str]) -> dict[str, _Files]:
    """Stem in lower case → its files."""
    found: dict[str, _Files] = defaultdict(lambda: _Files([], [], []))
    apart = (folder / "photos").is_dir() or (folder / "drawings").is_dir()
    for path in sorted(_files(folder, ("", "photos", "drawings", "captions") if apart else ("",))):
        stem, ending, place = path.stem, path.suffix.lower(), path.parent.name if apart and path.parent != folder else ""
        marked = not apart and stem.lower().endswith(_MARK)
        key = (stem[: -len(_MARK)] if marked else stem).lower()
        if ending == ".txt":
            found[key].captions.append(path)
        elif ending not in PICTURES or (apart and place not in {"photos", "drawings"}):
            problems.append(f"{path.relative_to(folder)}: it is neither photograph nor drawing nor caption")
        elif marked or place == "photos":
            found[key].photos.append(path)
        else:
            found[key].drawings.append(path)
    return found


def _files(folder: Path, places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        if (folder / place).is_dir():
            yield from (
                path for path in (folder / place).iterdir() if path.is_file() and path.name[0] != "." and path.name.lower() not in _IGNORED
            )


def _alone(stem: str, files: _Files) -> Iterator[str]:
    """What a stem has too few or too many of."""
    if not files.photos and not files.drawings:
        yield f"{files.captions[0].name}: a caption without photograph and drawing"
    elif not files.photos:
        yield f"{files.drawings[0].name}: a drawing without photograph"
    elif not files.drawings:
        yield f"{files.photos[0].name}: a photograph without drawing"
    for paths in (files.photos, files.drawings, files.captions):
        if len(paths) > 1:
            yield f"{stem}: {' and '.join(path.name for path in paths)} are of one name"


def _reading(path: Path) -> Iterator[str]:
    if not path.stat().st_size:
        yield f"{path.name}: it is empty"


def _pair(files: _Files, problems: list[str]) -> list[Pair]:
    """The pair, or none and what is wrong with it."""
    photo, drawing = files.photos[0], files.drawings[0]
    sizes, wrong = [], []
    for path, read in ((photo, read_photo), (drawing, read_drawing)):
        try:
            height, width = read(path).rgb.shape[:2]
            sizes.append((width, height))
        except Unreadable as error:
            wrong.append(f"{path.name}: {error}")
    caption = None
    if files.captions:
        try:
            caption = " ".join(files.captions[0].read_text(encoding="utf-8-sig").split()) or None
        except (OSError, UnicodeDecodeError):
            wrong.append(f"{files.captions[0].name}: it is not text in UTF-8")
    if not wrong and not same_aspect(*sizes):
        (width, height), (other_width, other_height) = sizes
        wrong.append(
            f"{drawing.name}: it is of {other_width} × {other_height}, its photograph of {width} × {height}: "
            "a drawing must have its photograph's aspect (canvas: photo makes such SVGs)"
        )
    problems += wrong
    digest = hashlib.sha256(photo.read_bytes() + drawing.read_bytes()).hexdigest()
    return [] if wrong else [Pair(drawing.stem, photo, drawing, caption, digest)]


def _twice(pairs: list[Pair]) -> Iterator[str]:
    """Files of the same content: one vehicle would count twice, and be judged by what it was trained with."""
    for files in ([pair.photo for pair in pairs], [pair.drawing for pair in pairs]):
        seen: dict[str, Path] = {}
        for path in files:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest in seen:
                yield f"{path.name}: it is the same picture as {seen[digest].name}"
            seen.setdefault(digest, path)
