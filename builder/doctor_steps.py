"""Each step's answer on the sample picture, compared with what is known of the picture.

Each step is given the truth of the step before it, so that one that fails leaves the others with something to work on. An examination
returns an `Answer`; whatever it raises is a failure, and told as one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from builder import doctor_limits as limits
from builder.doctor_sample import Answer, Clock, Picture, Sample, corners
from pipeline.color import srgb_to_lab
from pipeline.job import REMOVE, Job
from pipeline.palette import Palette
from pipeline.phase0_vehicle.choose import choose
from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.sanitize import checked_mask, dilated, split
from pipeline.phase2_illustrate.classical.draw import draw as draw_classical
from pipeline.phase2_illustrate.diffusion.edges import control_edges
from pipeline.phase2_illustrate.diffusion.white import on_white
from pipeline.phase2_illustrate.grade import grade
from pipeline.phase3_enforce import ciede2000
from pipeline.raster import box_iou, mask_iou
from pipeline.run import illustrate_settings
from pipeline.settings import Settings
from pipeline.steps import Brief, Steps
from pipeline.values import Found, Mask, Rgb

#: The strengths at which the drawing is shown.
STRENGTHS = (0.8, 0.9, 1.0)
UNREPEATED = "the same input gave another answer the second time"
_READABLE = 12
_ORANGE, _GREEN, _WHITE = (255, 77, 18), (46, 160, 67), (255, 255, 255)

#: Pixels by which a mask of Segment Anything may always reach beyond its box: 2 as it is answered, and 3 by which it is widened.
SOFT_RIM = 5


def _boxed(rgb: Rgb, found: Sequence[Found], color: tuple[int, int, int], named: bool = True) -> Rgb:
    out, unit = rgb.copy(), max(1, rgb.shape[0] // 700)
    for one in found:
        cv2.polylines(out, [np.round(one.quad).astype(np.int32)], True, _WHITE, 3 * unit, cv2.LINE_AA)
        cv2.polylines(out, [np.round(one.quad).astype(np.int32)], True, color, 2 * unit, cv2.LINE_AA)
    for one in found if named and len(found) <= _READABLE else ():  # more names would hide the picture
        x, y = int(one.box[0]), int(one.box[1]) - 4 * unit
        for ink, width in ((_WHITE, 4 * unit), (color, 2 * unit)):
            cv2.putText(out, f"{one.label} {one.score:.2f}", (x, y), cv2.FONT_HERSHEY_DUPLEX, 0.55 * unit, ink, width, cv2.LINE_AA)
    return out


def _marked(rgb: Rgb, mask: Mask) -> Rgb:
    """The mask in orange over the picture."""
    out = rgb.copy()
    out[mask] = (0.35 * out[mask] + 0.65 * np.array(_ORANGE)).astype(np.uint8)
    return out


def _around(sample: Sample) -> tuple[slice, slice]:
    """Rows and columns of the vehicle with a margin."""
    x0, y0, x1, y1 = quads.around(sample.inside, sample.frame, 0.05)
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def find(steps: Steps, sample: Sample, settings: Settings, clock: Clock) -> Answer:
    """The detector: the vehicle's box, then what is to be removed from it."""
    locate = steps.locate
    if locate is None:
        raise ValueError("the engine has no detector of vehicles")
    vehicles, first = clock(lambda: locate(sample.rgb))
    labels, _ = split(REMOVE, frozenset("*"))
    found, second = clock(lambda: steps.find(sample.rgb, sample.vehicle, labels))
    found = [one for one in found if one.score >= settings.phase1.score_threshold]
    quadrilaterals = [one.quad for one in (*vehicles, *found)]
    if quadrilaterals and not np.isfinite(np.stack(quadrilaterals)).all():
        raise ValueError("it answers boxes that are no numbers")
    chosen = choose(vehicles, sample.frame.content, None)
    agreement = 0.0 if chosen is None else box_iou(chosen.box, sample.vehicle)
    plates = [box_iou(one.box, thing.box) for one in found for thing in sample.things if thing.label == one.label == "license plate"]
    reasons = []
    if chosen is None:
        reasons.append("no vehicle was found")
    elif not limits.VEHICLE.passed(agreement):
        reasons.append(f"the vehicle's box covers the true one by {agreement:.2f} only")
    if not limits.PLATE.passed(max(plates, default=0.0)):
        reasons.append("the license plate was not found where it is")
    facts = {
        "Vehicles": str(len(vehicles)),
        "Vehicle's box, IoU with the true one": f"{agreement:.3f}",
        "Things found": str(len(found)),
        "Plate, best IoU": f"{max(plates, default=0.0):.3f}",
        **limits.told(limits.VEHICLE, limits.PLATE),
    }
    shown = _boxed(_boxed(sample.rgb, [] if chosen is None else [chosen], _GREEN), found, _ORANGE)[sample.part]
    truth = _boxed(sample.rgb, [Found("vehicle", 1.0, corners(sample.vehicle)), *sample.things], _GREEN, named=False)[sample.part]
    pictures = (Picture("What is there", truth), Picture(f"Found, from a score of {settings.phase1.score_threshold:g}", shown))
    return _judged("the vehicle and its plate were found", reasons, facts, pictures, {"vehicle": first, "things": second})


