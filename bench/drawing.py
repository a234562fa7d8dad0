"""Drawing, measured on the photographs from their true outlines, in the vehicle's own square at 1024 pixels.

    python -m bench.drawing [--against DIR] [--no-sheets] [NAME …]

Draws every photograph in the guide's palette and in the default one, prints what lives on of it, and writes
`bench/out/drawing/NAME.png`: photograph | guide's palette | default palette | vtracer with 15 colours. DIR is another checkout of the
project, whose drawing step is measured beside this one's. What is measured:

    recall, precision, F1   edges of the photograph that are drawn, and drawn ones that the photograph has; none in window panes
    dark                    recall where the photograph's L*, smoothed, lies below 25
    hue                     share of clearly coloured pixels (C* > 30, L* > 15, the palette has the hue within 35°) that keep it
    own, own/2, own/3       the same where at least 3 % of the vehicle is coloured: with the photograph's chroma as it is, halved, a third
    grey, tone              share of colourless pixels (C* < 8) that stay so; rank correlation of lightness
    tinted                  share of a colourless vehicle that is drawn in a colour
    regions, pane           areas of one colour inside the vehicle, and inside its middling window pane
    seconds                 of the processor, for the drawing step
"""

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cc3d
import cv2
import numpy as np
import resvg_py
import vtracer
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from bench.drawing_step import Drawn, Step, step_of
from bench.edges import SIDE, agreement, edges_of_both, met
from pipeline import palette as palettes
from pipeline.color import srgb_to_lab
from pipeline.intake.photo import letterbox, placed
from pipeline.palette import Palette
from pipeline.phase0_vehicle.framing import square_of
from pipeline.phase2_illustrate.glass import panes
from pipeline.phase2_illustrate.panel_lines import boundary_of
from pipeline.raster import bounds
from pipeline.values import Mask, Rgb
from tests.support.photographs import Example, examples

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out" / "drawing"
PALETTES = {
    "guide": palettes.parse("FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1"),
    "default": palettes.parse(None),
}
#: The photographs whose vehicle has no colour of its own.
COLOURLESS = ("hyundai", "gt86", "isuzu", "camper", "taycan", "z370", "gr86", "supra5", "mclaren")
#: Chroma and lightness of clearly coloured paint, degrees that are one hue, least pixels of a share, and the least share of the vehicle.
STRONG, LIT, ONE_HUE, FEWEST, ENOUGH = 30.0, 15.0, 35.0, 500, 0.03
#: Chroma below which a colour is none, that above which a palette's colour is one, and L* of the dark and the pixels it is smoothed by.
GREY, TINTED, DARK, SMOOTH = 8.0, 15.0, 25.0, 6.0
#: What the chroma of a photograph is multiplied by.
LOWERED = {"own": 1.0, "own/2": 1 / 2, "own/3": 1 / 3}
#: Digits of every measure, and whether more of it is worse.
MEASURES = dict.fromkeys(("recall", "precision", "F1", "dark", "hue", *LOWERED, "grey", "tone"), (3, False))
MEASURES |= {"tinted": (3, True), "regions": (0, True), "pane": (1, True), "seconds": (2, True)}
Labels = NDArray[np.uint8]
Lab = NDArray[np.float64]
Row = dict[str, float]
#: The rows of a run by palette, checkout and photograph.
Rows = dict[str, dict[str, dict[str, Row]]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A photograph in its vehicle's square, (S, S, …): `lab` of it without its grain, `pane` the number of the window pane."""

    name: str
    rgb: Rgb
    inside: Mask
    lab: Lab
    pane: NDArray[np.uint32]


def scene_of(it: Example) -> Scene:
    """The photograph in the square of its true outline."""
    box = bounds(it.truth)
    if box is None:
        raise ValueError(f"{it.name} has an empty outline")
    frame = square_of(box, it.rgb.shape[1], it.rgb.shape[0], SIDE)
    rgb, inside = letterbox(it.rgb, frame, SIDE), placed(it.truth.astype(np.uint8) * 255, frame.photo, SIDE) > 127
    return Scene(it.name, rgb, inside, srgb_to_lab(np.asarray(cv2.bilateralFilter(rgb, 9, 35, 6), np.uint8)), panes(rgb, inside))


def lowered(rgb: Rgb, factor: float) -> Rgb:
    """A picture with its CIELAB chroma times `factor`."""
    if factor == 1:
        return rgb
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) * np.array([1, factor, factor], np.float32)
    return np.round(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255).astype(np.uint8)


def chroma_of(lab: Lab) -> Lab:
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def apart(one: Lab, other: Lab) -> Lab:
    """Degrees between the hues of CIELAB colours."""
    turn = np.degrees(np.abs(np.arctan2(one[..., 2], one[..., 1]) - np.arctan2(other[..., 2], other[..., 1])))
    return np.asarray(np.minimum(turn, 360 - turn))


def coloured(lab: Lab, inside: Mask) -> Mask:
    """The clearly coloured paint of a vehicle."""
    return inside & (chroma_of(lab) > STRONG) & (lab[..., 0] > LIT)


