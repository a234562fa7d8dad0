"""What `bench.gpu_pipeline` times: every step of the neural engine on a made-up picture, and stock diffusers drawing the same."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import diffusers
import numpy as np
import torch
from PIL import Image

from bench.gpu.measure import Counter, Figure, Marks, median
from pipeline.palette import DEFAULT, Palette, parse
from pipeline.phase0_vehicle.birefnet import make_look
from pipeline.phase0_vehicle.locate import make_locate
from pipeline.phase0_vehicle.vehicle import make_matte
from pipeline.phase1_sanitize.find_neural import make_find
from pipeline.phase1_sanitize.inpaint_neural import make_inpaint
from pipeline.phase1_sanitize.mask_neural import make_mask
from pipeline.phase2_illustrate.diffusion.depth import make_depth
from pipeline.phase2_illustrate.diffusion.edges import control_edges
from pipeline.phase3_enforce import ciede2000_torch
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase3_enforce.upscale_neural import make_upscale
from pipeline.progress import Progress
from pipeline.steps import Brief, Redraw
from pipeline.values import Box, Found, Frame, Gray, Illustration, Mask, Matte, Rgb

PROMPT = "flat vector illustration, minimalist style, clean lines, solid colors"
NEGATIVE = "blurry, distorted, anatomically incorrect, text, watermark, logo"
LABELS = ("side view mirror", "car logo", "brand badge", "license plate", "text", "sticker")


@dataclass(frozen=True, slots=True)
class Size:
    """Sides in pixels: of the square of phase 1, of the matting network's input, of the drawing, of the result; and the steps."""

    photo: int
    matte: int
    drawing: int
    result: int
    steps: int


#: What a job has by default, and what tiny networks do in a minute on two cores.
GENUINE = Size(2048, 1024, 1024, 4096, 30)
TINY = Size(256, 128, 128, 512, 8)


@dataclass(frozen=True, slots=True)
class Scene:
    """A flat vehicle before a sky: `rgb` and `inside` at phase 1's side, `small` and `small_inside` at the drawing's."""

    rgb: Rgb
    inside: Mask
    small: Rgb
    small_inside: Mask
    found: tuple[Found, ...]
    box: Box


def scene(size: Size) -> Scene:
    """A picture that needs no font, file or network: body, glass, wheels, lamps, six things to remove, and some noise."""
    side = size.photo

    def at(*values: float) -> tuple[int, ...]:
        return tuple(round(v * side) for v in values)

    rgb = np.linspace([170, 200, 235], [120, 120, 118], side)[:, None].repeat(side, 1)
    body = np.zeros((side, side), np.uint8)
    outline = [(0.08, 0.62), (0.1, 0.48), (0.3, 0.44), (0.4, 0.33), (0.68, 0.33), (0.8, 0.46), (0.93, 0.5), (0.93, 0.64)]
    cv2.fillPoly(body, [np.array([at(*point) for point in outline], np.int32)], 255)
    glass = [(0.36, 0.44), (0.43, 0.36), (0.66, 0.36), (0.74, 0.45)]
    rgb[body > 0] = (190, 30, 35)
    cv2.fillPoly(rgb, [np.array([at(*point) for point in glass], np.int32)], (60, 75, 90))
    for x in (0.25, 0.77):
        cv2.circle(rgb, at(x, 0.63), round(0.075 * side), (25, 25, 25), -1)
        cv2.circle(rgb, at(x, 0.63), round(0.04 * side), (160, 160, 165), -1)
        cv2.circle(body, at(x, 0.63), round(0.075 * side), 255, -1)
    things = ((0.3, 0.42, 0.35, 0.46), (0.12, 0.5, 0.15, 0.53), (0.88, 0.52, 0.91, 0.54), (0.1, 0.56, 0.18, 0.6), (0.45, 0.5, 0.6, 0.54))
    found = []
    for label, (x0, y0, x1, y1) in zip(LABELS, (*things, (0.62, 0.5, 0.66, 0.54)), strict=True):
        cv2.rectangle(rgb, at(x0, y0), at(x1, y1), (235, 235, 240), -1)
        quad = np.array([at(x0, y0), at(x1, y0), at(x1, y1), at(x0, y1)], np.float32)
        found.append(Found(label, 0.9, quad))
    noise = np.random.default_rng(0).normal(0, 3, rgb.shape)
    picture = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    small = np.asarray(cv2.resize(np.clip(rgb, 0, 255).astype(np.uint8), (size.drawing,) * 2, interpolation=cv2.INTER_NEAREST), np.uint8)
    inside = np.asarray(cv2.resize(body, (size.drawing,) * 2, interpolation=cv2.INTER_NEAREST)) > 0
    return Scene(picture, body > 0, small, inside, tuple(found), tuple(float(v) for v in at(0.08, 0.33, 0.93, 0.7)))  # type: ignore[arg-type]


