"""The classical drawing step on a plain car: seams kept, wheels lifted, background untouched."""

import cv2
import numpy as np
import pytest

from pipeline.phase2_illustrate.classical.draw import draw, lifted

SIDE = 512


def car(seed=0):
    """A white body with a dark window, a seam, two wheels, on a noisy ground."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    inside = np.zeros((SIDE, SIDE), np.uint8)
    cv2.rectangle(inside, (60, 150), (450, 340), 1, -1)
    for x in (140, 370):
        cv2.circle(inside, (x, 340), 40, 1, -1)
    rgb[inside > 0] = 215
    cv2.rectangle(rgb, (120, 165), (300, 230), (45, 45, 45), -1)
    for x in (140, 370):
        cv2.circle(rgb, (x, 340), 38, (25, 25, 25), -1)
    cv2.line(rgb, (330, 160), (330, 330), (170, 170, 170), 2)
    noisy = rgb + rng.normal(0, 3, rgb.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), inside > 0


def test_seam_is_kept_and_noise_goes():
    rgb, inside = car()
    drawn = draw(rgb, inside).astype(int)
    assert drawn[250:300, 345:360].mean() - drawn[250:300, 330:332].mean() > 25
    assert drawn[250:300, 360:400].std() < 0.6 * rgb[250:300, 360:400].std()


def test_outside_stays_as_it_was():
    rgb, inside = car()
    assert (draw(rgb, inside)[~inside] == rgb[~inside]).all()
    assert (draw(rgb, np.zeros_like(inside)) == rgb).all()


def test_same_picture_same_drawing():
    rgb, inside = car()
    assert (draw(rgb, inside) == draw(rgb, inside)).all()


def test_spokes_are_lifted_out_of_the_dark_and_keep_their_hue():
    rgb = np.full((SIDE, SIDE, 3), 12, np.uint8)
    cv2.line(rgb, (100, 256), (400, 256), (45, 32, 20), 5)
    after = lifted(rgb, np.ones((SIDE, SIDE), bool), 0.5).astype(int)
    assert after[256, 250].mean() > 1.4 * rgb[256, 250].mean()
    assert after[256, 250, 0] / after[256, 250, 2] == pytest.approx(45 / 20, rel=0.1)
    assert (after[:200] == 12).all()
    bright = np.full((SIDE, SIDE, 3), 180, np.uint8)
    cv2.line(bright, (100, 256), (400, 256), (220, 220, 220), 5)
    assert (lifted(bright, np.ones((SIDE, SIDE), bool), 0.5) == bright).all()
