"""SVG path data: relative commands in whole tenths of a pixel, so that nothing drifts and nothing is written twice."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Parts of a pixel that are written: a tenth, far finer than the tolerance.
GRAIN = 10
#: How far, in tenths of a pixel, a handle may be moved so that a curve bends to one side only.
NUDGE = 4
#: A curve whose handles lie within this of its chord is written as a line, tenths of a pixel.
FLAT = 2.5


def _token(v: int) -> str:
    """A number of tenths with what separates it from the one before: a space, or its own minus."""
    whole, tenth = divmod(abs(v), GRAIN)
    text = f"{whole}.{tenth}" if tenth and whole else f".{tenth}" if tenth else f"{whole}"
    return f"-{text}" if v < 0 else f" {text}"


_TOKENS = [_token(v) for v in range(-4096, 4097)]


def _numbers(values: list[int]) -> str:
    return "".join([_TOKENS[v + 4096] if -4096 <= v <= 4096 else _token(v) for v in values])


def move(command: str, x: int, y: int) -> str:
    """`M` or `l` with one point in tenths."""
    return command + _numbers([x, y]).lstrip()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of an outline: from `start` to `end` (x, y in tenths) by the relative commands of `data`."""

    start: tuple[int, int]
    end: tuple[int, int]
    data: str


@njit(cache=True)
def _cross(q: NDArray[np.int64], a: int, b: int, c: int) -> int:
    """Which way the control polygon q (4, 2) turns at b: the sign tells."""
    return int((q[b, 0] - q[a, 0]) * (q[c, 1] - q[b, 1]) - (q[b, 1] - q[a, 1]) * (q[c, 0] - q[b, 0]))


@njit(cache=True)
def _rounded(curves: NDArray[np.float64]) -> NDArray[np.int64]:
    """(m, 8) curves → (m, 4, 2) control points in tenths. A curve that would bend to the other side for next to nothing, by
    rounding or by a hair, has one handle moved until it does not."""
    out = np.empty((len(curves), 4, 2), np.int64)
    for k in range(len(curves)):
        q = out[k]
        for i in range(8):
            q[i // 2, i % 2] = int(np.rint(curves[k, i] * GRAIN))
        first, last = _cross(q, 0, 1, 2), _cross(q, 1, 2, 3)
        if (first < 0) == (last < 0) or first == 0 or last == 0:
            continue
        best, handle, bx, by = NUDGE * NUDGE + 1, 0, 0, 0
        for h in (1, 2):
            x, y = q[h, 0], q[h, 1]
            for dx in range(-NUDGE, NUDGE + 1):
                for dy in range(-NUDGE, NUDGE + 1):
                    if dx * dx + dy * dy >= best:
                        continue
                    q[h, 0], q[h, 1] = x + dx, y + dy
                    first, last = _cross(q, 0, 1, 2), _cross(q, 1, 2, 3)
                    if (first >= 0 and last >= 0) or (first <= 0 and last <= 0):
                        best, handle, bx, by = dx * dx + dy * dy, h, x + dx, y + dy
            q[h, 0], q[h, 1] = x, y
        if handle:
            q[handle, 0], q[handle, 1] = bx, by
    return out


def stretch(curves: NDArray[np.float64]) -> Stretch:
    """(m, 8) curves x0 y0 x1 y1 x2 y2 x3 y3, each beginning where the one before ends → their path data."""
    q = _rounded(curves)
    step = q[:, 1:] - q[:, :1]
    chord = step[:, 2].astype(np.float64)
    length = np.maximum(np.hypot(chord[:, 0], chord[:, 1]), 1e-9)[:, None]
    aside = np.abs(step[:, :2, 0] * chord[:, None, 1] - step[:, :2, 1] * chord[:, None, 0]) / length
    aside = np.where(chord.any(axis=1, keepdims=True), aside, np.hypot(step[:, :2, 0], step[:, :2, 1]))  # a loop has no chord to be beside
    along = (step[:, :2, 0] * chord[:, None, 0] + step[:, :2, 1] * chord[:, None, 1]) / length
    flat = np.all((aside <= FLAT) & (along >= -FLAT) & (along <= length + FLAT), axis=1)
    parts = []
    for line, values in zip(flat.tolist(), step.reshape(-1, 6).tolist(), strict=True):
        if not line:
            parts.append("c" + _numbers(values).lstrip())
        elif values[4] or values[5]:
            parts.append("l" + _numbers(values[4:]).lstrip())
    return Stretch((int(q[0, 0, 0]), int(q[0, 0, 1])), (int(q[-1, 3, 0]), int(q[-1, 3, 1])), "".join(parts))


def links(corners: NDArray[np.float64]) -> Stretch:
    """Straight links through the corners (m, 2), from the first to the last."""
    q = np.rint(corners * GRAIN).astype(np.int64)
    steps = [move("l", x, y) for x, y in np.diff(q, axis=0).tolist() if x or y]
    return Stretch((int(q[0, 0]), int(q[0, 1])), (int(q[-1, 0]), int(q[-1, 1])), "".join(steps))


def closed(stretches: list[Stretch]) -> str:
    """An outline: the stretches one after the other, joined by lines where they do not meet, and closed."""
    x, y = stretches[0].start
    parts = [move("M", x, y)]
    for part in stretches:
        if part.start != (x, y):
            parts.append(move("l", part.start[0] - x, part.start[1] - y))
        parts.append(part.data)
        x, y = part.end
    return "".join(parts) + "z"