def brief(picture: Scene, size: Size) -> Brief:
    """A standard drawing that starts from noise alone, as stock diffusers' does."""
    side = size.drawing
    depth = np.asarray(np.tile(np.linspace(40, 220, side), (side, 1)).T, np.uint8)
    return Brief(
        depth=np.where(picture.small_inside, depth, 0).astype(np.uint8),
        edges=control_edges(picture.small),
        seed=42,
        steps=size.steps,
        guidance=7.5,
        depth_weight=0.6,
        canny_weight=0.4,
        canny_end=0.75,
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        lora_scale=0.8,
        few_step=False,
        strength=1.0,
    )


def steps_of(cache: Any, size: Size, picture: Scene, depth_name: str) -> dict[str, Callable[[], Any]]:
    """Every step but the drawing, in a job's order; phase 3 is whole, its parts stand beneath it."""
    side, frame = size.photo, Frame.fit(size.photo, size.photo, size.photo)
    find, mask, inpaint = make_find(cache), make_mask(cache), make_inpaint(cache)
    locate = make_locate(find)
    matte, depth, upscale = make_matte(make_look(cache, size.matte)), make_depth(cache, depth_name), make_upscale(cache)
    palette = parse(list(DEFAULT))
    holes = np.zeros((side, side), bool)
    for one in picture.found:
        x0, y0, x1, y1 = (round(v) for v in one.box)
        holes[y0:y1, x0:x1] = True
    factor = size.result / size.drawing
    drawn = Illustration(
        rgb=picture.small,
        frame=frame.at(size.drawing),
        matte=Matte((picture.small_inside * 255).astype(np.uint8), 1.0),
        ink=np.zeros(picture.small_inside.shape, bool),
        parts=np.zeros((1, 1), np.uint8),
        edges=None,
        depth=None,
        iou=None,
        attempts=1,
    )
    small_box = tuple(v * size.drawing / side for v in picture.box)
    return {
        "find the vehicle": lambda: locate(picture.rgb),
        "find six labels": lambda: find(picture.rgb, picture.box, LABELS),
        "mask, six boxes": lambda: mask(picture.rgb, picture.found),
        "inpaint": lambda: inpaint(picture.rgb, holes),
        "matte": lambda: matte(picture.rgb, picture.box),
        "depth": lambda: depth(picture.small),
        "edges": lambda: control_edges(picture.small),
        "matte of the drawing": lambda: matte(picture.small, small_box),  # type: ignore[arg-type]
        "phase 3": lambda: enforce(drawn, palette, size.result, False, upscale, EnforceSettings(), Progress()),
        PARTS[0]: lambda: upscale(picture.small, factor, palette, lambda _: None),
        PARTS[1]: lambda: _labelled(picture.small, palette, round(factor), cache.device),
    }


#: Stages that another one holds already.
PARTS = ("  upscale and palette, whole square", "  palette alone, at working size")


def _labelled(rgb: Rgb, palette: Palette, factor: int, device: torch.device) -> Gray:
    big = torch.from_numpy(rgb).to(device).repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    return np.asarray(ciede2000_torch.label(big, palette).cpu().numpy())


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawing taken apart: before and during the first step, each step in seconds, decoding, the whole."""

    steps: tuple[float, ...]
    decode: float

    @property
    def looped(self) -> float:
        """All steps, with what comes before the first."""
        return sum(self.steps)

    @property
    def whole(self) -> float:
        """From the step's call to its answer."""
        return self.looped + self.decode


def drawn(redraw: Redraw, picture: Scene, told: Brief, device: torch.device) -> tuple[Drawn, Rgb]:
    """Times of one drawing on the device's own clock."""
    marks = Marks(device)
    marks.mark()
    rgb, _ = redraw(picture.small, told, marks.mark)
    marks.mark()
    *steps, decode = marks.seconds()
    return Drawn(tuple(steps), decode), rgb


