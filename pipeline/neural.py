"""The steps that networks serve, over one model cache. Importing this module imports no torch; `networks` does."""

import atexit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import structlog

from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.needed import FAST_LORA, SCHEDULER, TEXT, Chosen, uses
from model_cache.needed import needed as needed_names
from model_cache.reading import ReadAhead
from model_cache.styles import beside, in_force
from model_cache.volume import Volume
from model_cache.warm_up import Changed, WarmUp, check, read_ahead
from pipeline.errors import Code, JobError
from pipeline.phase0_vehicle.locate import make_locate
from pipeline.phase1_sanitize.sanitize import ANY_LABEL
from pipeline.settings import Settings, SettingsError
from pipeline.steps import (
    Brief,
    Depth,
    Find,
    Inpaint,
    Locate,
    Look,
    MaskOf,
    Redraw,
    Upscale,
    WatchMemory,
)

if TYPE_CHECKING:
    from model_cache.cache import ModelCache

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

log = structlog.get_logger()


def _chosen(settings: Settings) -> Chosen:
    phase1, phase2 = settings.phase1, settings.phase2
    return Chosen(phase1.detector, settings.phase0.matte, phase1.segmenter, phase2.depth, phase2.controlnet.nets)


def uses_of(wanted: frozenset[str], settings: Settings) -> tuple[tuple[str, ...], ...]:
    """The networks that the wanted steps have on the card, in the order of a job: each time those that are needed together."""
    return tuple(use for use in uses(wanted, _chosen(settings)) if use != (SCHEDULER,))


def models_of(wanted: frozenset[str], settings: Settings) -> tuple[str, ...]:
    """The models that the wanted steps cannot do without, in the order of their use."""
    return needed_names(wanted, _chosen(settings))


def fast_lora(volume: Volume) -> Path | None:
    """The few-step LoRA of the draft preset, where it is installed."""
    return None if volume.missing((FAST_LORA,)) else volume.file(FAST_LORA, volume.catalogue[FAST_LORA].files[0])


GPU_FULL = "The card's memory did not suffice, even with one network at a time; use a larger card."
GPU_FAILED = "The card has failed, and this worker with it; send the job again, another worker takes it."


def _missing(error: MissingModels) -> JobError:
    sentence = f"{error}; fill the volume with python -m builder fetch, or choose the classical engine."
    return JobError(Code.MODELS_MISSING, sentence, fatal=True)


def _broken(error: BrokenModel) -> JobError:
    return JobError(Code.MODELS_MISSING, f"{error}; python -m builder verify names each wrong file.", fatal=True)


@contextmanager
def _told() -> Iterator[None]:
    """A volume's errors as a job's."""
    try:
        yield
    except MissingModels as error:
        raise _missing(error) from None
    except BrokenModel as error:
        raise _broken(error) from None


def needed(path: Path | None, wanted: frozenset[str], settings: Settings) -> Volume:
    """The volume, on which every file of the wanted steps is there. Raises `MODELS_MISSING`, and `SettingsError` for a
    catalogue of the volume's own that is wrong; imports no torch."""
    if path is None:
        raise JobError(Code.MODELS_MISSING, f"{', '.join(sorted(wanted))} need a model volume; set MODEL_VOLUME_PATH.")
    own = path / "catalogue.yaml"
    try:
        volume = Volume(path, load_catalogue(own if own.is_file() else None))
    except ValueError as error:
        raise SettingsError(f"The volume's {error}.") from None
    with _told():
        volume.require(models_of(wanted, settings))
        if "draw" in wanted:
            _check_prompts(volume, settings)
    return volume


def _check_prompts(volume: Volume, settings: Settings) -> None:
    """Raise `MissingModels` or `BrokenModel` where the drawing cannot be told its default prompt: without its embeddings and without the
    text encoders. The embeddings are known by the texts in their file, which begin with the style's trigger."""
    style, sdxl = volume.style(settings.phase2.lora.file), settings.phase2.sdxl
    if style is not None and beside(style).trigger is None:
        log.warning("style_without_trigger", style=style.name)
    if volume.has_prompts((in_force(style, sdxl.prompt), sdxl.negative_prompt)):
        return
    path, lacking = volume.prompts(), volume.missing((TEXT,))
    if path is not None and lacking:
        reason = "its embeddings are not those of the prompts in force, and python -m builder fetch makes them anew"
        raise BrokenModel(f"prompts/{path.name}", reason)
    volume.require((TEXT,))
    log.warning("prompts_not_stored", reason="the text encoders are read for the default prompt; python -m builder fetch stores it")


