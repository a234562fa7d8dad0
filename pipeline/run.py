"""One photograph's way through the phases: the only place that knows their order."""

import hashlib
import json
import time
from dataclasses import dataclass

from PIL import Image

from pipeline import __version__
from pipeline.errors import Code, JobError
from pipeline.intake.photo import GivenMatte
from pipeline.job import GENERATION, Job
from pipeline.outputs.encode import label_picture
from pipeline.phase0_vehicle.vehicle import VehicleSettings, find_vehicle
from pipeline.phase1_sanitize.sanitize import SanitizeSettings, sanitize
from pipeline.phase2_illustrate.diffusion.redraw import RedrawSettings
from pipeline.phase2_illustrate.illustrate import IllustrateSettings, illustrate
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase4_vectorize.planar import trace_planar
from pipeline.phase4_vectorize.svg import Stroke
from pipeline.phase4_vectorize.tracer import Tracer
from pipeline.phase4_vectorize.vectorize import VectorSettings, vectorize
from pipeline.phase4_vectorize.vtracer_fills import trace_with_vtracer
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.settings import Preset, Sdxl, Settings
from pipeline.steps import Brief, Steps
from pipeline.values import CleanPlate, ColorLock, Drawing, Illustration, LabelImage, Photo

#: Each phase's share of the whole job, for the reports: from where to where, in the order of the phases.
SHARES: dict[str, tuple[float, float]] = {
    "fetch": (0.0, 0.05),
    "vehicle": (0.05, 0.12),
    "sanitize": (0.12, 0.25),
    "illustrate": (0.25, 0.6),
    "enforce": (0.6, 0.75),
    "vectorize": (0.75, 0.96),
    "deliver": (0.96, 1.0),
}
#: Most guidance of a few-step schedule: LCM-LoRA's authors advise 1 to 2 (Luo et al., 2023). At 7.5 its pictures burn out.
FEW_STEP_GUIDANCE = 2.0
TRACERS: dict[str, Tracer] = {"planar": trace_planar, "vtracer": trace_with_vtracer}


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything the phases made for one photo; `timings` in milliseconds by phase."""

    photo: Photo
    plate: CleanPlate
    illustration: Illustration
    labels: LabelImage
    drawing: Drawing
    timings: dict[str, int]
    warnings: tuple[str, ...]


def vehicle_settings(settings: Settings) -> VehicleSettings:
    """Phase 0's own parameters from the settings file."""
    return VehicleSettings(settings.phase1.side, settings.phase0.uncertain_below, settings.phase0.small)


def sanitize_settings(settings: Settings) -> SanitizeSettings:
    """Phase 1's own parameters from the settings file."""
    return SanitizeSettings(**settings.phase1.model_dump(exclude={"side", "detector", "segmenter"}))


def illustrate_settings(job: Job, steps: Steps, settings: Settings) -> tuple[IllustrateSettings, tuple[str, ...]]:
    """Phase 2's own parameters from the job over its preset over the settings file, and what of them cannot be had."""
    phase2, keep = settings.phase2, job.background == "keep"
    locks = tuple(
        ColorLock(lock.part, None if lock.point is None else (lock.point[0], lock.point[1]), lock.color) for lock in job.color_locks or ()
    )
    if steps.redraw is None:
        return IllustrateSettings(phase2.side, keep, phase2.grade, None, locks), ()
    preset: Sdxl | Preset = phase2.sdxl
    warnings: tuple[str, ...] = ()
    if job.preset == "best":
        preset = phase2.presets.best
    elif job.preset == "draft":
        preset = phase2.presets.draft if steps.few_step else phase2.presets.draft_without_lora
        if not steps.few_step:
            warnings = ("FAST_LORA_MISSING: The few-step LoRA is not installed; the draft was drawn in more steps without it.",)
    nets, retry = phase2.controlnet, phase2.iou_retry
    few_step = isinstance(preset, Preset) and preset.few_step
    guidance = preset.guidance_scale if job.guidance_scale is None else job.guidance_scale
    if few_step and guidance > FEW_STEP_GUIDANCE:
        warnings = (f"GUIDANCE_CAPPED: A few-step drawing burns out at guidance {guidance:g}; it was drawn at {FEW_STEP_GUIDANCE:g}.",)
        guidance = FEW_STEP_GUIDANCE
    brief = Brief(
        depth=None,
        edges=None,
        seed=job.seed,
        steps=preset.num_inference_steps if job.num_inference_steps is None else job.num_inference_steps,
        guidance=guidance,
        depth_weight=nets.depth_weight if job.depth_weight is None else job.depth_weight,
        canny_weight=nets.canny_weight if job.canny_weight is None else job.canny_weight,
        canny_end=nets.canny_end if job.canny_end is None else job.canny_end,
        prompt=phase2.sdxl.prompt if job.prompt is None else job.prompt,
        negative_prompt=phase2.sdxl.negative_prompt if job.negative_prompt is None else job.negative_prompt,
        lora_scale=phase2.lora.scale if job.lora_scale is None else job.lora_scale,
        few_step=few_step,
        strength=phase2.sdxl.strength,
    )
    low = retry.allow_skip_on_failure if job.allow_low_iou is None else job.allow_low_iou
    redraw = RedrawSettings(brief, retry.threshold, retry.max_retries, low)
    return IllustrateSettings(phase2.side, keep, phase2.grade, redraw, locks), warnings


