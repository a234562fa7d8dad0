"""The car's shadow on the ground."""

import cv2
import numpy as np

from pipeline.sample import body
from pipeline.sample.fields import Array, Bytes, Sheet
from pipeline.sample.form import Form
from pipeline.sample.light import Light

_GRID, _HALF = 60.0, 5.0  # the map: pixels a metre, half its side in metres


def _fill(picture: Bytes, x: Array, z: Array) -> None:
    points = np.stack([(x + _HALF) * _GRID, (z + _HALF) * _GRID], 1)
    cv2.fillPoly(picture, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)


def shadow_map(light: Light, form: Form) -> tuple[Sheet, Sheet]:
    """On the ground (x, -z as 'up'): what the sun does not reach (0..1), and how much of the sky the car covers (0..1)."""
    side = round(2 * _HALF * _GRID)
    cast, under = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)

    grid = np.arange(-2.2, 2.3, 0.01, dtype=np.float32)
    for y in np.arange(form.floor, form.roof, 0.015):
        half = form.half_width(grid, float(y))
        inside = half > 0
        if not inside.any():
            continue
        x = np.concatenate([grid[inside], grid[inside][::-1]])
        z = np.concatenate([half[inside], -half[inside][::-1]])
        _fill(cast, x - y * light.sun[0] / light.sun[1], z - y * light.sun[2] / light.sun[1])
    for wheel in body.WHEELS:
        for z0, z1 in ((0.61, 0.81), (-0.81, -0.61)):
            for a in np.linspace(0, 2 * np.pi, 40):
                left, y = wheel + body.TYRE * np.cos(a), body.AXLE + body.TYRE * np.sin(a)
                lx, lz = y * light.sun[0] / light.sun[1], y * light.sun[2] / light.sun[1]
                _fill(cast, left + np.array([-0.05, 0.05, 0.05, -0.05]) - lx, np.array([z0, z0, z1, z1]) - lz)
    half = form.half_width(grid, form.sill)
    inside = half > 0
    _fill(under, np.concatenate([grid[inside], grid[inside][::-1]]), np.concatenate([half[inside], -half[inside][::-1]]))
    sharp = np.asarray(cv2.GaussianBlur(cast, (0, 0), 1.6), np.uint8)
    soft = np.asarray(cv2.GaussianBlur(under, (0, 0), 9.0), np.uint8)
    for wheel in body.WHEELS:
        for middle in (0.71, -0.71):
            patch = np.zeros_like(under)
            _fill(patch, wheel + np.array([-0.13, 0.13, 0.13, -0.13]), middle + np.array([-0.11, -0.11, 0.11, 0.11]))
            soft = np.maximum(soft, np.asarray(cv2.GaussianBlur(patch, (0, 0), 2.5), np.uint8))
    return Sheet(sharp, -_HALF, _HALF, _GRID), Sheet(soft, -_HALF, _HALF, _GRID)