def _judged(fine: str, reasons: list[str], facts: dict[str, str], pictures: tuple[Picture, ...], seconds: dict[str, float]) -> Answer:
    sentence = "; ".join(reasons) or fine
    return Answer("suspicious" if reasons else "ok", f"{sentence[0].upper()}{sentence[1:]}.", facts, pictures, seconds)


def mask(steps: Steps, sample: Sample, _: Settings, clock: Clock) -> Answer:
    """The segmenter, given the true boxes."""
    made, seconds = clock(lambda: steps.mask(sample.rgb, sample.things))
    if len(made) != len(sample.things):
        raise ValueError(f"it answers {len(made)} masks for {len(sample.things)} boxes")
    within, cover = [], []
    for one, thing in zip(made, sample.things, strict=True):
        box = quads.filled(quads.padded(thing.quad, SOFT_RIM, SOFT_RIM), one.shape)
        if not checked_mask(one, sample.rgb, thing).any():
            raise ValueError(f"its mask of {thing.label} is empty")
        within.append(float((one & box).sum() / one.sum()))
        cover.append(float(one.sum() / quads.filled(thing.quad, one.shape).sum()))
    reasons = []
    if not limits.WITHIN.passed(min(within)):
        reasons.append(f"the mask of {sample.things[int(np.argmin(within))].label} runs out of its box: only {min(within):.2f} lies inside")
    if not limits.FILLED.passed(min(cover)):
        reasons.append(f"the mask of {sample.things[int(np.argmin(cover))].label} covers {min(cover):.3f} of its box only")
    facts = {"Things": str(len(made)), "Least share inside its box": f"{min(within):.3f}", "Least share of its box": f"{min(cover):.3f}"}
    facts |= limits.told(limits.WITHIN, limits.FILLED)
    window = _around(sample)
    shown = _marked(sample.rgb, np.logical_or.reduce(made))[window]
    pictures = (Picture("The true boxes", _boxed(sample.rgb, sample.things, _GREEN)[window]), Picture("Their masks", shown))
    return _judged("each thing's mask lies in its box", reasons, facts, pictures, {"masks": seconds})


def inpaint(steps: Steps, sample: Sample, settings: Settings, clock: Clock) -> Answer:
    """The mending of the places where plates and lettering are."""
    hole = np.logical_or.reduce([quads.filled(thing.quad, sample.inside.shape) for thing in sample.things])
    hole = dilated(hole, sample.frame, settings.phase1.dilation)
    part = sample.part
    rgb, inner = np.ascontiguousarray(sample.rgb[part]), np.ascontiguousarray(hole[part])
    clean, seconds = clock(lambda: steps.inpaint(rgb, inner))
    if clean.shape != rgb.shape or clean.dtype != np.uint8:
        raise ValueError(f"it answers {clean.shape} {clean.dtype} for a picture of {rgb.shape}")
    if (clean[~inner] != rgb[~inner]).any():
        raise ValueError("it changes pixels outside of the mask")
    if (clean[inner] == rgb[inner]).all():
        raise ValueError("it answers the picture as it was")
    worst = max(_seam(clean, place) for place in _places(inner))
    reasons = [f"a mended place differs from its surroundings by {worst:.0f} in CIELAB"] if not limits.SEAM.passed(worst) else []
    facts = {"Share of the picture": f"{100 * inner.mean():.2f} %", "Largest difference at a seam, CIELAB": f"{worst:.1f}"}
    facts |= limits.told(limits.SEAM)
    rows, columns = _around(sample)
    window = (slice(rows.start - part[0].start, rows.stop - part[0].start), slice(columns.start - part[1].start, columns.stop))
    pictures = (Picture("Before", rgb[window]), Picture("To mend", _marked(rgb, inner)[window]), Picture("Mended", clean[window]))
    return _judged("what was there is gone, and its surroundings go on", reasons, facts, pictures, {"fill": seconds})


