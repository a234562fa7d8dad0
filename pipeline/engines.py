"""Which implementation serves each step. An engine is a value: a record of functions, built once at start-up."""

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version

from model_cache.embedded import EFFICIENTNET, FETCH, ISNET, Served, served
from model_cache.errors import BrokenModel
from pipeline.errors import Code, JobError
from pipeline.parallel import both
from pipeline.phase0_vehicle.efficientnet import make_verdict
from pipeline.phase0_vehicle.isnet import make_look
from pipeline.phase0_vehicle.vehicle import make_matte
from pipeline.phase1_sanitize.find_classical import FINDS, make_find
from pipeline.phase1_sanitize.inpaint_classical import inpaint
from pipeline.phase1_sanitize.mask_classical import masks
from pipeline.phase2_illustrate.classical.draw import draw
from pipeline.phase3_enforce.upscale_classical import upscale
from pipeline.settings import Environment, Settings, StepChoices
from pipeline.steps import Find, Look, Steps, Verdict

#: More threads than these hardly make the outlining network faster.
MOST_THREADS = 8


def embedded_networks(environment: Environment) -> Mapping[str, Served]:
    """The embedded engine's networks that are there. Raises `MODELS_MISSING` for one that is there and damaged."""
    try:
        return served(environment.networks_path)
    except BrokenModel as error:
        raise JobError(Code.MODELS_MISSING, f"{error}.", fatal=True) from None


def classical(networks: Mapping[str, Served], find: Find | None = None, look: Look | None = None) -> Steps:
    """The embedded engine: no torch, its two small networks where they are there, and those in RapidOCR's package.

    Another `find` does without the last, another `look` without IS-Net.
    """

    def looks() -> tuple[Look | None, Verdict | None]:
        outlining = look or (make_look(networks[ISNET].path, min(MOST_THREADS, os.cpu_count() or 1)) if ISNET in networks else None)
        return outlining, make_verdict(networks[EFFICIENTNET].path) if EFFICIENTNET in networks else None

    (outlining, verdict), finding = both(looks, lambda: find or make_find())
    models = {name: one.sha256 for name, one in networks.items() if name != ISNET or look is None}
    return Steps(
        name="classical",
        finds=FINDS,
        look=outlining,
        verdict=verdict,
        locate=None,
        matte=None if outlining is None else make_matte(outlining),
        find=finding,
        mask=masks,
        inpaint=inpaint,
        depth=None,
        draw=draw,
        redraw=None,
        upscale=upscale,
        models=models if find else {"rapidocr": version("rapidocr"), **models},
    )


def _is_neural(environment: Environment) -> bool:
    return environment.engine == "neural" or (environment.engine == "auto" and environment.volume is not None)


def neural_steps(environment: Environment, choices: StepChoices) -> frozenset[str]:
    """The steps that networks of the model volume serve: each by its own setting, `auto` by the engine."""
    own = "neural" if _is_neural(environment) else "classical"
    return frozenset(name for name, choice in choices.model_dump().items() if (own if choice == "auto" else choice) == "neural")


def build(environment: Environment, settings: Settings) -> Steps:
    """The engine that ENGINE and `steps.*` ask for; `auto` is neural where a model volume is configured.

    Raises `MODELS_MISSING` (decided before torch is imported), `GPU_MISSING` where a drawing would take hours.
    """
    wanted, embedded = neural_steps(environment, settings.steps), embedded_networks(environment)
    if not wanted:
        return classical(embedded)
    if "draw" in wanted and "matte" not in wanted and ISNET not in embedded:
        sentence = f"A neural drawing is judged by its outline: let steps.matte be neural, or fetch the embedded networks ({FETCH})."
        raise JobError(Code.MODELS_MISSING, sentence, fatal=True)
    from pipeline.neural import needed, networks  # noqa: PLC0415 - imports torch only when its models are there

    volume = needed(environment.volume, wanted, settings)
    try:
        served = networks(volume, wanted, settings, insist=environment.engine == "neural")
    except ModuleNotFoundError as fault:
        sentence = f"Networks need the packages of requirements.txt, and {fault.name} is not there: pip install -r requirements.txt."
        raise JobError(Code.MODELS_MISSING, sentence, fatal=True) from fault
    base = classical(embedded, served.find, served.look)
    return replace(
        base,
        name="neural" if _is_neural(environment) else "classical",
        finds=served.finds or base.finds,
        locate=served.locate,
        mask=served.mask or base.mask,
        inpaint=served.inpaint or base.inpaint,
        depth=served.depth,
        draw=None if served.redraw else base.draw,
        redraw=served.redraw,
        upscale=served.upscale or base.upscale,
        models={**base.models, **served.models},
        few_step=served.few_step,
        expected_seconds=served.expected_seconds,
        watch_memory=served.watch_memory or base.watch_memory,
        warm_up=served.warm_up,
        cache_counts=served.cache_counts,
    )