def own_family(lab: Lab, inside: Mask, labels: Labels, palette: Palette) -> float:
    """Share of the clearly coloured paint, where the palette has its hue, that is drawn in that hue; NaN where there is hardly any."""
    colours = srgb_to_lab(palette.rgb)
    fair = coloured(lab, inside)
    paint, pure = lab[fair], colours[chroma_of(colours) > STRONG]
    if not len(pure) or not len(paint):
        return np.nan
    has = np.min([apart(paint, colour) for colour in pure], axis=0) < ONE_HUE
    drawn = colours[np.minimum(labels[fair], len(palette) - 1)]
    kept = (apart(paint, drawn) < ONE_HUE) & (chroma_of(drawn) > STRONG)
    return float(kept[has].mean()) if has.sum() > FEWEST else np.nan


def areas(labels: Labels, where: Mask) -> int:
    """Connected areas of one label."""
    return int(cc3d.connected_components(np.where(where, labels + 1, 0).astype(np.uint8), connectivity=4).max())


def judge(it: Scene, labels: Labels, palette: Palette) -> Row:
    """How much of the photograph's colours lives on in the labels; NaN where a share has too few pixels to be taken of."""
    colours = srgb_to_lab(palette.rgb)
    drawn = colours[np.minimum(labels, len(palette) - 1)]
    grey, tinted = it.inside & (chroma_of(it.lab) < GREY), chroma_of(drawn) > TINTED
    sample = np.flatnonzero(it.inside)[::17]
    order = [rankdata(v.ravel()[sample], method="ordinal") for v in (it.lab[..., 0], drawn[..., 0])]
    in_panes = [areas(labels, it.pane == k) for k in range(1, int(it.pane.max()) + 1)]
    return {
        "hue": own_family(it.lab, it.inside, labels, palette),
        "grey": float((chroma_of(drawn) < GREY)[grey].mean()) if grey.sum() > FEWEST else np.nan,
        "tone": float(np.corrcoef(*order)[0, 1]),
        "tinted": float(tinted[it.inside].mean()) if any(name in it.name for name in COLOURLESS) else np.nan,
        "regions": float(areas(labels, it.inside)),
        "pane": float(np.median(in_panes)) if in_panes else np.nan,
    }


def labels_of(drawing: Rgb, inside: Mask, palette: Palette) -> Labels:
    """The palette's index at every pixel of the vehicle, the palette's length elsewhere."""
    labels = np.full(inside.shape, len(palette), np.uint8)
    for index, colour in enumerate(palette.rgb):
        labels[inside & (drawing == colour).all(-1)] = index
    return labels


def edge_figures(it: Scene, drawn: Drawn) -> Row:
    """How far the edges of photograph and drawing agree, window panes left out."""
    flat = np.where(it.inside[..., None], drawn.rgb, np.uint8(255))
    flat[drawn.ink] = 0
    spared = it.pane > 0
    lightness = srgb_to_lab(it.rgb)[..., 0].astype(np.float32)
    wanted, edges = edges_of_both(it.rgb, it.inside, flat, spared)
    dark = wanted & (cv2.GaussianBlur(lightness, (0, 0), SMOOTH) < DARK)
    figures = dict(zip(("recall", "precision", "F1"), agreement(it.rgb, it.inside, flat, spared=spared), strict=True))
    return figures | {"dark": met(dark, edges)}


def measured(it: Scene, step: Step, palette: Palette) -> tuple[Row, Labels, Mask]:
    """All measures of a photograph's drawing, its labels and its inner lines."""
    drawn = step(it.rgb, it.inside, palette)
    labels = labels_of(drawn.rgb, it.inside, palette)
    row = edge_figures(it, drawn) | judge(it, labels, palette) | {"seconds": drawn.seconds} | dict.fromkeys(LOWERED, np.nan)
    if coloured(it.lab, it.inside).sum() >= ENOUGH * it.inside.sum():
        for name, factor in LOWERED.items():
            paler = drawn if factor == 1 else step(lowered(it.rgb, factor), it.inside, palette)
            row[name] = own_family(it.lab, it.inside, labels_of(paler.rgb, it.inside, palette), palette)
    return {name: row[name] for name in MEASURES}, labels, drawn.ink


def painted(labels: Labels, ink: Mask, palette: Palette) -> Rgb:
    """The drawing at twice the side: boundaries smoothed, outlined and panel lines drawn in black."""
    size = (labels.shape[1] * 2, labels.shape[0] * 2)
    best, big = np.full(size[::-1], -1, np.float32), np.zeros(size[::-1], np.uint8)
    for label in np.unique(labels):
        share = cv2.resize(cv2.GaussianBlur((labels == label).astype(np.float32), (0, 0), 1.6), size, interpolation=cv2.INTER_CUBIC)
        better = share > best
        best[better], big[better] = share[better], label
    picture = np.vstack([palette.rgb, [[255, 255, 255]]]).astype(np.uint8)[big]
    picture[cv2.dilate(boundary_of(big).astype(np.uint8), np.ones((2, 2), np.uint8)) > 0] = 0
    picture[cv2.resize(cv2.GaussianBlur(ink.astype(np.float32), (0, 0), 1.0), size, interpolation=cv2.INTER_CUBIC) > 0.2] = 0
    return picture


