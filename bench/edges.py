"""Edge agreement: how much of a photograph's strong local edges a drawing has, and how much of the drawing's edges the photograph has.

    python -m bench.edges [--detail 0,0.00003,0.0001] [NAME …]

Every photograph is drawn from its true outline twice: in the vehicle's own square, as the pipeline does, and in the whole photo's, as
with its background kept. Both drawings are judged in the vehicle's square at 1024 pixels, window panes left out: recall, precision and
their harmonic mean.
"""

import argparse
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import engines
from pipeline.intake.photo import GivenMatte, letterbox, placed
from pipeline.job import read
from pipeline.phase0_vehicle.framing import square_of
from pipeline.phase2_illustrate.glass import panes
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.run import Finished, run
from pipeline.settings import load
from pipeline.values import Frame, Mask, Photo, Rgb
from tests.support.photographs import Example, examples

SIDE = 1024
#: Share of the vehicle's pixels that count as its strongest edges, the scale at which they are measured, px, and the neighbourhood's.
STRONGEST, SIGMA, NEIGHBOURHOOD = 0.08, 1.4, 24.0
#: What an edge weighs in lightness and in the two opponent colours, and the contrast that is always there (CIELAB units).
WEIGHTS, FLOOR = (1.0, 0.7, 0.7), 1.5
#: An edge within so many pixels is the same edge. Neighbours in a drawing differ from so many codes on.
REACH, STEP = 3.0, 24


def agreement(photo: Rgb, inside: Mask, drawing: Rgb, reach: float = REACH, spared: Mask | None = None) -> tuple[float, float, float]:
    """Recall, precision and F1 of a flat drawing's edges against the photograph's, both (S, S, 3), within the vehicle (S, S).

    Edges of either in `spared` (S, S) do not count.
    """
    wanted, drawn = edges_of_both(photo, inside, drawing, spared)
    if not wanted.any() or not drawn.any():
        return 0.0, 0.0, 0.0
    recall, precision = met(wanted, drawn, reach), met(drawn, wanted, reach)
    return recall, precision, 2 * recall * precision / max(1e-9, recall + precision)


def edges_of_both(photo: Rgb, inside: Mask, drawing: Rgb, spared: Mask | None = None) -> tuple[Mask, Mask]:
    """The strongest edges of a photograph and those of its flat drawing, within the vehicle and outside `spared`."""
    inner = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    counts = inner if spared is None else inner & ~spared
    return photo_edges(photo, inner) & counts, drawn_edges(drawing) & counts


def met(edges: Mask, others: Mask, reach: float = REACH) -> float:
    """Share of `edges` that have one of `others` within `reach`; NaN where there are none."""
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, 3)
    return float((distance[edges] <= reach).mean()) if edges.any() else float("nan")


