"""Which implementation serves each step. An engine is a value: a record of functions, built once at start-up."""

from importlib.metadata import version

from pipeline.errors import Code, JobError
from pipeline.phase1_sanitize.find_classical import FINDS, make_find
from pipeline.phase1_sanitize.inpaint_classical import inpaint
from pipeline.phase1_sanitize.mask_classical import mask
from pipeline.phase2_illustrate.draw_classical import draw
from pipeline.phase2_illustrate.locate_classical import matte_without_hint
from pipeline.phase2_illustrate.matte_classical import matte_in_box
from pipeline.phase3_enforce.upscale_classical import upscale_flat
from pipeline.settings import Environment
from pipeline.steps import Steps
from pipeline.values import Box, Frame, Matte, Rgb


def _matte(rgb: Rgb, frame: Frame, box: Box | None) -> Matte:
    return matte_without_hint(rgb, frame) if box is None else matte_in_box(rgb, frame, box)


def classical() -> Steps:
    """The embedded engine: no network, no weights but those in RapidOCR's package."""
    return Steps(
        name="classical",
        finds=FINDS,
        find=make_find(),
        mask=mask,
        inpaint=inpaint,
        matte=_matte,
        depth=None,
        draw=draw,
        upscale=upscale_flat,
        models={"rapidocr": version("rapidocr")},
    )


def build(environment: Environment) -> Steps:
    """The engine that ENGINE asks for; `auto` is neural where a model volume is configured. Raises `MODELS_MISSING`."""
    neural = environment.engine == "neural" or (environment.engine == "auto" and environment.volume is not None)
    if not neural:
        return classical()
    raise JobError(
        Code.MODELS_MISSING,
        "The neural engine needs its models, and this version of the worker cannot load them; set ENGINE=classical.",
    )