@dataclass(frozen=True, slots=True)
class Networks:
    """What networks of the volume serve of an engine; None for a step that they do not. The other fields are those of `Steps`."""

    cache_counts: Callable[[], Mapping[str, int]]
    find: Find | None = None
    locate: Locate | None = None
    mask: MaskOf | None = None
    inpaint: Inpaint | None = None
    look: Look | None = None
    depth: Depth | None = None
    redraw: Redraw | None = None
    upscale: Upscale | None = None
    finds: frozenset[str] | None = None
    few_step: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    expected_seconds: Mapping[str, float] = field(default_factory=dict)
    watch_memory: WatchMemory | None = None
    warm_up: WarmUp | None = None


def _guard(cache: "ModelCache", step: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The step, run a second time in a leaner mode when the card's memory did not suffice.

    Raises `GPU_OUT_OF_MEMORY` when that fails too, `GPU_FAILED`, and `MODELS_MISSING` for a model that has vanished or cannot be
    read; all three fatal.
    """
    import torch  # noqa: PLC0415 - see the module's first line

    def attempt(*args: Given.args, **kwargs: Given.kwargs) -> tuple[Answer] | None:
        try:
            with _told():
                return (step(*args, **kwargs),)
        except torch.OutOfMemoryError:
            return None  # the traceback goes, and with it what the failed try holds on the card
        except RuntimeError as error:
            if _card_has_failed(cache.device, error):
                log.error("card_failed", exc_info=error)
                raise JobError(Code.GPU_FAILED, GPU_FAILED, fatal=True) from error
            raise

    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        with cache.busy:
            if (answer := attempt(*args, **kwargs)) is not None:
                return answer[0]
            log.warning("out_of_memory", step=getattr(step, "__qualname__", str(step)))
            cache.relieve()
            cache.lean = True
            try:
                answer = attempt(*args, **kwargs)
            finally:
                cache.lean = False
            if answer is not None:
                return answer[0]
            cache.relieve()
        raise JobError(Code.GPU_OUT_OF_MEMORY, GPU_FULL, fatal=True)

    return guarded


def _card_has_failed(device: Any, error: RuntimeError) -> bool:
    """Whether the card itself is the fault: after most faults (an illegal address, a lost device) every later call fails too."""
    import torch  # noqa: PLC0415 - see the module's first line

    if isinstance(error, torch.AcceleratorError):
        return True
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def _watch_memory() -> WatchMemory:
    import torch  # noqa: PLC0415 - see the module's first line

    def watch() -> Callable[[], int]:
        torch.cuda.reset_peak_memory_stats()
        return lambda: int(torch.cuda.max_memory_allocated())

    return watch


def networks(volume: Volume, wanted: frozenset[str], settings: Settings, insist: bool) -> Networks:
    """What networks serve of an engine. The files are checked now, and being read when this returns (`Steps.warm_up`).

    Raises `GPU_MISSING` for a drawing without a card, unless `insist`; `MODELS_MISSING` for a file whose size, header or form is wrong.
    """
    names = models_of(wanted, settings)
    with _told():
        changed = check(volume, names)
    reading = read_ahead(volume, names).start()  # while torch is imported
    try:
        return _warming(volume, wanted, settings, insist, reading, changed)
    except BaseException:
        reading.close()
        raise


def set_arithmetic() -> None:
    """The same picture from the same card, each time; and what the catalogue keeps in float32 is not rounded to TF32's 10 bits, in
    convolutions (torch's own default) or elsewhere."""
    import torch  # noqa: PLC0415 - see the module's first line

    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def _warming(volume: Volume, wanted: frozenset[str], settings: Settings, insist: bool, reading: ReadAhead, changed: Changed) -> Networks:
    import torch  # noqa: PLC0415 - see the module's first line

    from model_cache.cache import open_cache  # noqa: PLC0415

    on_card = torch.cuda.is_available()
    if "draw" in wanted and not on_card and not insist:
        raise JobError(
            Code.GPU_MISSING,
            "The neural drawing needs a CUDA card, and there is none; set ENGINE=classical, or ENGINE=neural to draw on the processor.",
        )
    set_arithmetic()
    device = torch.device("cuda" if on_card else "cpu")
    cache = open_cache(volume, device, uses_of(wanted, settings), settings.phase2.sdxl.num_inference_steps)
    names = models_of(wanted, settings)
    with _told():
        served = _served(cache, volume, wanted, settings)
        style = volume.style(settings.phase2.lora.file) if "draw" in wanted else None
        models = {name: volume.revision(name) for name in names} | ({"style": style.name} if style else {})
    seconds = {} if on_card else _seconds(volume, names)

    first = partial(_first_drawing, cache, served.redraw, settings) if on_card and served.redraw else None
    warm_up = WarmUp(cache, names, reading, changed, first, _told).start()
    atexit.register(warm_up.close)  # a process that ends does not wait for gigabytes
    watch = _watch_memory() if on_card else None
    return replace(served, models=models, expected_seconds=seconds, warm_up=warm_up, watch_memory=watch)


def _first_drawing(cache: "ModelCache", redraw: Redraw, settings: Settings) -> None:
    """One step of drawing nothing: styles are fused and compiled code is read now, not in the first job."""
    sdxl, nets, side = settings.phase2.sdxl, settings.phase2.controlnet, settings.phase2.side
    blank = np.zeros((side, side), np.uint8)
    brief = Brief(
        depth=blank,
        edges=blank,
        seed=0,
        steps=1,
        guidance=sdxl.guidance_scale,
        depth_weight=nets.depth_weight,
        canny_weight=nets.canny_weight,
        canny_end=1.0,
        prompt=sdxl.prompt,
        negative_prompt=sdxl.negative_prompt,
        lora_scale=settings.phase2.lora.scale,
        few_step=False,
        strength=sdxl.strength,
    )
    with cache.busy:  # no job's step at the same time
        redraw(np.full((side, side, 3), 255, np.uint8), brief, lambda _: None)


def _seconds(volume: Volume, names: tuple[str, ...]) -> dict[str, float]:
    """What one call of each network whose arithmetic is counted will take on this processor, seconds."""
    from model_cache.expected import expected_seconds, matrix_rate  # noqa: PLC0415 - imports torch

    rate = matrix_rate()
    counted = {name: volume.catalogue[name].tflop for name in names}
    return {name: round(expected_seconds(tflop, rate), 1) for name, tflop in counted.items() if tflop}


def _served(cache: "ModelCache", volume: Volume, wanted: frozenset[str], settings: Settings) -> Networks:
    """The steps, each guarded; imported only where they are wanted, for they import torch."""
    served = Networks(cache.counts)
    if "find" in wanted:
        from pipeline.phase1_sanitize.find_neural import make_find  # noqa: PLC0415

        find = _guard(cache, make_find(cache, settings.phase1.detector))
        served = replace(served, find=find, locate=make_locate(find, settings.phase0.vehicle_score))
    if "mask" in wanted:
        from pipeline.phase1_sanitize.mask_neural import make_mask  # noqa: PLC0415

        served = replace(served, mask=_guard(cache, make_mask(cache, settings.phase1.segmenter)))
    if {"find", "mask"} <= wanted:  # the classical mask knows strokes on paint and plates only
        served = replace(served, finds=frozenset({ANY_LABEL}))
    if "inpaint" in wanted:
        from pipeline.phase1_sanitize.inpaint_neural import make_inpaint  # noqa: PLC0415

        served = replace(served, inpaint=_guard(cache, make_inpaint(cache)))
    if "matte" in wanted:
        from pipeline.phase0_vehicle.birefnet import make_look  # noqa: PLC0415

        served = replace(served, look=_guard(cache, make_look(cache, settings.phase0.matte_side, settings.phase0.matte)))
    if "draw" in wanted:
        from pipeline.phase2_illustrate.diffusion.depth import make_depth  # noqa: PLC0415

        depth = _guard(cache, make_depth(cache, settings.phase2.depth))
        served = replace(served, depth=depth, redraw=_redraw(cache, volume, settings), few_step=fast_lora(volume) is not None)
    if "upscale" in wanted:
        from pipeline.phase3_enforce.upscale_neural import make_upscale  # noqa: PLC0415

        served = replace(served, upscale=_guard(cache, make_upscale(cache)))
    return served


def _redraw(cache: "ModelCache", volume: Volume, settings: Settings) -> Redraw:
    from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw  # noqa: PLC0415

    sdxl = settings.phase2.sdxl
    ways = DrawSettings(
        nets=settings.phase2.controlnet.nets,
        fuse_qkv=sdxl.fuse_qkv,
        channels_last=sdxl.channels_last,
        compile=sdxl.compile,
        compile_cache=volume.path / "compiled",
    )
    return _guard(cache, make_redraw(cache, ways, volume.style(settings.phase2.lora.file), fast_lora(volume), volume.prompts()))
