"""What tells vehicle from surroundings at each pixel of a box-centred crop: colours, enclosure, edges, place in the box.

Everything is measured in the *crop*: the box with a margin, scaled so that the box's longest side is `LONG` pixels.
Beyond the photo's own border the crop repeats the border's pixels, so that a box that fills the photo still has
surroundings to compare with.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.values import Box

LONG = 224
MARGIN = 0.13
Plane = NDArray[np.float32]
_BINS = (20, 32, 32)
_SIGNS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True, slots=True)
class Crop:
    """`lab` (h, w, 3) float32 CIELAB with L 0..100; `box` the vehicle's box in the crop's pixels."""

    lab: NDArray[np.float32]
    box: Box

    @property
    def place(self) -> tuple[Plane, Plane]:
        """(h, w) pairs: where pixel centres lie in the box, 0..1 from left to right and from top to bottom."""
        h, w = self.lab.shape[:2]
        x0, y0, x1, y1 = self.box
        u, v = np.meshgrid((np.arange(w) + 0.5 - x0) / (x1 - x0), (np.arange(h) + 0.5 - y0) / (y1 - y0))
        return u.astype(np.float32), v.astype(np.float32)


def base_features(crop: Crop) -> NDArray[np.float32]:
    """(h, w, K) float32: what is known before any guess of the outline."""
    u, v = crop.place
    x0, y0, x1, y1 = crop.box
    lab = crop.lab
    aspect = np.full_like(u, (x1 - x0) / (y1 - y0))
    soft = cv2.GaussianBlur(lab, (0, 0), 1.5)
    planes = [np.abs(u - 0.5), v, np.minimum(v, 1 - v), aspect, soft[..., 0], np.hypot(soft[..., 1], soft[..., 2])]
    planes += _edge_planes(lab)
    planes += _color_planes(lab, u, v)
    planes += _ring_planes(lab, u, v)
    planes += _enclosure_planes(lab)
    planes += _grabcut_planes(lab, u, v)
    return np.stack(planes, -1).astype(np.float32)


def context_features(crop: Crop, guess: Plane) -> NDArray[np.float32]:
    """(h, w, K) float32: what a first guess (h, w) of the vehicle, 0..1, says about each pixel."""
    h, w = guess.shape
    v = crop.place[1]
    lab = crop.lab
    planes: list[Any] = [guess, cv2.GaussianBlur(guess, (0, 0), 3), cv2.GaussianBlur(guess, (0, 0), 8)]
    for reach in (0.05, 0.12, 0.25):
        step = round(reach * LONG)
        planes += [_shifted(planes[1], dx * step, dy * step) for dx, dy in _SIGNS]
    above = np.cumsum(guess, 0) / h
    beside = np.cumsum(guess, 1) / w
    planes += [above, above[-1:] - above, np.minimum(beside, beside[:, -1:] - beside), np.broadcast_to(above[-1:], (h, w))]
    planes += list(_column_ends(guess, v))
    inside, outside = guess, 1 - guess
    planes += [_log_density(lab, inside) - _log_density(lab, outside)]
    near = np.exp(-((v - 0.95) ** 2) / 0.03).astype(np.float32)
    planes += [_log_density(lab, inside * near) - _log_density(lab, outside * near)]
    planes += _local_color(lab, inside)
    soft_edge = _edges(lab)
    slope = np.hypot(cv2.Sobel(planes[1], cv2.CV_32F, 1, 0), cv2.Sobel(planes[1], cv2.CV_32F, 0, 1))
    planes += [cv2.GaussianBlur(slope * soft_edge, (0, 0), 2), _guided(lab[..., 0], guess, 6, 20.0), _guided(lab[..., 0], guess, 16, 20.0)]
    return np.stack(planes, -1).astype(np.float32)


def _shifted(plane: Plane, dx: int, dy: int) -> Plane:
    """The plane's value dx columns to the right and dy rows below, borders repeated."""
    h, w = plane.shape
    ys, xs = np.clip(np.arange(h) + dy, 0, h - 1), np.clip(np.arange(w) + dx, 0, w - 1)
    return plane[ys[:, None], xs[None]]


