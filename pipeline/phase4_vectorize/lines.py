"""The line layer: each boundary between two regions once, and the drawing's inner lines where no boundary runs."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase4_vectorize.chains import Chains, crack_graph, skeleton_graph, trace
from pipeline.phase4_vectorize.curves import fit
from pipeline.phase4_vectorize.tracer import decimal, drawn_window
from pipeline.values import LabelImage, Mask

#: Pixels of the drawing: how near a boundary an inner line is the same line, and how long it must be to count.
NEAR, SHORTEST = 3.5, 14


def _key(image: LabelImage) -> NDArray[np.uint8]:
    """Labels told apart by vehicle and background, so that the vehicle's outline is a boundary in any colours."""
    return image.labels + np.where(image.inside, np.uint8(image.nothing + 1), np.uint8(0))


def _apart(ink: Mask, key: NDArray[np.uint8]) -> Mask:
    """The ink that keeps clear of every boundary of the label image."""
    small = ink.shape[0]
    edge = np.zeros(key.shape, np.uint8)
    edge[:, 1:] |= key[:, 1:] != key[:, :-1]
    edge[1:] |= key[1:] != key[:-1]
    rows, columns = np.nonzero(edge)
    boundary = np.ones((small, small), np.uint8)
    boundary[rows * small // key.shape[0], columns * small // key.shape[0]] = 0
    clear = ink & (cv2.distanceTransform(boundary, cv2.DIST_L2, 3) > NEAR)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(clear.astype(np.uint8), connectivity=8)
    long = np.maximum(stats[:count, cv2.CC_STAT_WIDTH], stats[:count, cv2.CC_STAT_HEIGHT]) >= SHORTEST
    long[0] = False
    kept: Mask = long[parts]
    return kept


def _softened(chains: Chains, rounds: int = 3) -> Chains:
    """Chains of skeleton pixels without their stairs: a few passes of a (1, 2, 1) filter, ends held."""
    points = chains.points.copy()
    held = np.zeros(len(points), bool)
    held[chains.starts[:-1]] = True
    held[chains.starts[1:] - 1] = True
    for _ in range(rounds):
        smooth = points.copy()
        smooth[1:-1] = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
        points = np.where(held[:, None], points, smooth)
    return Chains(points, chains.starts)


def path_data(curves: NDArray[np.float64]) -> str:
    """(m, 8) curves → SVG path data, one decimal; a loop is closed."""
    if not len(curves):
        return ""
    numbers = [decimal(v) for v in curves[:, 2:].ravel().tolist()]
    parts = [f"M{decimal(curves[0, 0])} {decimal(curves[0, 1])}"]
    parts += [f"C{' '.join(numbers[i : i + 6])}" for i in range(0, len(numbers), 6)]
    closed = bool(np.array_equal(curves[0, :2], curves[-1, 6:]))
    return "".join(parts) + ("Z" if closed else "")


def boundaries(image: LabelImage, tolerance: float) -> list[str]:
    """Path data of every boundary, each written once and none on the picture's frame."""
    rows, columns = drawn_window(image)
    chains = trace(crack_graph(_key(image)[rows, columns]))
    points = chains.points + np.array([columns.start, rows.start], float)
    return [path_data(c) for c in fit(Chains(points, chains.starts), tolerance)]


def centerlines(image: LabelImage, tolerance: float, only_apart: bool) -> list[str]:
    """Path data of the inner lines; `only_apart` leaves out what runs along a boundary."""
    ink = _apart(image.ink, _key(image)) if only_apart else image.ink
    chains = _softened(trace(skeleton_graph(ink)))
    scale = image.labels.shape[0] / ink.shape[0]
    return [path_data(c) for c in fit(Chains((chains.points + 0.5) * scale, chains.starts), tolerance)]
