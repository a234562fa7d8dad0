"""What a job may name: palettes and presets, from the project's own files and from folders of the deployment.

Files are read when a job names something, so that a folder takes new ones while the process runs.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import Code, JobError
from pipeline.palette import Palette, parse, shown

SHIPPED_PALETTES, SHIPPED_PRESETS = Path(__file__).with_name("palettes.yaml"), Path(__file__).with_name("job_presets")
_SUFFIXES = (".yaml", ".yml", ".json")  # YAML 1.2 holds JSON
#: Characters of names that a sentence lists.
_LISTED = 240


@dataclass(frozen=True, slots=True)
class Library:
    """The deployment's folders; None where it has none. What stands there wins over what the project ships under the same name."""

    palettes: Path | None = None
    presets: Path | None = None

    def palette(self, name: str) -> Palette:
        """A named palette. Raises `INVALID_PALETTE`: there is none of that name (the sentence lists those that there are), two files of the
        deployment have it, or its file is wrong (the sentence names file and palette)."""
        own = [(file, _read(file, yaml.BaseLoader, Code.INVALID_PALETTE)) for file in _files(self.palettes)]
        shipped = _read(SHIPPED_PALETTES, yaml.BaseLoader, Code.INVALID_PALETTE)
        holding = [(file, named[name]) for file, named in own if name in named]
        if len(holding) > 1:
            both = " and ".join(file.name for file, _ in holding[:2])
            raise JobError(Code.INVALID_PALETTE, f"The palette {shown(name)} stands in two files, {both}; leave it in one.")
        if not holding and name not in shipped:
            names = {key for _, named in own for key in named} | set(shipped)
            raise JobError(Code.INVALID_PALETTE, _unknown("palette_name", "palette", name, sorted(map(str, names))))
        file, colors = holding[0] if holding else (SHIPPED_PALETTES, shipped[name])
        where = f"{file.name}, palette {shown(name)}"
        if not isinstance(colors, str | list):
            raise JobError(Code.INVALID_PALETTE, f"{where}: must be a list of colours or one comma-separated text.")
        try:
            return parse(colors)
        except JobError as error:
            hint = ""
            if isinstance(colors, list) and "" in colors:
                hint = " In YAML a colour with # stands in quotation marks."
            raise JobError(error.code, f"{where}: {error.sentence}{hint}") from None

    def preset(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """A preset's file, by its name, and the keys in it, unchecked. Raises `INVALID_INPUT` as `palette` does."""
        own, shipped = ({file.stem: file for file in reversed(_files(folder))} for folder in (self.presets, SHIPPED_PRESETS))
        file = own.get(name) or shipped.get(name)
        if file is None:
            raise JobError(Code.INVALID_INPUT, _unknown("job_preset", "preset", name, sorted({*own, *shipped})))
        return file.name, _read(file, yaml.SafeLoader, Code.INVALID_INPUT)


#: What the project ships, and nothing else.
SHIPPED = Library()


def _files(folder: Path | None) -> list[Path]:
    """The folder's files of our kinds in the order of their names; hidden ones, as mounts have them, are none."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith(".") and file.is_file())


def _read(file: Path, loader: type[yaml.BaseLoader | yaml.SafeLoader], code: Code) -> Mapping[str, Any]:
    """The mapping in a file. `BaseLoader` takes every scalar as text, so that 000000 is a colour and no number."""
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), loader)
    except OSError as error:
        raise JobError(code, f"{file.name} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JobError(code, f"{file.name} is not valid YAML: {shown(' '.join(str(error).split()), 200)}.") from None
    if data is None or data == "":
        return {}
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise JobError(code, f"{file.name} must hold a mapping of names.")
    return data


def _unknown(key: str, kind: str, name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:80], names, 1)
    meant = f"; did you mean {shown(near[0])}?" if near else "."
    listed, left = "", list(map(shown, names))
    while left and len(listed) + len(left[0]) < _LISTED:
        listed += f"{', ' if listed else ''}{left.pop(0)}"
    more = f" and {len(left)} more" if left else ""
    return f"{key}: there is no {kind} '{shown(name)}'{meant} There are: {listed}{more}."