def _column_ends(guess: Plane, v: Plane) -> tuple[Plane, ...]:
    """Distance (in the box's heights) below the first and above the last likely pixel of the column and its neighbours."""
    solid = guess > 0.5
    h, w = solid.shape
    top = np.where(solid.any(0), v[solid.argmax(0), np.arange(w)], 0.5).astype(np.float32)
    end = np.where(solid.any(0), v[h - 1 - solid[::-1].argmax(0), np.arange(w)], 0.5).astype(np.float32)
    wide = cv2.dilate(end[None], np.ones((1, LONG // 7), np.uint8))
    return v - top[None], end[None] - v, wide - v


def _guided(guide: Plane, plane: Plane, radius: int, eps: float) -> Plane:
    """Guided filter (He, Sun, Tang, 2010) with a grey guide."""
    k = (2 * radius + 1, 2 * radius + 1)
    mg, mp = cv2.blur(guide, k), cv2.blur(plane, k)
    a = (cv2.blur(guide * plane, k) - mg * mp) / (cv2.blur(guide * guide, k) - mg * mg + eps)
    return cv2.blur(a, k) * guide + cv2.blur(mp - a * mg, k)


def _edges(lab: NDArray[np.float32]) -> Plane:
    """Colour edge strength, divided by the strength usual around it: a texture's edges count little."""
    soft = cv2.GaussianBlur(lab, (0, 0), 1.2)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125)
    strength = np.sqrt((gx**2 + gy**2).sum(-1))
    relative: Plane = strength / (cv2.blur(strength, (LONG // 8, LONG // 8)) + 1.0)
    return relative


def _edge_planes(lab: NDArray[np.float32]) -> list[Plane]:
    """Edges and texture here, and the strongest edge passed on the way in from each of the four sides."""
    soft = cv2.GaussianBlur(lab, (0, 0), 1.5)
    edges = _edges(lab)
    gx = np.sqrt((cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125) ** 2).sum(-1))
    gy = np.sqrt((cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125) ** 2).sum(-1))
    planes = [edges, cv2.GaussianBlur(edges, (0, 0), 4)]
    for size in (5, 15):
        mean = cv2.blur(lab[..., 0], (size, size))
        planes.append(np.sqrt(np.maximum(cv2.blur(lab[..., 0] ** 2, (size, size)) - mean**2, 0)))
    down, up = np.maximum.accumulate(gy, 0), np.maximum.accumulate(gy[::-1], 0)[::-1]
    right, left = np.maximum.accumulate(gx, 1), np.maximum.accumulate(gx[:, ::-1], 1)[:, ::-1]
    total_down, total_up = np.cumsum(edges, 0), np.cumsum(edges[::-1], 0)[::-1]
    return [*planes, down, up, np.minimum(left, right), np.maximum(left, right), total_down, total_up]


def _log_density(lab: NDArray[np.float32], weight: Plane) -> Plane:
    """Log density of each pixel's colour among the pixels weighted by `weight`, from a smoothed Lab histogram."""
    scale = np.array([_BINS[0] / 100.0, 0.2, 0.2], np.float32)
    index = np.clip((lab * scale + [0, 16, 16]).astype(int), 0, np.array(_BINS) - 1)
    flat = np.ravel_multi_index((index[..., 0], index[..., 1], index[..., 2]), _BINS)
    counts = np.bincount(flat.ravel(), weight.ravel(), int(np.prod(_BINS))).astype(np.float64).reshape(_BINS)
    smooth = _smoothed(counts)
    density = smooth / (smooth.sum() + 1e-9)
    logs: Plane = np.log(density + 1e-6).ravel()[flat].astype(np.float32)
    return logs


def _smoothed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts blurred along all axes by a Gaussian of one bin, borders repeated."""
    kernel = np.exp(-0.5 * np.arange(-4.0, 5.0) ** 2)
    kernel /= kernel.sum()
    for axis in range(counts.ndim):
        lines = np.moveaxis(counts, axis, 0)
        padded = np.pad(lines, ((4, 4), (0, 0), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 9, axis=0)
        counts = np.moveaxis(windows @ kernel, 0, axis)
    return counts


def _color_planes(lab: NDArray[np.float32], u: Plane, v: Plane) -> list[Plane]:
    """Log densities of the colour in the surroundings, above, below and beside the box, and in the box's middle."""
    outside = (u < -0.01) | (u > 1.01) | (v < -0.01) | (v > 1.01)
    middle = (np.abs(u - 0.5) < 0.33) & (np.abs(v - 0.55) < 0.25)
    parts = [outside, outside & (v < 0.35), outside & (v > 0.75), outside & (v > 0.35) & (v < 0.75), middle]
    logs = [cv2.GaussianBlur(_log_density(lab, p.astype(np.float32)), (0, 0), 1) for p in parts]
    return [*logs, logs[4] - logs[0], np.maximum(logs[1], logs[3]), cv2.GaussianBlur(logs[4] - logs[0], (0, 0), 5)]


def _ring_planes(lab: NDArray[np.float32], u: Plane, v: Plane) -> list[Plane]:
    """Colour distance to the surroundings just outside the box: the most alike, and the most alike of those near by.

    Also how much lighter the pixel is than the ground under its column and the backdrop above it.
    """
    soft = cv2.GaussianBlur(lab, (0, 0), 2)
    ys, xs = np.mgrid[2 : u.shape[0] : 7, 2 : u.shape[1] : 7]
    out = (np.maximum(np.abs(u - 0.5), np.abs(v - 0.5)) > 0.52)[ys, xs]
    ys, xs = ys[out], xs[out]
    samples = np.column_stack([soft[ys, xs], xs, ys]).astype(np.float32)
    if len(samples) == 0:
        raise ValueError("the crop has no margin around its box")
    planes = [_nearest(soft, samples, np.float32(k)) for k in (0.0, 0.15, 0.5)]
    below = np.median(soft[v[:, 0] > 1.02], 0)
    above = np.median(soft[v[:, 0] < -0.02], 0)
    below, above = (cv2.GaussianBlur(b[None], (0, 0), 10)[0] for b in (below, above))
    return [
        *planes,
        soft[..., 0] - below[None, :, 0],
        soft[..., 0] - above[None, :, 0],
        np.linalg.norm(soft - below[None], axis=-1),
        np.linalg.norm(soft - above[None], axis=-1),
    ]


@njit(cache=True, nogil=True)
def _nearest(lab: NDArray[Any], samples: NDArray[np.float32], pull: np.float32) -> NDArray[np.float32]:
    """Least distance to a sample (L, a, b, x, y), a pixel away in place counting as `pull` in colour."""
    h, w = lab.shape[:2]
    out = np.empty((h, w), np.float32)
    for y in range(h):
        for x in range(w):
            best = np.float32(1e12)
            for i in range(samples.shape[0]):
                d = np.float32(0.0)
                for c in range(3):
                    e = lab[y, x, c] - samples[i, c]
                    d += e * e
                ex, ey = (samples[i, 3] - x) * pull, (samples[i, 4] - y) * pull
                d += ex * ex + ey * ey
                best = min(best, d)
            out[y, x] = np.sqrt(best)
    return out


def _enclosure_planes(lab: NDArray[np.float32]) -> list[Plane]:
    """How much colour change lies on the easiest way in from the crop's border: all of it, its top, its bottom."""
    soft = cv2.bilateralFilter(lab, 5, 12, 2)
    h, w = lab.shape[:2]
    rim, top, low = (np.zeros((h, w), np.bool_) for _ in range(3))
    rim[[0, -1]], rim[:, [0, -1]] = True, True
    top[0], top[: h // 3, [0, -1]] = True, True
    low[-1], low[-h // 4 :, [0, -1]] = True, True
    return [_geodesic(soft, np.where(s, np.float32(0), np.float32(1e9)), 4) for s in (rim, top, low)]


@njit(cache=True, nogil=True)
def _geodesic(lab: NDArray[Any], start: NDArray[np.float32], rounds: int) -> NDArray[np.float32]:
    """Least sum of colour steps above a tolerance along 8-connected ways from `start` (raster scans, Toivanen 1996)."""
    h, w = start.shape
    d = start.copy()
    for _ in range(rounds):
        for sign in (1, -1):
            for i in range(h):
                y = i if sign == 1 else h - 1 - i
                for j in range(w):
                    x = j if sign == 1 else w - 1 - j
                    for dy, dx in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                        yy, xx = y + dy * sign, x + dx * sign
                        if yy < 0 or yy >= h or xx < 0 or xx >= w:
                            continue
                        s = np.float32(0.0)
                        for c in range(3):
                            e = lab[y, x, c] - lab[yy, xx, c]
                            s += e * e
                        step = max(np.float32(0.0), np.sqrt(s) - np.float32(1.0)) + np.float32(0.05)
                        d[y, x] = min(d[y, x], d[yy, xx] + step)
    return d


def _grabcut_planes(lab: NDArray[np.float32], u: Plane, v: Plane) -> list[Plane]:
    """GrabCut (Rother, Kolmogorov, Blake, 2004) at half size, begun with the box and with a vehicle-like core."""
    size = (lab.shape[1] // 2, lab.shape[0] // 2)
    small = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    picture = np.clip(small * [2.55, 1, 1] + [0, 128, 128], 0, 255).astype(np.uint8)
    us, vs = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (u, v))
    out = (us < -0.02) | (us > 1.02) | (vs < -0.02) | (vs > 1.02)
    core = (np.abs(us - 0.5) < 0.36) & (np.abs(vs - 0.57) < 0.22)
    corner = (np.abs(us - 0.5) / 0.52) ** 4 + (np.abs(vs - 0.5) / 0.52) ** 4 > 1.05
    planes = []
    for sure, doubt in ((np.zeros_like(core), np.zeros_like(core)), (core, corner)):
        labels = np.full(us.shape, cv2.GC_PR_FGD, np.uint8)
        labels[doubt], labels[sure], labels[out] = cv2.GC_PR_BGD, cv2.GC_FGD, cv2.GC_BGD
        cv2.setRNGSeed(1)
        cv2.grabCut(picture, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
        got = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
        planes.append(cv2.GaussianBlur(cv2.resize(got, lab.shape[1::-1]), (0, 0), 2))
    return planes


def _local_color(lab: NDArray[np.float32], inside: Plane) -> list[Plane]:
    """Colour distance to the mean of likely vehicle and of likely surroundings near by, at two reaches, and their difference."""
    planes = []
    for sigma in (0.04 * LONG, 0.1 * LONG):
        pair = []
        for weight in (inside, 1 - inside):
            total = cv2.GaussianBlur(weight, (0, 0), sigma)
            mean = cv2.GaussianBlur(lab * weight[..., None], (0, 0), sigma) / (total[..., None] + 1e-3)
            pair.append(np.linalg.norm(lab - mean, axis=-1))
        planes += [*pair, pair[1] - pair[0]]
    return planes
