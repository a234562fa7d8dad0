"""The steps that networks serve, over one model cache. Importing this module imports no torch; `networks` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from model_cache.catalogue import load_catalogue
from model_cache.volume import BrokenModel, MissingModels, Volume
from pipeline.errors import Code, JobError
from pipeline.phase1_sanitize.sanitize import ANY_LABEL
from pipeline.settings import Settings
from pipeline.steps import WatchMemory

log = structlog.get_logger()


def models_of(wanted: frozenset[str], settings: Settings) -> tuple[str, ...]:
    """The models that the wanted steps cannot do without, in the order of their use."""
    phase1, phase2 = settings.phase1, settings.phase2
    nets = ("controlnet-union",) if phase2.controlnet.nets == "union" else ("controlnet-depth", "controlnet-canny")
    by_step = {
        "find": ("grounding-dino",),
        "matte": ("birefnet",),
        "mask": (phase1.segmenter,),
        "inpaint": ("lama",),
        "draw": (phase2.depth, "sdxl-scheduler", "sdxl-unet", *nets, "sdxl-vae"),
        "upscale": ("realesrgan-anime",),
    }
    return tuple(name for step, names in by_step.items() if step in wanted for name in names)


def _missing(error: MissingModels) -> JobError:
    return JobError(Code.MODELS_MISSING, f"{error}; fill the volume with python -m builder fetch, or set ENGINE=classical.")


def _broken(error: BrokenModel) -> JobError:
    return JobError(Code.MODELS_MISSING, f"{error}; python -m builder verify names each wrong file.")


def needed(path: Path | None, wanted: frozenset[str], settings: Settings) -> Volume:
    """The volume, on which every file of the wanted steps is there. Raises `MODELS_MISSING`; imports no torch."""
    if path is None:
        raise JobError(Code.MODELS_MISSING, f"{', '.join(sorted(wanted))} need a model volume; set MODEL_VOLUME_PATH.")
    volume = Volume(path, load_catalogue())
    try:
        volume.require(models_of(wanted, settings))
        if "draw" in wanted and volume.prompts() is None:
            volume.require(("sdxl-text",))
    except MissingModels as error:
        raise _missing(error) from None
    return volume


def _guard(cache: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, run a second time in a leaner mode when the card's memory did not suffice.

    Raises `GPU_OUT_OF_MEMORY` when that fails too, and `MODELS_MISSING` for a model that has vanished or cannot be read.
    """
    import torch  # noqa: PLC0415 - see the module's first line

    def attempt(*args: Any) -> tuple[bool, Any]:
        try:
            return True, step(*args)
        except torch.OutOfMemoryError:
            return False, None  # the traceback goes, and with it what the failed try holds on the card
        except MissingModels as error:
            raise _missing(error) from None
        except BrokenModel as error:
            raise _broken(error) from None

    def guarded(*args: Any) -> Any:
        done, answer = attempt(*args)
        if done:
            return answer
        log.warning("out_of_memory", step=getattr(step, "__qualname__", str(step)))
        cache.relieve()
        cache.lean = True
        try:
            done, answer = attempt(*args)
        finally:
            cache.lean = False
        if done:
            return answer
        cache.relieve()
        raise JobError(Code.GPU_OUT_OF_MEMORY, "The card's memory did not suffice, even with one network at a time; use a larger card.")

    return guarded


def _watch_memory() -> WatchMemory:
    import torch  # noqa: PLC0415 - see the module's first line

    def watch() -> Callable[[], int]:
        torch.cuda.reset_peak_memory_stats()
        return lambda: int(torch.cuda.max_memory_allocated())

    return watch


def networks(volume: Volume, wanted: frozenset[str], settings: Settings, insist: bool) -> dict[str, Any]:
    """The fields of `Steps` that networks serve; every network is read from the volume now.

    Raises `GPU_MISSING` for a drawing without a card, unless `insist`; `MODELS_MISSING` for a file that cannot be read.
    """
    import torch  # noqa: PLC0415 - see the module's first line

    from model_cache.cache import open_cache  # noqa: PLC0415

    on_card = torch.cuda.is_available()
    if "draw" in wanted and not on_card and not insist:
        raise JobError(
            Code.GPU_MISSING,
            "The neural drawing needs a CUDA card and there is none; set ENGINE=classical, or ENGINE=neural to draw on the processor all the same.",
        )
    # The same picture from the same card, each time; TF32 is exact enough for the networks that stay in float32.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.set_float32_matmul_precision("high")
    cache = open_cache(volume, torch.device("cuda" if on_card else "cpu"))
    names = models_of(wanted, settings)
    try:
        served = _served(cache, wanted, settings)
        for name in names:
            cache.take(name)
    except MissingModels as error:
        raise _missing(error) from None
    except BrokenModel as error:
        raise _broken(error) from None
    return served | {"models": {name: volume.revision(name) for name in names}} | ({"watch_memory": _watch_memory()} if on_card else {})


def _served(cache: Any, wanted: frozenset[str], settings: Settings) -> dict[str, Any]:
    phase1, phase2 = settings.phase1, settings.phase2
    served: dict[str, Any] = {}
    if "find" in wanted:
        from pipeline.phase1_sanitize.find_neural import make_find, make_locate  # noqa: PLC0415

        served |= {"find": make_find(cache), "locate": make_locate(cache, phase1.vehicle_score)}
    if "mask" in wanted:
        from pipeline.phase1_sanitize.mask_neural import make_mask  # noqa: PLC0415

        served |= {"mask": make_mask(cache, phase1.segmenter)}
    if "inpaint" in wanted:
        from pipeline.phase1_sanitize.inpaint_neural import make_inpaint  # noqa: PLC0415

        served |= {"inpaint": make_inpaint(cache)}
    if "matte" in wanted:
        from pipeline.phase2_illustrate.matte_neural import make_matte  # noqa: PLC0415

        served |= {"matte": make_matte(cache)}
    if "draw" in wanted:
        from pipeline.phase2_illustrate.depth_neural import make_depth  # noqa: PLC0415

        served |= {"depth": make_depth(cache, phase2.depth)}
    if "upscale" in wanted:
        from pipeline.phase3_enforce.upscale_neural import make_upscale  # noqa: PLC0415

        served |= {"upscale": make_upscale(cache)}
    steps = {name: _guard(cache, step) for name, step in served.items()}
    facts: dict[str, Any] = {"matte_is_neural": "matte" in wanted}
    if "draw" in wanted:
        facts["draw"] = None
    if {"find", "mask"} <= wanted:  # the classical mask knows strokes on paint and plates only
        facts["finds"] = frozenset({ANY_LABEL})
    return steps | facts
