"""Which networks serve which steps: what the engine loads and what the builder fetches. No torch."""

from collections.abc import Collection

#: The few-step drawing of drafts; the engine does without where it is not installed.
FAST_LORA = "lcm-lora"
#: The text encoders: to make the prompt's embeddings, and to serve other prompts.
TEXT = "sdxl-text"


def needed(steps: Collection[str], segmenter: str, depth: str, nets: str) -> tuple[str, ...]:
    """The models that these steps of the pipeline cannot do without, in the order of their use.

    `segmenter` and `depth` are names of models; `nets` is "separate" or "union", the ControlNets of the drawing.
    """
    controls = ("controlnet-union",) if nets == "union" else ("controlnet-depth", "controlnet-canny")
    by_step = {
        "find": ("grounding-dino",),
        "matte": ("birefnet",),
        "mask": (segmenter,),
        "inpaint": ("lama",),
        "draw": (depth, "sdxl-scheduler", "sdxl-vae", "sdxl-unet", *controls),
        "upscale": ("realesrgan-anime",),
    }
    return tuple(name for step, names in by_step.items() if step in steps for name in names)
