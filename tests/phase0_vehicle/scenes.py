"""Plain scenes for looks that take what is bright for what stands out, and for verdicts that know a colour."""

import cv2
import numpy as np

RED, BLUE, GROUND = (250, 60, 60), (60, 60, 250), (40, 40, 40)


def scene(*things, size=(400, 600)):
    """Boxes (x0, y0, x1, y1, colour) before a dark ground."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[:] = GROUND
    rgb[:2] = 255, 255, 255  # so that its range is full
    rgb[0, :2] = 0
    for x0, y0, x1, y1, color in things:
        rgb[y0:y1, x0:x1] = color
    rgb[:2] = np.where(rgb[:2] == 255, 255, rgb[:2])
    return rgb


def bright(rgb):
    """What stands out is coloured, whatever stands beside it."""
    small = cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.clip((small.max(-1) - small.min(-1)) / 150, 0, 1).astype(np.float32)


def red_is_a_vehicle(rgb):
    """The verdict: the share of what is coloured that is red; nothing coloured is no vehicle, and nothing is a wheel."""
    coloured = np.ptp(rgb.astype(int), axis=-1) > 100
    red = coloured & (rgb[..., 0] > rgb[..., 2])
    return (float(red.sum() / max(1, coloured.sum())) if coloured.any() else 0.0), 0.0


class Counting:
    """A look that counts and keeps the shapes of what it was shown."""

    def __init__(self, look=bright):
        self.look, self.shapes = look, []

    def __call__(self, rgb):
        self.shapes.append(rgb.shape[:2])
        return self.look(rgb)
