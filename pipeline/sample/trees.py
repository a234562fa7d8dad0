"""Street trees and a lamp post, drawn flat."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sample.fields import Array, Bytes, Sheet
from pipeline.sample.houses import sign_box
from pipeline.sample.look import Look


def _ball(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Points (n, 3) spread evenly in the unit ball."""
    v = rng.standard_normal((n, 3))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True) * np.cbrt(rng.random((n, 1))))


def _trunk(picture: Bytes, rng: np.random.Generator, foot: tuple[int, int], top: tuple[int, int]) -> None:
    """A trunk that tapers, lit from one side, with the bark's streaks."""
    rows = np.arange(max(top[1], 0), foot[1])
    for row in rows:
        along = (row - top[1]) / (foot[1] - top[1])
        half = 3.4 + 2.4 * along**3 + 0.5 * np.sin(row / 9.0)
        middle = top[0] + (foot[0] - top[0]) * along
        columns = np.arange(int(middle - half), int(middle + half) + 1)
        columns = columns[(columns >= 0) & (columns < picture.shape[1])]
        tone = 0.55 + 0.5 * np.cos((columns - middle) / half * 1.3 + 0.7) + rng.normal(0, 0.07, len(columns))
        picture[row, columns, :3] = np.clip(tone[:, None] * np.array([86, 76, 64]), 0, 255)
        picture[row, columns, 3] = 255


def _crown(picture: Bytes, rng: np.random.Generator, cx: float, cy: float, radius: float, density: float, sun: Array) -> None:
    """A tree's crown: thousands of leaves in clusters, lit from the sun's side, the far ones first."""
    clusters = _ball(rng, 80) * radius * [1.15, 0.85, 1.0]
    clusters = clusters[np.argsort(clusters[:, 2])]
    for c in clusters:
        size, n = rng.uniform(0.20, 0.36) * radius, 420
        dabs = _ball(rng, n) * size * 1.15
        dabs = dabs[np.argsort(dabs[:, 2])]
        light = (dabs @ sun) / size * 0.42 + (c @ sun) / radius * 0.34 + 0.36 + rng.normal(0, 0.13, n)
        v = np.clip(light, 0.04, 1.2)[:, None]
        leaf = np.clip(np.array([26, 34, 16]) + v * np.array([88, 96, 42]) + rng.normal(0, 5, (n, 1)) * [1, 0.6, 0.2], 0, 255)
        column = np.round((c[0] + dabs[:, 0] + cx) * density).astype(int)
        row = np.round(picture.shape[0] - (c[1] + dabs[:, 1] + cy) * density).astype(int)
        # Each leaf is three pixels in a random direction.
        for step in range(3):
            turn = rng.integers(-1, 2, (2, n))
            column, row = column + turn[0] * (step > 0), row + turn[1] * (step > 0)
            seen = (column >= 0) & (column < picture.shape[1]) & (row >= 0) & (row < picture.shape[0])
            picture[row[seen], column[seen], :3] = leaf[seen]
            picture[row[seen], column[seen], 3] = 255


def planting(look: Look, sun: Array) -> Sheet:
    """Trees and a lamp post as a sheet (H, W, 4) uint8: sRGB times coverage, and coverage; the pavement at height 0."""
    rng = look.rng(4)
    density, left, right, high = 48.0, -26.0, 8.0, 8.0
    picture: Bytes = np.zeros((round(high * density), round((right - left) * density), 4), np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round((x - left) * density), round((high - y) * density)

    post = rng.uniform(-5.2, -4.0)
    cv2.line(picture, at(post, 0), at(post, 7.0), (62, 64, 66, 255), 5, cv2.LINE_AA)
    cv2.line(picture, at(post, 0), at(post, 1.0), (52, 54, 56, 255), 9, cv2.LINE_AA)
    cv2.ellipse(picture, at(post + 0.8, 6.9), (38, 14), 0, 180, 360, (62, 64, 66, 255), 4, cv2.LINE_AA)
    x = left + float(rng.uniform(0, 4))
    while x < right:
        if abs(x - post) > 1.8 and not sign_box()[0] - 1.0 < x < sign_box()[2] + 2.2:
            lean = float(rng.normal(0, 0.12))
            _trunk(picture, rng, at(x, 0), at(x + lean, 3.9))
            for branch in (-0.5, 0.1, 0.6):
                cv2.line(picture, at(x + lean, 3.3), at(x + lean + branch, 4.6), (60, 50, 42, 255), 4, cv2.LINE_AA)
            _crown(picture, rng, x + lean - left, 4.9, float(rng.uniform(1.3, 1.8)), density, sun)
        x += float(rng.uniform(4.2, 7.5))
    # Colour and coverage are blurred alike, so the colour stays multiplied by the coverage.
    return Sheet(np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8), left, high, density)
