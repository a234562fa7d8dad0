"""Enlarging a flat drawing, measured against shapes whose outlines are known.

usage: python -m bench.regions [WAY …]

Draws ellipses, rounded rectangles, windows with sharp corners, rings of 3 to 5 px, long lines of small slope and junctions of three
areas at a side of 1024 without antialiasing, once exactly and once with the wobble of a drawing (±0.7 px over about 6 px), enlarges
them to 4096 in every way and compares with the truth drawn at 4096. Prints, in pixels at 4096: mean and 99th percentile of the
distance of the boundary from the true one, the mean distance of corners' tips from the nearest boundary, the share of the thin rings'
pixels that are kept, the turning of the boundary beyond the true one's (radians per 1,000 px), the greatest error of small circles'
radius (4 to 15 px at 1024) and milliseconds.
"""

import sys
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase3_enforce.fair_arcs import fair_arcs
from pipeline.phase3_enforce.fill import fill
from pipeline.phase3_enforce.outlines import arcs_of
from pipeline.phase3_enforce.upscale_classical import upscale_labels

SIDE, FACTOR = 1024, 4
Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
Shape = Callable[[Floats, Floats], NDArray[np.bool_]]


def polygon(*corners: tuple[float, float]) -> Shape:
    """A convex polygon, corners clockwise on the screen."""

    def inside(x: Floats, y: Floats) -> NDArray[np.bool_]:
        out = np.ones(np.broadcast(x, y).shape, bool)
        for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
            out &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
        return out

    return inside


def ellipse(cx: float, cy: float, a: float, b: float, turn: float = 0.0) -> Shape:
    c, s = np.cos(turn), np.sin(turn)
    return lambda x, y: (((x - cx) * c + (y - cy) * s) / a) ** 2 + (((y - cy) * c - (x - cx) * s) / b) ** 2 <= 1


def rounded(cx: float, cy: float, a: float, b: float, r: float) -> Shape:
    """A rectangle of half sides a, b with corners of radius r."""
    return lambda x, y: np.hypot(np.maximum(np.abs(x - cx) - a + r, 0), np.maximum(np.abs(y - cy) - b + r, 0)) <= r


WINDOWS = [
    [(430.3, 110.7), (560.2, 96.4), (600.8, 190.3), (410.6, 201.2)],
    [(640.4, 100.1), (760.9, 131.6), (842.7, 205.3), (650.2, 199.8)],
    [(90.2, 470.4), (180.7, 455.3), (130.9, 560.8)],
    [(220.5, 470.5), (300.5, 470.5), (300.5, 540.5), (220.5, 540.5)],
    [(350.2, 500.1), (400.7, 450.6), (451.2, 501.1), (400.7, 551.6)],
]
RINGS = [(150.3, 850.6, 60.0, 3.0), (330.8, 850.2, 60.0, 4.0), (510.4, 850.9, 60.0, 5.0), (640.6, 850.3, 25.0, 3.0)]


def layers() -> Iterator[tuple[int, Shape]]:
    """Label and shape in painter's order, pixels at a side of 1024."""
    yield 1, rounded(505, 300, 470, 245, 60)
    yield 2, polygon((80.5, 300.2), (930.7, 330.9), (930.7, 352.1), (80.5, 321.4))  # a sill of slope 1/28
    yield 3, polygon((80.5, 400.3), (930.7, 390.1), (930.7, 403.6), (80.5, 413.8))
    yield 4, ellipse(200.2, 160.7, 90, 50, 0.3)
    yield 5, polygon((180.4, 20.0), (270.3, 20.0), (240.1, 330.0), (214.6, 330.0))  # crosses the ellipse: junctions
    for corners in WINDOWS:
        yield 6, polygon(*corners)
    for cx, cy, r, thick in RINGS:
        yield 7, ellipse(cx, cy, r, r)
        yield 0, ellipse(cx, cy, r - thick, r - thick)
    yield 4, ellipse(640.6, 850.3, 9, 9)
    for k in range(5):  # spokes
        t = 2 * np.pi * k / 5 + 0.2
        c, s, cx, cy = np.cos(t), np.sin(t), 840.3, 850.1
        yield 3, polygon(*[(cx + u * c - v * s, cy + u * s + v * c) for u, v in ((10, -6), (90, -3), (90, 3), (10, 6))])
    yield 2, ellipse(840.3, 850.1, 20, 20)
    yield 5, rounded(700, 480, 40, 12, 6)
    yield 2, rounded(820, 480, 30, 2.6, 2.6)  # a handle


def draw(x: Floats, y: Floats) -> Labels:
    out = np.zeros(np.broadcast(x, y).shape, np.uint8)
    for value, shape in layers():
        out[shape(x, y)] = value
    return out


def drawn(side: int, wobble: float) -> Labels:
    """The shapes at `side`, pixel centres sampled, moved by correlated noise of at most `wobble` pixels at a side of 1024."""
    at = (np.arange(side) + 0.5) * SIDE / side
    x, y = np.broadcast_arrays(at[None], at[:, None])
    if wobble:
        rng = np.random.default_rng(0)
        dx, dy = (cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), 3.0) for _ in range(2))
        scale = wobble / 2 / dx.std()
        x, y = x + np.clip(dx * scale, -wobble, wobble), y + np.clip(dy * scale, -wobble, wobble)
    return draw(x, y)


