"""What a caller sends: the job, validated strictly. The JSON schema under `docs/` is generated from here.

`python -m pipeline.job` prints that schema.
"""

import difflib
import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from pipeline import palette as palettes
from pipeline.errors import Code, JobError
from pipeline.input_limits import check_values
from pipeline.library import SHIPPED, Library
from pipeline.stored_keys import safe_prefix

#: Version of the contract spoken here. Keys may be added within one; meanings change only with the next.
SCHEMA: Final = 1

REMOVE = ("side view mirror", "car logo", "brand badge", "license plate", "text", "sticker")
OUTPUTS = ("svg", "png", "report", "intermediates", "pdf")
#: Keys that only a neural drawing can obey.
GENERATION = (
    "preset",
    "num_inference_steps",
    "guidance_scale",
    "depth_weight",
    "canny_weight",
    "canny_end",
    "prompt",
    "negative_prompt",
    "lora_scale",
)
#: Ways to give the palette, of which a job uses one.
PALETTES = ("palette_hex_list", "palette_name", "palette_from_url")
#: Keys that belong to one picture, and so to no preset; nor does a preset name another.
OF_ONE_JOB = ("image_url", "image_base64", "matte_url", "matte_base64", "output_prefix", "job_preset")


def _hex(text: str) -> str:
    try:
        return palettes.normalize_hex(text)
    except JobError as error:
        raise ValueError(error.sentence) from error


def _box(box: list[float]) -> list[float]:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError("must be [x0, y0, x1, y1], fractions of the upright photo with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1")
    return box


def _nameable(label: str) -> str:
    if not any(character.isalnum() for character in label):
        raise ValueError("each entry must hold at least one letter or digit")
    return label


def _whole(number: object) -> object:
    """Not True, which is equal to 1; a literal is compared by value."""
    return number if type(number) is int else None


