"""Settings: one file of defaults, one override file, environment variables for the deployment; the job comes last.

Everything is checked when it is read. What is wrong stops the start with its path and what is allowed.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from pipeline.job import Color

DEFAULTS = Path(__file__).with_name("defaults.yaml")


class SettingsError(ValueError):
    """A setting is wrong; the message is one sentence with the setting's path."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Phase1(_Section):
    """Sanitize."""

    segmenter: Literal["sam", "sam2"]
    vehicle_score: float = Field(ge=0, le=1)
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
    cuda_graphs: bool
    fp16_accumulation: bool


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

    nets: Literal["separate", "union"]
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
    matte_side: int = Field(ge=32, le=2048, multiple_of=32)
    depth: Literal["depth-anything", "zoedepth"]
    matte_neural_uncertain_below: float = Field(ge=0, le=1)
    matte_uncertain_below: float = Field(ge=0, le=1)
    matte_in_box_uncertain_below: float = Field(ge=0, le=1)
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


class Models(_Section):
    """How networks are read."""

    loader: Literal["mmap", "streamer"]


class Settings(_Section):
    """Everything in `defaults.yaml`, checked."""

    input: Input
    model_cache: Models
    steps: StepChoices
    phase1: Phase1
    phase2: Phase2
    phase3: Phase3
    phase4: Phase4


class Environment(BaseModel):
    """The deployment, from environment variables of the same names in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_volume_path: Path | None = None
    engine: Literal["auto", "classical", "neural"] = "auto"
    output_dir: Path = Path("/tmp/gemini3_output")
    bucket_endpoint_url: str | None = None
    bucket_access_key_id: str | None = None
    bucket_secret_access_key: SecretStr | None = None
    bucket_name: str | None = None
    bucket_region: str | None = None
    bucket_prefix: str = ""
    url_expiry_seconds: int = Field(604800, ge=1, le=604800)
    public_base_url: str | None = None
    allow_private_urls: bool = False
    job_timeout_seconds: float = Field(300, gt=0)
    max_input_mb: float = Field(50, gt=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pipeline_config: Path | None = None
    workers: int = Field(1, ge=1)
    # Accepted from old deployments, without effect: xformers is not used, and the card is asked, not told.
    disable_xformers: str | None = None
    gpu_model: str | None = None
    # Set by RunPod inside its workers.
    runpod_pod_id: str | None = None
    runpod_endpoint_id: str | None = None

    @property
    def in_runpod(self) -> bool:
        """Whether this process runs as a RunPod serverless worker."""
        return bool(self.runpod_pod_id or self.runpod_endpoint_id)

    @property
    def volume(self) -> Path | None:
        """The configured model volume: MODEL_VOLUME_PATH, else the default folder where it exists."""
        if self.model_volume_path is not None:
            return self.model_volume_path
        default = Path("/runpod-volume" if self.in_runpod else "/models")
        return default if default.is_dir() else None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        out[key] = _merged(base[key], value) if both else value
    return out


def _load_yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise SettingsError(f"The settings file {path} must hold a mapping such as 'phase3: {{detail: 0.0002}}'.")
    return data


def _paths(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    out: list[str] = []
    for key, value in data.items():
        out += _paths(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return out


def load(override: Path | None = None) -> Settings:
    """The settings, defaults first. Raises `SettingsError` with the path of the first wrong key or value."""
    defaults = _load_yaml(DEFAULTS)
    data = _merged(defaults, _load_yaml(override) if override else {})
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path, _paths(defaults), 1, 0)
            raise SettingsError(f"Unknown setting {path}; did you mean {near[0]}?") from None
        raise SettingsError(f"Setting {path}: {first['msg']}, not {first['input']!r}.") from None


_E = TypeVar("_E", bound=Environment)


def environment(values: Mapping[str, str] | None = None) -> Environment:
    """The deployment's settings from environment variables (`values` in place of the process's own, for tests)."""
    return environment_of(Environment, values)


def environment_of(kind: type[_E], values: Mapping[str, str] | None = None) -> _E:
    """`environment` as a door's own class, which has further variables."""
    source = os.environ if values is None else values
    try:
        given = {k.lower(): v for k, v in source.items() if k.lower() in kind.model_fields and v != ""}
        if "log_level" in given:
            given["log_level"] = given["log_level"].lower()
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"Environment variable {str(first['loc'][0]).upper()}: {first['msg']}.") from None