def photo_edges(rgb: Rgb, inner: Mask) -> Mask:
    """The strongest thinned colour edges of a photograph, measured against the contrast around them, so that a dark car's count."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    strength = np.zeros(inner.shape, np.float32)
    slope_x, slope_y = strength.copy(), strength.copy()
    for channel, weight in enumerate(WEIGHTS):
        smooth = cv2.GaussianBlur(lab[..., channel], (0, 0), SIGMA)
        x, y = (weight * cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
        stronger = np.hypot(x, y) > strength
        strength = np.maximum(strength, np.hypot(x, y))
        slope_x, slope_y = np.where(stronger, x, slope_x), np.where(stronger, y, slope_y)
    relative = strength / np.sqrt(cv2.GaussianBlur(strength, (0, 0), NEIGHBOURHOOD) + FLOOR)
    thin = _ridges(relative, slope_x, slope_y) & inner
    values = np.sort(relative[thin])[::-1]
    if not len(values):
        return thin
    return np.asarray(thin & (relative >= values[min(int(STRONGEST * inner.sum()), len(values) - 1)]))


def _ridges(strength: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> Mask:
    """Where a pixel is at least as strong as both neighbours across the edge."""
    sector = (((np.rad2deg(np.arctan2(y, x)) + 202.5) % 180) // 45).astype(int)
    out = np.zeros(strength.shape, bool)
    for k, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        before, after = np.roll(strength, (dy, dx), (0, 1)), np.roll(strength, (-dy, -dx), (0, 1))
        out |= (sector == k) & (strength >= before) & (strength > after)
    return out


def drawn_edges(drawing: Rgb) -> Mask:
    """Where neighbours of a flat drawing differ."""
    codes = drawing.astype(np.int16)
    out = np.zeros(drawing.shape[:2], bool)
    out[:, 1:] |= np.abs(codes[:, 1:] - codes[:, :-1]).max(2) > STEP
    out[1:] |= np.abs(codes[1:] - codes[:-1]).max(2) > STEP
    return out


def drawing_in(finished: Finished, frame: Frame) -> Rgb:
    """A finished drawing as flat colours with its inner lines, in the square of `frame` (side `SIDE`), not smoothed."""
    labels, own = finished.labels, finished.labels.frame
    table = np.vstack([read({"image_url": "http://x"}).palette.rgb, [[255, 255, 255]]]).astype(np.uint8)
    ink = cv2.resize(finished.illustration.ink.astype(np.uint8), labels.labels.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    flat = table[np.minimum(labels.labels, len(table) - 1)]
    flat[ink & labels.inside] = 0
    centres = np.arange(frame.size) + 0.5
    columns = ((centres - frame.x0) / frame.scale * own.scale + own.x0).astype(int)
    rows = ((centres - frame.y0) / frame.scale * own.scale + own.y0).astype(int)
    within = ((rows >= 0) & (rows < own.size))[:, None] & ((columns >= 0) & (columns < own.size))[None]
    out = flat[rows.clip(0, own.size - 1)[:, None], columns.clip(0, own.size - 1)[None]]
    return np.where(within[..., None], out, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Way:
    """One way of drawing a photograph: a job's keys, and what the table calls it."""

    name: str
    keys: dict[str, object]


def judge(it: Example, way: Way) -> tuple[float, ...]:
    """Recall, precision, F1, regions, curves and SVG bytes of the drawing that is made from the true outline."""
    photo, matte = Photo(it.rgb, None, it.name), GivenMatte(it.truth.astype(np.uint8) * 255)
    box = bounds(it.truth)
    if box is None:
        raise ValueError(f"{it.name} has an empty outline")
    frame = square_of(box, it.rgb.shape[1], it.rgb.shape[0], SIDE)
    shown, inside = letterbox(it.rgb, frame, SIDE), placed(matte.alpha, frame.photo, SIDE) > 127
    job = read({"image_url": "http://x", "remove": [], "outputs": ["svg"], **way.keys})
    done = run(photo, matte, job, engines.classical({}, find=lambda *_: []), load(), Progress())
    agreed = agreement(shown, inside, drawing_in(done, frame), spared=panes(shown, inside) > 0)
    return (*agreed, done.labels.regions, done.drawing.curves, len(done.drawing.svg))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detail", help="draw in the vehicle's square alone, at these details: 0,0.00003,0.0001")
    parser.add_argument("names", nargs="*", help="only photographs whose names contain one of these")
    args = parser.parse_args()
    ways = [Way("vehicle's square", {}), Way("whole photo's square", {"background": "keep"})]
    if args.detail:
        ways = [Way(f"detail {value}", {"detail": float(value)}) for value in args.detail.split(",")]
    rows: dict[str, list[tuple[float, ...]]] = {way.name: [] for way in ways}
    print("recall, precision, F1: " + ", ".join(rows))
    for it in examples(args.names, longest=6000):
        for way in ways:
            rows[way.name].append(judge(it, way))
        print(f"{it.name[:26]:26s}  " + "    ".join("  ".join(f"{v:.3f}" for v in rows[way.name][-1][:3]) for way in ways), flush=True)
    for name, answers in rows.items():
        recall, precision, f1, regions, curves, size = (median(column) for column in zip(*answers, strict=True))
        print(f"{name:22s} medians: F1 {f1:.3f} ({recall:.3f}, {precision:.3f})", end="")
        print(f", {regions:.0f} regions, {curves:.0f} curves, {size / 1000:.0f} kB")
    if not args.detail:
        own, whole = (median(row[2] for row in answers) for answers in rows.values())
        print(f"the vehicle's square is {own - whole:+.4f} better (asked +0.015 at least)")


if __name__ == "__main__":
    main()
