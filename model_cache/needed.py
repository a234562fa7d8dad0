"""Which networks serve which steps: what the engine loads and what the builder fetches. No torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

#: The few-step drawing of drafts; the engine does without where it is not installed.
FAST_LORA = "lcm-lora"
#: The text encoders: to make the prompt's embeddings, and to serve other prompts.
TEXT = "sdxl-text"
#: A schedule of noise: it is read like a model, and is never on a card.
SCHEDULER = "sdxl-scheduler"
#: ControlNets of the drawing by their name in the settings: that of the depth, that of the edges.
CONTROLS: Mapping[str, tuple[str, str]] = {
    "separate": ("controlnet-depth", "controlnet-canny"),
    "union": ("controlnet-union", "controlnet-union"),
    "union-promax": ("controlnet-union-promax", "controlnet-union-promax"),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """The models of the steps for which the catalogue has several, and `nets`, a key of `CONTROLS`."""

    detector: str
    matte: str
    segmenter: str
    depth: str
    nets: str


def uses(steps: Collection[str], chosen: Chosen) -> tuple[tuple[str, ...], ...]:
    """What these steps of the pipeline take, in the order of a job: each time those models that are needed together."""
    order = (
        ("find", chosen.detector),  # the vehicle
        ("matte", chosen.matte),
        ("find", chosen.detector),  # what is on it
        ("mask", chosen.segmenter),
        ("inpaint", "lama"),
        ("draw", chosen.depth),
        ("draw", SCHEDULER),
        ("draw", "sdxl-vae"),
        ("draw", "sdxl-unet", *dict.fromkeys(CONTROLS[chosen.nets])),
        ("draw", "sdxl-vae"),
        ("matte", chosen.matte),  # of the drawing
        ("upscale", "realesrgan-anime"),
    )
    return tuple(tuple(names) for step, *names in order if step in steps)


def needed(steps: Collection[str], chosen: Chosen) -> tuple[str, ...]:
    """The models that these steps cannot do without, in the order of their first use; see `uses`."""
    return tuple(dict.fromkeys(name for use in uses(steps, chosen) for name in use))