def traced_by_vtracer(rgb: Rgb, inside: Mask, colours: int) -> Rgb:
    """vtracer's tracing of the cut-out photograph, reduced to `colours` by median cut, as rendered by resvg at twice the side."""
    cut = Image.fromarray(np.where(inside[..., None], rgb, 255).astype(np.uint8))
    few = cut.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGBA")
    pixels = list(few.get_flattened_data())
    svg = vtracer.convert_pixels_to_svg(pixels, few.size, color_precision=8, layer_difference=0, filter_speckle=4)
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * few.width))
    image = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)
    opaque = image[..., 3:] / 255
    return np.asarray(image[..., 2::-1] * opaque + 255 * (1 - opaque), np.uint8)


def cropped(picture: Rgb, inside: Mask, width: int = 900) -> Rgb:
    """The vehicle's part of a picture at once or twice the matte's side, `width` pixels wide."""
    scale = len(picture) // len(inside)
    ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    part = picture[max(0, ys[0] - 8) * scale : (ys[-1] + 8) * scale, max(0, xs[0] - 8) * scale : (xs[-1] + 8) * scale]
    height = round(width * part.shape[0] / part.shape[1])
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def write_sheet(it: Scene, drawings: list[Rgb]) -> None:
    """Photograph, drawings and vtracer's tracing on one sheet."""
    sheet = [cropped(picture, it.inside) for picture in (it.rgb, *drawings, traced_by_vtracer(it.rgb, it.inside, 15))]
    OUT.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack([np.hstack(sheet[:2]), np.hstack(sheet[2:])])).save(OUT / f"{it.name}.png")


def shown(name: str, value: float) -> str:
    """A measure's figure; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.{MEASURES[name][0]}f}"


def summary(rows: dict[str, Row]) -> dict[str, tuple[float, float, str]]:
    """For every measure its median, its worst figure and the photograph that has it."""
    answer = {}
    for name, (_, more_is_worse) in MEASURES.items():
        told = {photograph: row[name] for photograph, row in rows.items() if not np.isnan(row[name])}
        worst = (max if more_is_worse else min)(told, key=lambda photograph: told[photograph], default="")
        answer[name] = (float(np.median(list(told.values()))), told[worst], worst) if told else (np.nan, np.nan, "")
    return answer


def print_summaries(rows: Rows) -> None:
    """One line for each palette and measure, with a column for each checkout."""
    print("\n" + f"{'median, worst':20}" + "".join(f"{place[-40:]:42}" for place in next(iter(rows.values()))))
    for palette, places in rows.items():
        columns = [summary(answers) for answers in places.values()]
        for name in MEASURES:
            cells = (
                f"{shown(name, middle):>7} {shown(name, worst):>7} {photograph:26}"
                for middle, worst, photograph in (c[name] for c in columns)
            )
            print(f"{palette:8} {name:10} " + "".join(cells).rstrip())


def drawn_by_all(it: Scene, palette: str, steps: list[Step], places: dict[str, dict[str, Row]]) -> Rgb:
    """Measure the photograph's drawing in one palette by every checkout's step, into `places`; the first one's drawing."""
    drawings = []
    for step, (place, rows) in zip(steps, places.items(), strict=True):
        rows[it.name], labels, ink = measured(it, step, PALETTES[palette])
        drawings.append((labels, ink))
        figures = "".join(f"{shown(name, value):>10}" for name, value in rows[it.name].items())
        print(f"{it.name[:24]:24} {palette:8}{figures}" + (f"  {place}" if len(steps) > 1 else ""), flush=True)
    return painted(*drawings[0], PALETTES[palette])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only photographs whose names contain one of these")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout of the project, measured in the same run")
    parser.add_argument("--no-sheets", action="store_true")
    options = parser.parse_args()
    roots = [ROOT] + ([options.against.resolve()] if options.against else [])
    if not all((root / "pipeline").is_dir() for root in roots):
        parser.error(f"{options.against} is no checkout of the project")
    photographs = examples(options.names, longest=6000)
    if not photographs:
        parser.error("no photograph has such a name")
    rows: Rows = {palette: {str(root): {} for root in roots} for palette in PALETTES}
    print(f"{'photograph':24} {'palette':8}" + "".join(f"{name:>10}" for name in MEASURES))
    with ExitStack() as stack:
        steps = [stack.enter_context(step_of(root)) for root in roots]
        for it in map(scene_of, photographs):
            drawings = [drawn_by_all(it, palette, steps, places) for palette, places in rows.items()]
            if not options.no_sheets:
                write_sheet(it, drawings)
    print_summaries(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