def _unique(items: list[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


Color = Annotated[str, AfterValidator(_hex)]
Output = Literal["svg", "png", "report", "intermediates", "pdf"]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StrokeSpec(_Strict):
    """How lines are drawn."""

    mode: Literal["boundaries", "centerlines", "both", "none"] | None = Field(None, description="which lines are drawn (default both)")
    width: float | None = Field(None, gt=0, le=64, allow_inf_nan=False, description="units of the working raster (default 2)")
    color: Color | None = Field(None, description="3 or 6 hex digits (default #000000)")


class ColorLockSpec(_Strict):
    """An area that has to have a colour: a part of the vehicle, or what lies under a point."""

    part: Literal["glass", "wheels", "body"] | None = Field(None, description="every area of this part")
    point: Annotated[list[Fraction], Field(min_length=2, max_length=2)] | None = Field(
        None, description="[x, y] of the area, fractions of the upright photo, in place of part"
    )
    color: Color = Field(description="3 or 6 hex digits; joins the palette where it is not in it")

    @model_validator(mode="after")
    def _one_place(self) -> "ColorLockSpec":
        if (self.part is None) == (self.point is None):
            raise ValueError("give exactly one of part and point")
        return self


def _once(locks: list[ColorLockSpec]) -> list[ColorLockSpec]:
    parts = [lock.part for lock in locks if lock.part is not None]
    if twice := [part for part in parts if parts.count(part) > 1]:
        raise ValueError(f"{twice[0]} is locked twice")
    return locks


class Job(_Strict):
    """One picture to make. Boxes are fractions of the upright photo."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole)] = Field(SCHEMA, alias="schema", description="version of this contract")
    image_url: str | None = Field(None, min_length=1, max_length=8192, description="http(s) or s3://bucket/key")
    image_base64: str | None = Field(None, min_length=1, description="base64 or a data URI")
    palette_hex_list: list[str] | str | None = Field(None, description="2 to 64 colours; a list, or one comma-separated string")
    palette_name: str | None = Field(None, min_length=1, max_length=200, description="a named palette, in place of palette_hex_list")
    palette_from_url: str | None = Field(
        None, min_length=1, max_length=8192, description="a reference picture whose colours are the palette, as image_url"
    )
    color_locks: Annotated[list[ColorLockSpec], AfterValidator(_once)] | None = Field(
        None, max_length=32, description="areas that have to have a colour"
    )
    job_preset: str | None = Field(None, min_length=1, max_length=200, description="a saved set of keys; the job's own win")
    seed: int = Field(42, ge=0, le=2**32 - 1)
    preset: Literal["draft", "standard", "best"] = "standard"
    num_inference_steps: int | None = Field(None, ge=1, le=150)
    guidance_scale: float | None = Field(None, ge=0, le=30, allow_inf_nan=False)
    depth_weight: Weight | None = None
    canny_weight: Weight | None = None
    canny_end: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    prompt: str | None = Field(None, max_length=2000)
    negative_prompt: str | None = Field(None, max_length=2000)
    lora_scale: Weight | None = None
    remove: Annotated[list[Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_nameable)]], AfterValidator(_unique)] = Field(
        default=list(REMOVE), max_length=32, description="what is removed from the vehicle; an empty list skips removal"
    )
    background: str = Field("remove", description="remove, keep, or a palette colour")
    vehicle_box: (
        Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=4, max_length=4), AfterValidator(_box)] | None
    ) = Field(None, description="[x0, y0, x1, y1] of the vehicle")
    matte_url: str | None = Field(None, min_length=1, max_length=8192)
    matte_base64: str | None = Field(None, min_length=1)
    stroke: StrokeSpec = StrokeSpec()
    detail: float | None = Field(
        None, ge=0, le=0.05, allow_inf_nan=False, description="smallest region kept, fraction of the raster's area"
    )
    size: int = Field(4096, ge=1024, le=8192, description="side of the square working raster")
    canvas: Literal["square", "photo", "vehicle"] = "square"
    outputs: Annotated[list[Output], Field(min_length=1), AfterValidator(_unique)] = ["svg", "png"]
    allow_low_iou: bool | None = Field(None, description="deliver the best attempt with a warning instead of failing")
    delivery: Literal["auto", "s3", "inline", "local"] = "auto"
    output_prefix: str | None = Field(None, min_length=1, max_length=512, description="safe relative key; default: the job id")

    @model_validator(mode="after")
    def _sources(self) -> "Job":
        if (self.image_url is None) == (self.image_base64 is None):
            raise ValueError("give exactly one of image_url and image_base64")
        if self.matte_url is not None and self.matte_base64 is not None:
            raise ValueError("give at most one of matte_url and matte_base64")
        if sum(getattr(self, key) is not None for key in PALETTES) > 1:
            raise ValueError(f"give at most one of {', '.join(PALETTES[:-1])} and {PALETTES[-1]}")
        return self

    @property
    def palette(self) -> palettes.Palette:
        """What the drawing consists of: `graded_palette`, then the colours of locks that are not in it."""
        own = self.graded_palette
        locked = dict.fromkeys(lock.color for lock in self.color_locks or () if lock.color not in own.colors)
        return palettes.Palette((*own.colors, *locked), own.repeated)

    @property
    def graded_palette(self) -> palettes.Palette:
        """The parsed palette, from which the drawing chooses; it was checked when the job was read.

        Raises ValueError where a picture will tell it (`with_palette`).
        """
        if self.palette_from_url is not None:
            raise ValueError("the palette's picture has not been looked at")
        return palettes.parse(self.palette_hex_list)

    def with_palette(self, palette: palettes.Palette) -> "Job":
        """The job with these colours as its palette, however it named them. Raises `INVALID_PALETTE` where other keys do not fit."""
        named = {"palette_hex_list": list(palette.colors), "palette_name": None, "palette_from_url": None}
        job = self.model_copy(update=named)
        job._check_colors()
        return job

    def _check_colors(self) -> None:
        if (count := len(self.palette)) > palettes.MOST:
            sentence = f"With the colours of color_locks the palette holds {count} colours; {palettes.MOST} are the most."
            raise JobError(Code.INVALID_PALETTE, sentence)
        if self.background.startswith("#") and self.background not in self.palette.colors:
            raise JobError(Code.INVALID_PALETTE, f"The background colour {self.background} is not in the palette.")


class Timings(_Strict):
    """Milliseconds by phase."""

    fetch: int
    vehicle: int
    sanitize: int
    illustrate: int
    enforce: int
    vectorize: int
    deliver: int


class FrameSpec(_Strict):
    """The square working raster, which is the vehicle's, and where the upright photo lies in it: x' = x0 + scale · x.

    `x0` and `y0` are negative where the photo reaches beyond it; `photo_width` and `photo_height` are the upright photo's own pixels.
    """

    width: int
    height: int
    scale: float
    x0: float
    y0: float
    photo_width: int
    photo_height: int


class Removed(_Strict):
    """One thing that was removed from the vehicle."""

    label: str
    score: float
    box: list[float]


class Draw(_Strict):
    """How the delivered drawing was made; null for what the engine does not have."""

    seed: int
    steps: int | None
    depth_weight: float | None
    canny_weight: float | None


class Quality(_Strict):
    """What was measured; null for what cannot be known (`iou` without a redrawn picture)."""

    iou: float | None
    matte_confidence: float | None
    attempts: int
    colors_used: int
    off_palette_colors: int
    regions: int
    curves: int
    svg_bytes: int
    removed_fraction: float
    detail_changed_fraction: float


class Versions(_Strict):
    """The worker's own version and the revision of every model that was used."""

    worker: str
    models: dict[str, str]


class Result(_Strict):
    """What a caller gets. Keys of outputs that were not asked for are absent."""

    job_id: str
    status: Literal["completed"] = "completed"
    engine: Literal["neural", "classical"]
    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    svg_url: str | None = None
    png_url: str | None = None
    report_url: str | None = None
    pdf_url: str | None = None
    intermediates: dict[str, str] | None = None
    processing_time_ms: int
    timings_ms: Timings
    peak_vram_mb: int
    seed: int
    palette: list[str]
    frame: FrameSpec
    vehicle_box: list[float]
    removed: list[Removed]
    draw: Draw
    quality: Quality
    warnings: list[str]
    versions: Versions

    def public(self) -> dict[str, Any]:
        """The result as JSON-ready data, without the URLs that are not there."""
        data = self.model_dump(by_alias=True)
        optional = ("svg_url", "png_url", "report_url", "pdf_url", "intermediates")
        return {key: value for key, value in data.items() if key not in optional or value is not None}


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence with its place and what is allowed."""
    errors = error.errors(include_url=False)
    # A wrong key in a lock is also a right one that lacks.
    first = next((one for one in errors if one["type"] == "extra_forbidden" and len(one["loc"]) > 2), errors[0])
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[str]"))
    if first["type"] == "extra_forbidden":
        inner: dict[object, type[BaseModel]] = {"stroke": StrokeSpec, "color_locks": ColorLockSpec}
        fields = (inner.get(first["loc"][0], Job) if len(first["loc"]) > 1 else Job).model_fields
        known = [field.alias or name for name, field in fields.items()]
        near = difflib.get_close_matches(str(first["loc"][-1])[:80].lower(), known, 1, 0)
        unknown = palettes.shown(place, 80)
        return f"Unknown key '{unknown}'; did you mean {near[0]!r}?" if near else f"Unknown key '{unknown}'."
    if place == "schema":
        given = first["input"]
        named = f"Schema {given}" if type(given) is int and abs(given) < 10**6 else "This schema"
        return f"{named} is not supported; this worker speaks schema {SCHEMA}."
    reason = "must be an object" if first["type"] == "model_type" else first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place}: {reason}." if place else f"{reason[0].upper()}{reason[1:]}."


def read(raw: object, library: Library = SHIPPED) -> Job:
    """The job from a caller's mapping: its preset's keys are under its own, a named palette is in `palette_hex_list`.

    Raises `INVALID_INPUT` or `INVALID_PALETTE` with one sentence.
    """
    if not isinstance(raw, Mapping):
        raise JobError(Code.INVALID_INPUT, f"The job's input must be an object, not {type(raw).__name__}.")
    check_values(raw)
    if isinstance(name := raw.get("job_preset"), str) and name:
        raw = _under(_preset(name, library), raw)
    job = _validated(raw)
    if job.palette_name is not None:
        return job.with_palette(library.palette(job.palette_name))
    if job.palette_from_url is None:
        job._check_colors()
    return job


def _validated(raw: Mapping[str, Any]) -> Job:
    """Each key by itself."""
    if "palette_hex_list" in raw and not isinstance(raw["palette_hex_list"], str | list | None):
        raise JobError(Code.INVALID_PALETTE, "palette_hex_list must be a list of colours or one comma-separated string.")
    if isinstance(colors := raw.get("palette_hex_list"), str | list):
        palettes.parse(colors)
    try:
        job = Job.model_validate(dict(raw))
    except ValidationError as error:
        raise JobError(Code.INVALID_INPUT, _sentence(error)) from None
    if job.output_prefix is not None:
        _ = safe_prefix(job.output_prefix)
    if job.background in ("remove", "keep"):
        return job
    try:
        return job.model_copy(update={"background": palettes.normalize_hex(job.background)})
    except JobError:
        sentence = f"background must be 'remove', 'keep' or a palette colour, not '{palettes.shown(job.background)}'."
        raise JobError(Code.INVALID_INPUT, sentence) from None


def _preset(name: str, library: Library) -> Mapping[str, Any]:
    """A preset's keys, checked as a job's. Raises what is wrong with them, after the file's name."""
    file, keys = library.preset(name)
    if others := sorted(keys.keys() & set(OF_ONE_JOB)):
        raise JobError(Code.INVALID_INPUT, f"Preset {file}: {others[0]} belongs to one job and cannot stand in a preset.")
    try:
        check_values(keys)
        whole = {**keys, "image_base64": "-"}
        # Without a palette of its own, which colours there are is the job's to say.
        _ = read(whole, library) if keys.keys() & set(PALETTES) else _validated(whole)
    except JobError as error:
        raise JobError(error.code, f"Preset {file}: {error.sentence}") from None
    return keys


def _under(preset: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A job's own keys over its preset's: also over another way to give the palette, and within `stroke`. A key of null is as none."""
    given = {key: value for key, value in own.items() if value is not None and key != "job_preset"}
    ways = set(PALETTES) if given.keys() & set(PALETTES) else set()
    under = {key: value for key, value in preset.items() if key not in ways}
    saved, line = under.get("stroke"), given.get("stroke")
    if isinstance(saved, Mapping) and isinstance(line, Mapping):
        given["stroke"] = {**saved, **{key: value for key, value in line.items() if value is not None}}
    return {**under, **given}


def json_schema() -> dict[str, Any]:
    """JSON Schema of the job's `input` and of the `output`, under `$defs` Job and Result."""
    _, schema = models_json_schema([(Job, "validation"), (Result, "serialization")], by_alias=True, title="Vehicle illustration job")
    job = schema["$defs"]["Job"]
    job["oneOf"] = [{"required": ["image_url"]}, {"required": ["image_base64"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "version": SCHEMA,
        "type": "object",
        "properties": {"input": {"$ref": "#/$defs/Job"}, "output": {"$ref": "#/$defs/Result"}},
        **schema,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