def check_generation(job: Job, steps: Steps) -> None:
    """Refuse, by name, the keys that only a neural drawing can obey when the drawing is classical."""
    given = [key for key in GENERATION if key in job.model_fields_set and getattr(job, key) is not None]
    if steps.redraw is None and given:
        raise JobError(Code.INVALID_INPUT, f"{given[0]} steers the neural drawing; this worker draws with the classical engine.")


def _metadata(photo: Photo, matte: GivenMatte | None, job: Job, settings: Settings, steps: Steps) -> dict[str, object]:
    """What the SVG says of itself: enough to know the same work again, and nothing of the job or the hour."""
    elsewhere = {"image_url", "image_base64", "matte_url", "matte_base64", "outputs", "delivery", "output_prefix"}
    # What they name stands in other keys by now.
    told = job.model_dump(exclude=elsewhere | {"palette_name", "palette_from_url", "job_preset"})
    if job.color_locks is None:  # the digest of a job without locks is what it was before there were any
        del told["color_locks"]
    matte_digest = None if matte is None else hashlib.sha256(matte.alpha.tobytes()).hexdigest()
    work = {"job": told, "settings": settings.model_dump(), "matte": matte_digest}
    return {
        "photo_sha256": photo.digest,
        "settings_sha256": hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest(),
        "seed": job.seed,
        "engine": steps.name,
        "palette": list(job.palette.colors),
        "versions": {"worker": __version__, "models": dict(steps.models)},
    }


def run(photo: Photo, matte: GivenMatte | None, job: Job, steps: Steps, settings: Settings, progress: Progress) -> Finished:
    """Photo → illustration as SVG. `matte` is the caller's own, or None.

    Raises JobError: NO_VEHICLE, MODELS_MISSING where nothing can find the vehicle, CANCELLED, TIMED_OUT, INVALID_INPUT for keys that
    the engine cannot obey.
    """
    check_generation(job, steps)
    drawing_settings, untold = illustrate_settings(job, steps, settings)
    palette, keep = job.palette, job.background == "keep"
    warnings = [*photo.warnings, *untold]
    if palette.repeated:
        warnings.append(f"PALETTE_REPEATED: {', '.join(palette.repeated)} stood in the palette more than once and counts once.")
    marks: dict[str, float] = {}

    def enter(phase: str) -> None:
        progress.enter(phase, *SHARES[phase])
        marks[phase] = time.perf_counter()

    enter("vehicle")
    vehicle = find_vehicle(photo, matte, job.vehicle_box, keep, steps, vehicle_settings(settings), progress)

    enter("sanitize")
    plate = sanitize(vehicle, job.remove, steps, sanitize_settings(settings), progress)

    enter("illustrate")
    illustration = illustrate(plate, job.graded_palette, drawing_settings, steps, progress)

    enter("enforce")
    detail = settings.phase3.detail if job.detail is None else job.detail
    labels = enforce(illustration, palette, job.size, keep, steps.upscale, EnforceSettings(detail, settings.phase3.budget), progress)

    enter("vectorize")
    defaults = settings.phase4.stroke
    vector = VectorSettings(
        mode=job.stroke.mode or defaults.mode,
        stroke=Stroke(job.stroke.width or defaults.width, job.stroke.color or defaults.color),
        canvas=job.canvas,
        background=job.background if job.background.startswith("#") else None,
        tolerance=settings.phase4.tolerance,
    )
    about = _metadata(photo, matte, job, settings, steps)
    preview = "png" in job.outputs or "report" in job.outputs
    drawing = vectorize(labels, palette, TRACERS[settings.phase4.tracer], vector, about, preview, progress)
    ended = [*marks.values(), time.perf_counter()][1:]
    timings = {phase: round(1000 * (end - began)) for (phase, began), end in zip(marks.items(), ended, strict=True)}
    told = (*warnings, *vehicle.warnings, *plate.warnings, *illustration.warnings)
    return Finished(photo, plate, illustration, labels, drawing, timings, told)


def vehicle_box(finished: Finished) -> list[float]:
    """The vehicle's bounds as fractions of the upright photo."""
    place = bounds(finished.plate.matte.inside)
    return [] if place is None else list(finished.plate.frame.to_fractions(place))


def intermediates(finished: Finished, job: Job) -> dict[str, Image.Image]:
    """The pictures between the phases, by name; all show the same square."""
    pictures = {
        "clean_plate": Image.fromarray(finished.plate.rgb),
        "matte": Image.fromarray(finished.plate.matte.alpha),
        "illustration": Image.fromarray(finished.illustration.rgb),
        "labels": label_picture(finished.labels.labels, job.palette),
    }
    if finished.illustration.edges is not None:
        pictures["edges"] = Image.fromarray(finished.illustration.edges)
    if finished.illustration.depth is not None:
        pictures["depth"] = Image.fromarray(finished.illustration.depth)
    return pictures
