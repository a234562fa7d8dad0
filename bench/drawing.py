"""Drawing, measured on the photographs from their true mattes.

usage: python -m bench.drawing [NAME …] [--side 1024]

Prints hue kept, grey kept, rank correlation of lightness, number of regions and processor seconds for the guide's palette and the
default one, and writes `bench/out/drawing/NAME.png`: photograph | guide's palette | default palette | vtracer with 15 colours.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import cc3d
import cv2
import numpy as np
import resvg_py
import vtracer
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.stats import rankdata

from pipeline import palette as palettes
from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.classical.draw import draw
from pipeline.phase2_illustrate.grade import grade
from pipeline.phase2_illustrate.panel_lines import boundary_of, panel_lines
from pipeline.values import Mask, Rgb

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT.parent / "shared" / "photos"
OUT = ROOT / "bench" / "out" / "drawing"
PALETTES = {
    "guide": palettes.parse("FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1"),
    "default": palettes.parse(None),
}
Labels = NDArray[np.uint8]


def load(path: Path, side: int) -> tuple[Rgb, Mask]:
    """The photograph in its square, upright on white, and its true matte."""
    with Image.open(path) as file:
        photo = ImageOps.exif_transpose(file).convert("RGBA")
    photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    scale = side / max(photo.size)
    width, height = (round(v * scale) for v in photo.size)
    small = cv2.resize(np.asarray(photo), (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    with Image.open(PHOTOS / "masks" / f"{path.stem}.png") as file:
        matte = cv2.resize(np.asarray(file.convert("L")), (width, height), interpolation=cv2.INTER_AREA) > 127
    left, top = (side - width) // 2, (side - height) // 2
    rgb, inside = np.full((side, side, 3), 255, np.uint8), np.zeros((side, side), bool)
    rgb[top : top + height, left : left + width] = small
    inside[top : top + height, left : left + width] = matte
    return rgb, inside


def judge(rgb: Rgb, inside: Mask, labels: Labels, palette: Palette) -> dict[str, float]:
    """How much of the photograph lives on in the labels; NaN where a share has fewer than 500 pixels to be taken of.

    hue: share of clearly coloured pixels (C* > 30, L* > 15, where the palette has the hue within 35°) that keep it; coloured: their
    share of the vehicle; grey: share of colourless pixels (C* < 8) that stay so; tone: rank correlation of lightness; regions:
    connected areas of one colour inside the vehicle.
    """
    lab, colours = srgb_to_lab(cv2.bilateralFilter(rgb, 9, 35, 6)), srgb_to_lab(palette.rgb)
    chroma, hue = np.hypot(lab[..., 1], lab[..., 2]), np.arctan2(lab[..., 2], lab[..., 1])
    pure, hues = np.hypot(colours[:, 1], colours[:, 2]), np.arctan2(colours[:, 2], colours[:, 1])
    kept = np.minimum(labels, len(palette) - 1)

    def turn(other: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.degrees(np.abs(np.angle(np.exp(1j * (hue - other)))))

    has = np.min([turn(h) for h in hues[pure > 30]], axis=0) < 35
    strong, grey = inside & (chroma > 30) & (lab[..., 0] > 15), inside & (chroma < 8)
    fair = strong & has
    sample = np.flatnonzero(inside)[::17]
    order = [rankdata(v, method="ordinal") for v in (lab[..., 0].ravel()[sample], colours[kept.ravel()[sample], 0])]
    return {
        "hue": float(((turn(hues[kept]) < 35) & (pure[kept] > 30))[fair].mean()) if fair.sum() > 500 else np.nan,
        "coloured": float(strong.sum() / inside.sum()),
        "grey": float((pure[kept] < 8)[grey].mean()) if grey.sum() > 500 else np.nan,
        "tone": float(np.corrcoef(*order)[0, 1]),
        "regions": float(cc3d.connected_components(np.where(inside, labels + 1, 0).astype(np.uint8), connectivity=4).max()),
    }


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
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    opaque = image[..., 3:] / 255
    return (image[..., 2::-1] * opaque + 255 * (1 - opaque)).astype(np.uint8)


def cropped(picture: Rgb, inside: Mask, width: int = 900) -> Rgb:
    """The vehicle's part of a picture at once or twice the matte's side, `width` pixels wide."""
    scale = len(picture) // len(inside)
    ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    part = picture[max(0, ys[0] - 8) * scale : (ys[-1] + 8) * scale, max(0, xs[0] - 8) * scale : (xs[-1] + 8) * scale]
    return cv2.resize(part, (width, round(width * part.shape[0] / part.shape[1])), interpolation=cv2.INTER_AREA)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="photographs' names without ending; default: all that have a mask")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--no-sheets", action="store_true")
    options = parser.parse_args()
    if not PHOTOS.is_dir():
        print(f"The photographs are not there: {PHOTOS}", file=sys.stderr)
        return 1
    paths = [p for p in sorted(PHOTOS.glob("*.*")) if (PHOTOS / "masks" / f"{p.stem}.png").exists()]
    paths = [p for p in paths if not options.names or p.stem in options.names]
    OUT.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in PALETTES}
    print(f"{'photograph':24} {'palette':8}    hue coloured   grey   tone regions  draw s grade s lines s")
    for path in paths:
        rgb, inside = load(path, options.side)
        start = time.process_time()
        drawn = draw(rgb, inside)
        draw_time = time.process_time() - start
        sheet = [cropped(rgb, inside)]
        for name, palette in PALETTES.items():
            start = time.process_time()
            labels = grade(drawn, inside, palette)
            middle = time.process_time()
            ink, _ = panel_lines(drawn, inside, labels)
            row = judge(rgb, inside, labels, palette) | {"draw": draw_time, "grade": middle - start, "lines": time.process_time() - middle}
            rows[name].append(row)
            print(
                f"{path.stem:24} {name:8} " + " ".join(f"{v:6.2f}" if k != "regions" else f"{v:7.0f}" for k, v in row.items()), flush=True
            )
            if not options.no_sheets:
                sheet.append(cropped(painted(labels, ink, palette), inside))
        if not options.no_sheets:
            sheet.append(cropped(traced_by_vtracer(rgb, inside, 15), inside))
            Image.fromarray(np.vstack([np.hstack(sheet[:2]), np.hstack(sheet[2:])])).save(OUT / f"{path.stem}.png")
    for name, measured in rows.items():
        middle_row = {k: float(np.nanmedian([r[k] for r in measured])) for k in measured[0]}
        worst = min((r["hue"] for r in measured if r["coloured"] >= 0.03 and not np.isnan(r["hue"])), default=np.nan)
        print(f"median, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in middle_row.items()) + f"; worst hue where it counts {worst:.2f}")
    print(f"peak memory of the whole process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