def edges(labels: Labels) -> NDArray[np.bool_]:
    """The pixels left of or above a boundary."""
    out = np.zeros(labels.shape, bool)
    out[:, :-1] = labels[:, :-1] != labels[:, 1:]
    out[:-1] |= labels[:-1] != labels[1:]
    return out


def turning(labels: Labels) -> float:
    """Radians turned per 1,000 px of outline after a light smoothing (4 px)."""
    total = length = 0.0
    for value in np.unique(labels):
        for line in cv2.findContours((labels == value).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]:
            if len(line) < 60:
                continue
            points = cv2.GaussianBlur(np.concatenate([line[-20:], line, line[:20]])[:, 0].astype(np.float64), (1, 41), 0, sigmaY=4)[20:-20]
            step = np.diff(points, axis=0, append=points[:1])[::2]
            angle = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
            total += float(np.abs(np.diff(angle)).sum())
            length += float(np.hypot(*np.diff(points, axis=0).T).sum())
    return 1000 * total / length


def judge(found: Labels, truth: Labels) -> list[float]:
    """Mean and 99th percentile of distance, corner loss, thin rings kept, excess turning."""
    mine, true = edges(found), edges(truth)
    to_true = cv2.distanceTransform((~true).astype(np.uint8), cv2.DIST_L2, 5)[mine]
    to_mine = cv2.distanceTransform((~mine).astype(np.uint8), cv2.DIST_L2, 5)
    both = np.concatenate([to_true, to_mine[true]])
    tips = [(x * FACTOR, y * FACTOR) for corners in WINDOWS for x, y in corners]
    loss = np.mean([to_mine[round(y), round(x)] for x, y in tips])
    ring = truth == 7
    return [
        float(both.mean()),
        float(np.percentile(both, 99)),
        float(loss),
        float((found == 7)[ring].mean()),
        turning(found) - turning(truth),
    ]


def blurred(sigma: float, rounds: int = 1) -> Callable[[Labels, float], Labels]:
    """Each colour's indicator blurred, the largest wins; more rounds are threshold dynamics (curvature flow)."""

    def enlarge(labels: Labels, factor: float) -> Labels:
        present = np.unique(labels)
        for last in [False] * (rounds - 1) + [True]:
            side = (round(labels.shape[1] * factor), round(labels.shape[0] * factor)) if last else labels.shape[::-1]
            best = np.full(side[::-1], -1, np.float32)
            out = np.zeros(side[::-1], np.uint8)
            for value in present:
                field = cv2.GaussianBlur((labels == value).astype(np.float32), (0, 0), sigma)
                grown = cv2.resize(field, side, interpolation=cv2.INTER_CUBIC)
                better = grown > best
                best[better], out[better] = grown[better], value
            labels = out
        return labels

    return enlarge


def beam(**settings: float) -> Callable[[Labels, float], Labels]:
    """The pipeline's way with other constants."""

    def enlarge(labels: Labels, factor: float) -> Labels:
        arcs, (height, width) = arcs_of(labels), labels.shape
        return fill(arcs, *fair_arcs(arcs, width, **settings), factor, round(width * factor), round(height * factor))

    return enlarge


def nearest(labels: Labels, factor: float) -> Labels:
    return np.asarray(cv2.resize(labels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST), np.uint8)


WAYS: dict[str, Callable[[Labels, float], Labels]] = {
    "pixels": nearest,
    "blur 1.0": blurred(1.0),
    "blur 1.6": blurred(1.6),
    "blur 2.2": blurred(2.2),
    "blur 3.0": blurred(3.0),
    "blur 1.6 twice": blurred(1.6, 2),
    "blur 2.2 twice": blurred(2.2, 2),
    "midpoints": beam(stiff=0.0),
    "beam, no hinges": beam(hinge=1e9),
    "beam, stiffness 100": beam(stiff=100.0),
    "beam, stiffness 5000": beam(stiff=5000.0),
    "beam, reach 0.5": beam(reach=0.5),
    "beam, reach 2": beam(reach=2.0),
    "pipeline": upscale_labels,
}


def circles(way: Callable[[Labels, float], Labels]) -> float:
    """The greatest distance of a small disc's boundary from the true circle, pixels at 4096: the mean over 24 discs."""
    y, x = np.mgrid[:64, :64] + 0.5
    errors = []
    for radius in (4.3, 7.2, 10.4, 15.3):
        for k in range(6):
            cx, cy = 32 + 0.17 * k, 32 + 0.31 * k
            v, u = np.nonzero(edges(way((np.hypot(x - cx, y - cy) < radius).astype(np.uint8), FACTOR)))
            errors.append(np.abs(np.hypot((u + 1) / FACTOR - cx, (v + 1) / FACTOR - cy) - radius).max() * FACTOR)
    return float(np.mean(errors))


def main() -> None:
    truth = drawn(SIDE * FACTOR, 0.0)
    print(f"{'way':21} {'mean':>6} {'p99':>6} {'corner':>6} {'rings':>6} {'turn':>6}    with wobble: the same               disc     ms")
    small = [drawn(SIDE, w) for w in (0.0, 0.7)]
    for name in sys.argv[1:] or WAYS:
        row = []
        for labels in small:
            times = []
            for _ in range(3):
                t = time.perf_counter()
                found = WAYS[name](labels, FACTOR)
                times.append(time.perf_counter() - t)
            row += judge(found, truth)
        print(f"{name:21}" + "".join(f" {v:6.2f}" for v in row) + f" {circles(WAYS[name]):6.2f} {1000 * min(times):6.0f}", flush=True)


if __name__ == "__main__":
    main()
