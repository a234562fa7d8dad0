"""The models as data: `catalogue.yaml`, checked. A file of the same form swaps models without a change of code."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Step = Literal["find", "mask", "inpaint", "matte", "depth", "draw", "upscale"]
Kind = Literal["transformers", "diffusers", "spandrel", "birefnet", "sdxl-text", "json", "tensors"]

#: How the revision of a model begins whose files were imported from a folder that did not tell their commit.
IMPORTED = "content-"


class Source(BaseModel):
    """Where the files come from. `files`: path on the volume → path at the source, where the two differ. `revision`: the commit of the
    repository that is taken, or how its name begins (7 digits or more); None: the one that is there at the first fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str | None = None
    url: str | None = None
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{7,40}$")
    files: Mapping[str, str] = Field(default_factory=dict)

    def allows(self, revision: str) -> bool:
        """Whether a recorded revision may be that of this source; content that was imported without its commit cannot be told."""
        return not self.revision or revision.startswith((self.revision, IMPORTED))


class Model(BaseModel):
    """One model. `network` is the class that loads it, `written_as` the architectures that its configuration may name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    step: Step
    kind: Kind
    network: str | None = None
    written_as: tuple[str, ...] = ()
    processor: str | None = None
    files: tuple[str, ...] = Field(min_length=1)
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    million_parameters: float | None = None
    tflop: float | None = None
    call: str | None = None
    source: Source
    licence: str
    commercial: Literal["yes", "no", "conditions"]

    @field_validator("files")
    @classmethod
    def _inside(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name.startswith(("/", "\\")) or ".." in Path(name).parts:
                raise ValueError(f"{name!r} leaves the model's folder")
        return names

    @property
    def weights(self) -> tuple[str, ...]:
        """The files that hold tensors."""
        return tuple(f for f in self.files if f.endswith(".safetensors"))

    def bytes(self, dtype: str | None = None) -> int | None:
        """Memory of the parameters in `dtype`, by default the one on a card; None where their number is not known."""
        size = 4 if (dtype or self.dtype) == "float32" else 2
        return None if self.million_parameters is None else round(self.million_parameters * 1e6) * size


def load_catalogue(path: Path | None = None) -> Mapping[str, Model]:
    """Name → model. `path`: a YAML file whose models change the built-in ones key by key, or are added.

    Raises `ValueError` with the file's name, the model and the key.
    """
    rows = dict(_built_in())
    if path is not None:
        for name, row in _read(path.name, path.read_text()).items():
            rows[name] = {**rows.get(name, {}), **row}
    origin = "catalogue.yaml" if path is None else path.name
    return {name: _model(origin, name, row) for name, row in rows.items()}


@cache
def _built_in() -> Mapping[str, Mapping[str, Any]]:
    return _read("catalogue.yaml", (files("model_cache") / "catalogue.yaml").read_text())


def _read(origin: str, text: str) -> dict[str, dict[str, Any]]:
    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ValueError(f"{origin} must map each model's name to its keys")
    return rows


def _model(origin: str, name: str, row: Mapping[str, Any]) -> Model:
    try:
        return Model(name=name, **row)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{origin}: {name}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
