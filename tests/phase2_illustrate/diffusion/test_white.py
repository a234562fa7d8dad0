"""The vehicle on white: nothing of the background, not even at the rim."""

import cv2
import numpy as np
import pytest

from pipeline.phase2_illustrate.diffusion.white import on_white

SIDE = 1024
RED, GREEN = np.array([200, 20, 20], float), np.array([10, 120, 10], float)


def mixed():
    """A red disc with a soft rim, photographed before a green background."""
    disc = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(disc, (SIDE // 2, SIDE // 2), 300, 255, -1)
    alpha = cv2.GaussianBlur(disc, (0, 0), 1.0)
    share = alpha[..., None] / 255
    return np.round(share * RED + (1 - share) * GREEN).astype(np.uint8), alpha


def test_a_mask_cuts_hard():
    rgb, alpha = mixed()
    inside = alpha > 127
    white = on_white(rgb, inside)
    assert (white[~inside] == 255).all()
    assert (white[inside] == rgb[inside]).all()


def test_the_rim_holds_no_background():
    rgb, alpha = mixed()
    share = alpha[..., None] / 255
    wanted = share * RED + (1 - share) * 255
    naive = share * rgb + (1 - share) * 255
    white = on_white(rgb, alpha)
    rim = (alpha > 0) & (alpha < 255)
    assert np.abs(naive - wanted)[rim].max() > 40
    assert np.abs(white - wanted)[rim].max() < 12
    assert np.abs(white - wanted)[rim].mean() < 3


def test_whole_pixels_are_untouched():
    rgb, alpha = mixed()
    white = on_white(rgb, alpha)
    assert (white[alpha == 255] == rgb[alpha == 255]).all()
    assert (white[alpha == 0] == 255).all()


def test_mask_of_bits_and_alpha_of_255_are_the_same():
    rgb, alpha = mixed()
    inside = alpha > 127
    assert (on_white(rgb, inside) == on_white(rgb, inside.astype(np.uint8) * 255)).all()


def test_nothing_on_white_is_white():
    rgb, alpha = mixed()
    assert (on_white(rgb, np.zeros_like(alpha)) == 255).all()


def test_other_shapes_are_refused():
    rgb, alpha = mixed()
    with pytest.raises(ValueError, match="cover"):
        on_white(rgb, alpha[:-1])
