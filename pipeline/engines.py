"""Which implementation serves each step. An engine is a value: a record of functions, built once at start-up."""

from dataclasses import replace
from importlib.metadata import version

from pipeline.phase1_sanitize.find_classical import FINDS, make_find
from pipeline.phase1_sanitize.inpaint_classical import inpaint
from pipeline.phase1_sanitize.mask_classical import masks
from pipeline.phase2_illustrate.draw_classical import draw
from pipeline.phase2_illustrate.locate_classical import matte_without_hint
from pipeline.phase2_illustrate.matte_classical import matte_in_box
from pipeline.phase3_enforce.upscale_classical import upscale
from pipeline.settings import Environment, Settings, StepChoices
from pipeline.steps import Find, Steps
from pipeline.values import Box, Frame, Matte, Rgb


def _matte(rgb: Rgb, frame: Frame, box: Box | None) -> Matte:
    return matte_without_hint(rgb, frame) if box is None else matte_in_box(rgb, frame, box)


def classical(find: Find | None = None) -> Steps:
    """The embedded engine: no network, no weights but those in RapidOCR's package, which another `find` does without."""
    return Steps(
        name="classical",
        finds=FINDS,
        find=find or make_find(),
        locate=None,
        mask=masks,
        inpaint=inpaint,
        matte=_matte,
        depth=None,
        draw=draw,
        redraw=None,
        upscale=upscale,
        models={} if find else {"rapidocr": version("rapidocr")},
    )


def _is_neural(environment: Environment) -> bool:
    return environment.engine == "neural" or (environment.engine == "auto" and environment.volume is not None)


def neural_steps(environment: Environment, choices: StepChoices) -> frozenset[str]:
    """The steps that networks serve: each by its own setting, `auto` by the engine."""
    own = "neural" if _is_neural(environment) else "classical"
    return frozenset(name for name, choice in choices.model_dump().items() if (own if choice == "auto" else choice) == "neural")


def build(environment: Environment, settings: Settings) -> Steps:
    """The engine that ENGINE and `steps.*` ask for; `auto` is neural where a model volume is configured.

    Raises `MODELS_MISSING` (decided before torch is imported), `GPU_MISSING` where a drawing would take hours.
    """
    wanted = neural_steps(environment, settings.steps)
    if not wanted:
        return classical()
    from pipeline.neural import needed, networks  # noqa: PLC0415 - imports torch only when its models are there

    volume = needed(environment.volume, wanted, settings)
    served = networks(volume, wanted, settings, insist=environment.engine == "neural")
    base = classical(served.get("find"))
    name = "neural" if _is_neural(environment) else "classical"
    return replace(base, **(served | {"name": name, "models": {**base.models, **served["models"]}}))