def drawing_work(redraw: Redraw, picture: Scene, told: Brief) -> list[float]:
    """TFLOP of each step, and of the decoding at the end."""
    counter, at = Counter(), [0.0]
    with counter:
        redraw(picture.small, told, lambda _: at.append(counter.tflop))
        at.append(counter.tflop)
    return [b - a for a, b in pairwise(at)]


def drawing_figures(times: list[Drawn], work: list[float], told: Brief, peak: float | None) -> list[Figure]:
    """The drawing's lines of the table, from several drawings."""
    both = [i for i in range(1, told.steps) if (i + 1) / told.steps <= told.canny_end]
    alone = [i for i in range(1, told.steps) if (i + 1) / told.steps > told.canny_end]
    rows = [
        Figure(f"draw: {told.steps} steps", median([t.looped for t in times]), peak, sum(work[:-1])),
        Figure("  before and in the first step", median([t.steps[0] for t in times]), None, work[0]),
    ]
    for name, which in (("  a step under both nets", both), ("  a step, canny released", alone)):
        if which:
            rows.append(Figure(name, median([t.steps[i] for t in times for i in which]), None, work[which[0]]))
    return [*rows, Figure("decode", median([t.decode for t in times]), peak, work[-1])]


def stock(nets: Callable[[str], Any], scheduler: dict[str, Any], embeddings: dict[str, torch.Tensor], picture: Scene, told: Brief) -> Any:
    """diffusers' own pipeline over the same networks, as its documentation has it; returns a function that draws."""
    unet = nets("sdxl-unet")
    pipe = diffusers.StableDiffusionXLControlNetPipeline(
        vae=nets("sdxl-vae"),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        controlnet=[nets("controlnet-depth"), nets("controlnet-canny")],
        scheduler=diffusers.UniPCMultistepScheduler.from_config(scheduler),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    side = picture.small.shape[0]
    given = {name: tensor.to(unet.device, unet.dtype) for name, tensor in embeddings.items()}
    pictures = [Image.fromarray(np.repeat(one[..., None], 3, 2)) for one in (told.depth, told.edges) if one is not None]

    def draw() -> Rgb:
        answer = pipe(
            **given,
            image=pictures,
            width=side,
            height=side,
            num_inference_steps=told.steps,
            guidance_scale=told.guidance,
            controlnet_conditioning_scale=[told.depth_weight, told.canny_weight],
            control_guidance_start=[0.0, 0.0],
            control_guidance_end=[1.0, told.canny_end],
            generator=torch.Generator().manual_seed(told.seed),
            output_type="np",
        )
        return np.asarray((answer.images[0] * 255).round(), np.uint8)

    return draw


@torch.inference_mode()
def unet_step(nets: dict[str, Any], device: torch.device, dtype: torch.dtype, side: int) -> torch.Tensor:
    """What the UNet answers under both ControlNets, for latents and conditions that are the same on every device and in every type."""
    random = torch.Generator().manual_seed(1)
    unet, low = nets["sdxl-unet"], side // 8
    # Every number of the inputs is one of float16 and bfloat16 both, so that only the networks differ.
    text, pooled = (
        unet.config.cross_attention_dim,
        unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim,
    )

    def given(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random).bfloat16().to(device, dtype)

    sample, words, whole, pictures = (
        given(1, 4, low, low),
        given(1, 77, text),
        given(1, pooled),
        [given(1, 3, side, side) for _ in range(2)],
    )
    sizes = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32, device=device)
    told = {"added_cond_kwargs": {"text_embeds": whole, "time_ids": sizes}, "return_dict": False}
    timestep = torch.tensor(500, device=device)
    (down, middle), (more, beside) = (
        nets[name](sample, timestep, words, picture, weight, **told)
        for name, picture, weight in zip(("controlnet-depth", "controlnet-canny"), pictures, (0.6, 0.4), strict=True)
    )
    answer: torch.Tensor = unet(
        sample,
        timestep,
        words,
        down_block_additional_residuals=[a + b for a, b in zip(down, more, strict=True)],
        mid_block_additional_residual=middle + beside,
        **told,
    )[0]
    return answer
