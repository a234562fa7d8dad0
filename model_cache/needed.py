"""Which networks serve which steps: what the engine loads and what the builder fetches. No torch."""

from collections.abc import Collection

#: The few-step drawing of drafts; the engine does without where it is not installed.
FAST_LORA = "lcm-lora"
#: The text encoders: to make the prompt's embeddings, and to serve other prompts.
TEXT = "sdxl-text"
#: A schedule of noise: it is read like a model, and is never on a card.
SCHEDULER = "sdxl-scheduler"


def uses(steps: Collection[str], segmenter: str, depth: str, nets: str) -> tuple[tuple[str, ...], ...]:
    """What these steps of the pipeline take, in the order of a job: each time those models that are needed together.

    `segmenter` and `depth` are names of models; `nets` is "separate" or "union", the ControlNets of the drawing.
    """
    controls = ("controlnet-union",) if nets == "union" else ("controlnet-depth", "controlnet-canny")
    order = (
        ("find", "grounding-dino"),  # the vehicle
        ("matte", "birefnet"),
        ("find", "grounding-dino"),  # what is on it
        ("mask", segmenter),
        ("inpaint", "lama"),
        ("draw", depth),
        ("draw", SCHEDULER),
        ("draw", "sdxl-vae"),
        ("draw", "sdxl-unet", *controls),
        ("draw", "sdxl-vae"),
        ("matte", "birefnet"),  # of the drawing
        ("upscale", "realesrgan-anime"),
    )
    return tuple(tuple(names) for step, *names in order if step in steps)


def needed(steps: Collection[str], segmenter: str, depth: str, nets: str) -> tuple[str, ...]:
    """The models that these steps cannot do without, in the order of their first use; see `uses`."""
    return tuple(dict.fromkeys(name for use in uses(steps, segmenter, depth, nets) for name in use))
