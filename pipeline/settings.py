"""Settings: one file of defaults, one override file, environment variables for the deployment; the job comes last.

Everything is checked when it is read. What is wrong stops the start with its path and what is allowed.
"""

import os
import re
import ssl
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from pipeline.intake.addresses import BUCKET_NAME, is_base
from pipeline.job import Color
from pipeline.library import Library
from pipeline.settings_file import SettingsError, merged, read_file
from pipeline.variables import cleaned

__all__ = ["DEFAULTS", "Environment", "Settings", "SettingsError", "environment", "environment_of", "load"]

DEFAULTS = Path(__file__).with_name("defaults.yaml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_is_a_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("Input should be no true or false")
        return value


class Input(_Section):
    """Limits of the intake."""

    max_pixels: int = Field(ge=1)
    max_side: int = Field(ge=64)
    decode_seconds: float = Field(gt=0)
    fetch_seconds: float = Field(gt=0)


Implementation = Literal["auto", "classical", "neural"]


class StepChoices(_Section):
    """Which implementation serves each step; `auto` is the engine's own."""

    find: Implementation
    mask: Implementation
    inpaint: Implementation
    matte: Implementation
    draw: Implementation
    upscale: Implementation


class Phase0(_Section):
    """The vehicle."""

    matte: Literal["birefnet", "birefnet-hr", "birefnet-hr-matting"]
    matte_side: int = Field(ge=32, le=2048, multiple_of=32)
    vehicle_score: float = Field(ge=0, le=1)
    uncertain_below: float = Field(ge=0, le=1)
    small: int = Field(ge=0)


class Phase1(_Section):
    """Sanitize."""

    detector: Literal["grounding-dino", "mm-grounding-dino"]
    segmenter: Literal["sam", "sam2"]
    side: int = Field(ge=1024, le=4096)
    score_threshold: float = Field(ge=0, le=1)
    box_size_cap: float = Field(gt=0, le=1)
    on_vehicle: float = Field(ge=0, le=1)
    matte_tolerance: float = Field(ge=0, le=0.1)
    dilation: float = Field(ge=0, le=0.02)
    look_around: float = Field(ge=0, le=1)
    same_thing: float = Field(gt=0, le=1)


class Sdxl(_Section):
    """The neural drawing."""

    num_inference_steps: int = Field(ge=1, le=150)
    guidance_scale: float = Field(ge=0, le=30)
    strength: float = Field(gt=0, le=1)
    prompt: str
    negative_prompt: str
    fuse_qkv: bool
    channels_last: bool
    compile: bool


class Preset(_Section):
    """Steps and schedule of a preset; `few_step` uses the few-step LoRA."""

    num_inference_steps: int = Field(ge=1, le=150)
    guidance_scale: float = Field(ge=0, le=30)
    few_step: bool = False


class Presets(_Section):
    """What a job's `preset` means; `standard` is `phase2.sdxl` itself."""

    draft: Preset
    draft_without_lora: Preset
    best: Preset


class ControlNet(_Section):
    """What the neural drawing is held to."""

    nets: Literal["separate", "union", "union-promax"]
    depth_weight: float = Field(ge=0, le=2)
    canny_weight: float = Field(ge=0, le=2)
    canny_end: float = Field(ge=0, le=1)


class Lora(_Section):
    """The style."""

    scale: float = Field(ge=0, le=2)
    file: str | None


class IouRetry(_Section):
    """When a neural drawing has to be drawn again."""

    threshold: float = Field(ge=0, le=1)
    max_retries: int = Field(ge=0, le=10)
    allow_skip_on_failure: bool


class Phase2(_Section):
    """Illustrate."""

    side: int = Field(ge=256, le=2048, multiple_of=64)
    grade: bool
    depth: Literal["depth-anything", "zoedepth"]
    sdxl: Sdxl
    presets: Presets
    controlnet: ControlNet
    lora: Lora
    iou_retry: IouRetry


class Phase3(_Section):
    """Enforce."""

    detail: float = Field(ge=0, le=0.05)
    budget: float = Field(ge=0, le=1)


class StrokeDefaults(_Section):
    """Lines, where the job says nothing."""

    mode: Literal["boundaries", "centerlines", "both", "none"]
    width: float = Field(gt=0, le=64)
    color: Color


class Phase4(_Section):
    """Vectorize."""

    tracer: Literal["planar", "vtracer"]
    tolerance: float = Field(ge=0, le=16)
    stroke: StrokeDefaults


class Settings(_Section):
    """Everything in `defaults.yaml`, checked."""

    input: Input
    steps: StepChoices
    phase0: Phase0
    phase1: Phase1
    phase2: Phase2
    phase3: Phase3
    phase4: Phase4


def _nearest(path: Path) -> Path:
    """The path, or the nearest above it that is there. Raises OSError where that cannot be told."""
    return next(there for there in (path, *path.absolute().parents) if there.exists())


def _folder(path: Path) -> Path:
    """It is one, or can become one."""
    try:
        there = _nearest(path)
    except OSError as error:  # its name is too long, or it may not be looked at
        raise ValueError("it cannot be reached") from error
    if not there.is_dir():
        raise ValueError("a file is in its place")
    return path


def _existing(path: Path) -> Path:
    if not (os.access(path, os.R_OK | os.X_OK) and path.is_dir()):
        raise ValueError("there is no such folder")
    return path


def _file(path: Path) -> Path:
    if not os.access(path, os.R_OK) or path.is_dir():
        raise ValueError("there is no such file")
    return path


def _authorities(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError("it holds no certificates") from error
    return path


def _region(text: str) -> str:
    """What botocore signs for; it refuses anything else."""
    if text.isdigit() or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", text):
        raise ValueError("no region")
    return text


def _key_part(text: str) -> str:
    invisible = any(unicodedata.category(character) in ("Cc", "Cs") for character in text)  # Cs: bytes that are no UTF-8
    if invisible or len(text.encode()) > 900 or {".", ".."} & set(text.split("/")):
        raise ValueError("no part of a key")
    return text


def _key_id(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or set(text) & set(" /,"):
        raise ValueError("no access key")
    return text


def _base(url: str) -> str:
    if not is_base(url):
        raise ValueError("no URL")
    return url


_Folder = Annotated[Path, AfterValidator(_folder)]
_Existing = Annotated[Path, AfterValidator(_existing)]
_File = Annotated[Path, AfterValidator(_file)]
_Base = Annotated[str, AfterValidator(_base)]
#: Seconds in a year: a longer time is a slip of the keyboard, and far longer ones are refused by the system's clocks.
YEAR = 366 * 24 * 3600


class Environment(BaseModel):
    """The deployment, from environment variables of the same names in capitals.

    Each field's description says what is allowed, for the sentence that refuses the rest: "must be …".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_volume_path: _Folder | None = Field(None, description="the path of a folder, not of a file")
    # Beside the code; `model_cache.embedded.DEFAULT` is the same folder, and the pod's web process may import nothing of it.
    networks_path: _Folder = Field(Path(__file__).resolve().parents[1] / ".networks", description="the path of a folder, not of a file")
    engine: Literal["auto", "classical", "neural"] = Field("auto", description="auto, classical or neural")
    palettes_path: _Existing | None = Field(None, description="the path of a folder that is there and can be read")
    job_presets_path: _Existing | None = Field(None, description="the path of a folder that is there and can be read")
    output_dir: _Folder = Field(Path("/tmp/gemini3_output"), description="the path of a folder, not of a file")
    bucket_endpoint_url: _Base | None = Field(
        None, description="an http or https URL such as https://s3.eu-central-1.amazonaws.com, without user, query and fragment"
    )
    bucket_access_key_id: Annotated[str, AfterValidator(_key_id)] | None = Field(
        None, description="printable ASCII characters without blanks, commas and slashes"
    )
    bucket_secret_access_key: SecretStr | None = None
    bucket_name: str | None = Field(
        None, pattern=BUCKET_NAME, description="a bucket's name: 2 to 255 letters, digits, dots, hyphens and underscores"
    )
    bucket_region: Annotated[str, AfterValidator(_region)] | None = Field(
        None, description="at most 63 letters, digits and hyphens, such as eu-central-1"
    )
    bucket_prefix: Annotated[str, AfterValidator(_key_part)] = Field(
        "", description="the beginning of a key such as shop/vectors, at most 900 bytes, without control characters and segments . and .."
    )
    bucket_addressing: Literal["auto", "path", "virtual"] = Field("auto", description="auto, path or virtual")
    aws_ca_bundle: Annotated[_File, AfterValidator(_authorities)] | None = Field(
        None, description="the path of a file of certificates (PEM) that can be read"
    )
    url_expiry_seconds: int = Field(604800, ge=1, le=604800, description="a whole number from 1 to 604800 (seven days)")
    public_base_url: _Base | None = Field(
        None, description="an http or https URL such as https://cdn.example.com/art, without user, query and fragment"
    )
    allow_private_urls: bool = Field(default=False, description="on or off (or 1 and 0, true and false, yes and no)")
    job_timeout_seconds: float = Field(300, gt=0, le=YEAR, description=f"a number of seconds above 0, {YEAR} at most")
    max_input_mb: float = Field(50, ge=0.001, le=100_000, description="a number of megabytes from 0.001 to 100000")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    pipeline_config: _File | None = Field(None, description="the path of a file that is there and can be read")
    workers: int = Field(1, ge=1, le=256, description="a whole number from 1 to 256")
    # Accepted from old deployments, without effect: xformers is not used, and the card is asked, not told.
    disable_xformers: str | None = None
    gpu_model: str | None = None
    # Set by RunPod inside its serverless workers; RUNPOD_POD_ID alone, which workers have too, is a pod's.
    runpod_endpoint_id: str | None = None

    @property
    def in_runpod(self) -> bool:
        """Whether this is a RunPod serverless worker, whose disk nobody reaches. A pod is a machine like any other."""
        return bool(self.runpod_endpoint_id)

    @property
    def library(self) -> Library:
        """The palettes and presets that a job may name."""
        return Library(self.palettes_path, self.job_presets_path)

    @property
    def volume(self) -> Path | None:
        """The configured model volume: MODEL_VOLUME_PATH, else the default folder where it exists."""
        if self.model_volume_path is not None:
            return self.model_volume_path
        default = Path("/runpod-volume" if self.in_runpod else "/models")
        return default if default.is_dir() else None


def load(override: Path | None = None) -> Settings:
    """The settings, defaults first. Raises `SettingsError` with the path of the first wrong key or value."""
    defaults = read_file(DEFAULTS)
    data = merged(defaults, read_file(override)) if override else defaults
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        reason = "Input should be a section" if first["type"] == "model_type" else first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"Setting {path}: {reason}, not {first['input']!r}.") from None


_E = TypeVar("_E", bound=Environment)


def environment(values: Mapping[str, str] | None = None) -> Environment:
    """The deployment's settings from environment variables (`values` in place of the process's own, for tests)."""
    return environment_of(Environment, values)


def environment_of(kind: type[_E], values: Mapping[str, str] | None = None) -> _E:
    """`environment` as a door's own class, which has further variables."""
    source = os.environ if values is None else values
    given = {name: text for name in kind.model_fields if (text := cleaned(source.get(name.upper(), "")))}
    words = {name: text.lower() for name, text in given.items() if get_origin(kind.model_fields[name].annotation) is Literal}
    try:
        return kind.model_validate(given | words)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise SettingsError(f"Environment variable {name.upper()} must be {kind.model_fields[name].description}.") from None


def check_output_folder(environment: Environment) -> None:
    """For doors that keep jobs' files there: it can be written to. Raises `SettingsError`."""
    folder = environment.output_dir
    if not os.access(_nearest(folder), os.W_OK | os.X_OK):
        raise SettingsError(f"Environment variable OUTPUT_DIR must be a folder that can be written to; {folder} cannot.")