def _places(hole: Mask) -> list[Mask]:
    count, number = cv2.connectedComponents(hole.astype(np.uint8))
    return [np.asarray(number == one) for one in range(1, count)]


def _seam(clean: Rgb, hole: Mask) -> float:
    """How far the colours on both sides of a mended place's border are apart, the mean along the border, CIELAB.

    Each side's colour is the mean of its own pixels within a small window, so that what changes along the border does not count.
    """
    rim, window = np.ones((5, 5), np.uint8), (2 * (len(clean) // 200) + 5,) * 2
    inner = hole & ~np.asarray(cv2.erode(hole.astype(np.uint8), rim), bool)
    outer = np.asarray(cv2.dilate(hole.astype(np.uint8), rim), bool) & ~hole
    lab = srgb_to_lab(clean).astype(np.float32)

    def local(side: Mask) -> tuple[NDArray[Any], NDArray[Any]]:
        weight = cv2.blur(side.astype(np.float32), window)
        return cv2.blur(lab * side[..., None], window) / np.maximum(weight, 1e-6)[..., None], weight

    (within, here), (beyond, there) = local(inner), local(outer)
    border = inner & (here > 0.02) & (there > 0.02)
    return float(np.linalg.norm(within - beyond, axis=2)[border].mean()) if border.any() else 0.0


def matte(steps: Steps, sample: Sample, _: Settings, clock: Clock) -> Answer:
    """The vehicle's outline, given its true box."""
    outline = steps.matte
    if outline is None:
        raise ValueError("the engine has no matte")
    made, seconds = clock(lambda: outline(sample.rgb, sample.vehicle))
    agreement = mask_iou(sample.inside, made.inside)
    reasons = [f"the matte covers the true outline by {agreement:.2f} only"] if not limits.MATTE.passed(agreement) else []
    facts = {"IoU with the true outline": f"{agreement:.4f}", "Confidence": "–" if made.confidence is None else f"{made.confidence:.3f}"}
    facts |= limits.told(limits.MATTE)
    cut = on_white(sample.rgb, made.alpha)
    pictures = (Picture("Photo", sample.rgb[sample.part]), Picture("Matte", made.alpha[sample.part]), Picture("Cut out", cut[sample.part]))
    return _judged(f"the outline is right (IoU {agreement:.3f})", reasons, facts, pictures, {"matte": seconds})


def depth(steps: Steps, sample: Sample, settings: Settings, clock: Clock) -> Answer:
    """The depth of the photograph, whose road is nearer than its houses, and of the vehicle on white, which is drawn from."""
    network = steps.depth
    if network is None:
        raise ValueError("the engine has no depth")
    small = sample.at(settings.phase2.side)
    whole, first = clock(lambda: network(small.rgb))
    control, second = clock(lambda: network(on_white(small.rgb, small.inside)))
    for picture in (whole, control):
        if picture.dtype != np.uint8 or picture.shape != small.inside.shape or picture.min() == picture.max():
            raise ValueError(f"it answers {picture.shape} {picture.dtype} from {picture.min()} to {picture.max()}")
    seen = whole[small.part].astype(np.float64)
    third = len(seen) // 3
    near, far = float(seen[-third:].mean()), float(seen[:third].mean())
    reasons = ["the road in front is not much nearer than the houses behind"] if not limits.DEPTH.passed(near - far) else []
    facts = {"Mean depth in front (255 is nearest)": f"{near:.0f}", "Behind": f"{far:.0f}", **limits.told(limits.DEPTH)}
    edges = control_edges(on_white(small.rgb, small.inside), small.inside)
    shown = (small.rgb, whole, control, edges)
    captions = ("Photo", "Its depth, near is bright", "Depth to draw from", "Edges to draw from (no network)")
    pictures = tuple(Picture(caption, picture[small.part]) for caption, picture in zip(captions, shown, strict=True))
    return _judged("near is bright and far is dark", reasons, facts, pictures, {"photo": first, "cut out": second})


def draw(steps: Steps, sample: Sample, settings: Settings, clock: Clock) -> Answer:
    """The drawing at several strengths, from the true outline, and what grading makes of the default one."""
    small, network = sample.at(settings.phase2.side), steps.redraw
    if network is None:
        raise ValueError("the engine does not redraw")
    source = on_white(small.rgb, small.inside)
    brief, warnings = _brief(steps, settings)
    if steps.depth is not None:
        brief = replace(brief, depth=steps.depth(source))
    brief = replace(brief, edges=control_edges(source, small.inside))
    seconds: dict[str, float] = {}
    scores: dict[float, float] = {}
    drawings: dict[float, Rgb] = {}
    told: tuple[str, ...] = warnings
    for strength in dict.fromkeys((*STRENGTHS, brief.strength)):
        one = replace(brief, strength=strength)
        (rgb, said), seconds[f"strength {strength:g}"] = clock(partial(network, source, one, lambda _: None))
        if rgb.std() < 1:
            raise ValueError(f"the drawing at strength {strength:g} is of one colour")
        drawings[strength], scores[strength], told = rgb, mask_iou(small.inside, _drawn(steps, rgb, sample)), (*told, *said)
    again, _ = network(source, brief, lambda _: None)
    answer = _drawing_answer(
        small, settings, brief, drawings, scores, seconds, tuple(dict.fromkeys(told)), same=(again == drawings[brief.strength]).all()
    )
    return _with_draft(answer, steps, settings, source, brief, small, clock) if steps.few_step else answer


def _with_draft(answer: Answer, steps: Steps, settings: Settings, source: Rgb, brief: Brief, small: Sample, clock: Clock) -> Answer:
    """The drawing of the draft preset beside the others."""
    network = steps.redraw
    assert network is not None
    draft = replace(_brief(steps, settings, "draft")[0], depth=brief.depth, edges=brief.edges)
    network(source, draft, lambda _: None)  # fuses the LoRA, which a worker does once
    (rgb, _), seconds = clock(partial(network, source, draft, lambda _: None))
    picture = Picture(f"Preset draft: {draft.steps} steps, few-step LoRA", rgb[small.part])
    return replace(answer, pictures=(*answer.pictures, picture), seconds={**answer.seconds, "draft": seconds})


def _drawing_answer(
    small: Sample,
    settings: Settings,
    brief: Brief,
    drawings: dict[float, Rgb],
    scores: dict[float, float],
    seconds: dict[str, float],
    told: tuple[str, ...],
    same: bool | np.bool_,
) -> Answer:
    least, own = settings.phase2.iou_retry.threshold, brief.strength
    reasons = [f"the drawn vehicle covers the photographed one by {scores[own]:.2f}, less than {least}"] if scores[own] < least else []
    reasons += [] if same else [UNREPEATED]
    pictures = [Picture("Photo on white", on_white(small.rgb, small.inside)[small.part])]
    pictures += [
        Picture(f"Strength {strength:g}{' (yours)' if strength == own else ''}: IoU {scores[strength]:.3f}", drawings[strength][small.part])
        for strength in sorted(drawings)
    ]
    palette = Job(image_base64="-").palette
    flat = {
        "Without grading: nearest colours": ciede2000.label(drawings[own], palette),
        "With grading": grade(drawings[own], small.inside, palette),
    }
    facts = {"Steps": str(brief.steps), "Guidance": f"{brief.guidance:g}", "The same again": "identical" if same else "different"}
    for caption, everywhere in flat.items():
        labels = np.where(small.inside, everywhere, len(palette)).astype(np.uint8)
        facts[f"Areas {caption.partition(':')[0].lower()}"] = f"{_areas(labels)}"
        pictures.append(Picture(caption, _coloured(labels, palette)[small.part]))
    facts |= {"Prompt": brief.prompt, **({"Notes": " ".join(warning.partition(": ")[2] for warning in told)} if told else {})}
    return _judged("the drawing shows the vehicle where it was", reasons, facts, tuple(pictures), seconds)


def _brief(steps: Steps, settings: Settings, preset: Literal["standard", "draft"] = "standard") -> tuple[Brief, tuple[str, ...]]:
    found, warnings = illustrate_settings(Job(image_base64="-", preset=preset), steps, settings)
    if found.redraw is None:
        raise ValueError("the engine does not redraw")
    return found.redraw.brief, warnings


def _drawn(steps: Steps, rgb: Rgb, sample: Sample) -> Mask:
    """Where the vehicle stands in a drawing on white; empty where none is seen."""
    scale = rgb.shape[0] / sample.rgb.shape[0]
    x0, y0, x1, y1 = (v * scale for v in sample.vehicle)
    if steps.matte is None:
        raise ValueError("the engine has no matte")
    return steps.matte(rgb, (x0, y0, x1, y1)).inside


def _areas(labels: NDArray[np.uint8]) -> int:
    return sum(cv2.connectedComponents((labels == one).astype(np.uint8), connectivity=4)[0] - 1 for one in np.unique(labels))


def _coloured(labels: NDArray[np.uint8], palette: Palette) -> Rgb:
    table = np.vstack([palette.rgb, np.full((1, 3), 255, np.uint8)])
    return np.asarray(table[np.minimum(labels, len(palette))], np.uint8)


def upscale(steps: Steps, sample: Sample, settings: Settings, clock: Clock) -> Answer:
    """Four times the vehicle's middle, from a flat drawing made without networks."""
    small, palette = sample.at(settings.phase2.side), Job(image_base64="-").palette
    labels = grade(draw_classical(small.rgb, small.inside), small.inside, palette)
    flat = _coloured(labels, palette)
    content = quads.photo_part(small.frame.at(len(flat)))
    flat = np.ascontiguousarray(flat[content])
    large, seconds = clock(lambda: steps.upscale(flat, 4.0, palette, lambda _: None))
    height, width = flat.shape[:2]
    if large.shape != (4 * height, 4 * width) or large.max() >= len(palette):
        raise ValueError(f"it answers {large.shape} with labels up to {large.max()} for a picture of {flat.shape}")
    small_labels = ciede2000.label(flat, palette)
    kept = float((large == np.kron(small_labels, np.ones((4, 4), np.uint8))).mean())
    reasons = [f"only {kept:.2f} of the pixels kept their colour"] if not limits.KEPT.passed(kept) else []
    facts = {"From": f"{width} × {height}", "To": f"{4 * width} × {4 * height}", "Pixels that kept their colour": f"{100 * kept:.1f} %"}
    facts |= limits.told(limits.KEPT)
    rows, columns = (slice(n // 2 - n // 6, n // 2 + n // 6) for n in (height, width))
    before = np.kron(flat[rows, columns], np.ones((4, 4, 1), np.uint8)).astype(np.uint8)
    after = _coloured(large, palette)[4 * rows.start : 4 * rows.stop, 4 * columns.start : 4 * columns.stop]
    pictures = (Picture("Middle of the picture, enlarged by pixels", before), Picture("By the network", after))
    return _judged("outlines are smooth and colours have stayed", reasons, facts, pictures, {"upscale": seconds})


#: What is examined, in the order of a job. Step: the name, what it does, the settings' step that serves it, the examination.
EXAMINATIONS: tuple[tuple[str, str, Callable[[Steps, Sample, Settings, Clock], Answer]], ...] = (
    ("Find", "find", find),
    ("Matte", "matte", matte),
    ("Masks", "mask", mask),
    ("Inpaint", "inpaint", inpaint),
    ("Depth", "draw", depth),
    ("Draw", "draw", draw),
    ("Upscale", "upscale", upscale),
)
