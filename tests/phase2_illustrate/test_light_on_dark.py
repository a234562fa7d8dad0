"""Light shapes in the dark: a wheel's spokes, and nothing where there is only noise."""

import cv2
import numpy as np
import pytest

from pipeline.palette import parse
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.dark_relief import relieved
from pipeline.values import Mask, Rgb

PALETTE = parse("FFFFFF,000000,808080,FF0000")
WHITE, BLACK, GREY, RED, NOTHING = range(5)


def wheel(side: int, light: int, noise: float = 0.0) -> tuple[Rgb, Mask, Labels, Mask]:
    """A black disc with spokes of the code `light` on a white car; all of the disc was graded to black."""
    unit = side / 1024
    spokes, inside = np.zeros((side, side), np.uint8), np.ones((side, side), bool)
    disc = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), round(300 * unit), 1, -1) > 0
    for turn in np.radians(range(0, 180, 36)):
        way = np.array([np.cos(turn), np.sin(turn)]) * 250 * unit
        cv2.line(spokes, *(tuple(int(v) for v in np.array([side, side]) / 2 + s * way) for s in (-1, 1)), 1, max(1, round(14 * unit)))
    rgb = np.full((side, side, 3), 230, np.uint8)
    rgb[disc] = 18
    rgb[spokes > 0] = light
    grain = np.random.default_rng(1).normal(0, noise, (side, side, 1)) if noise else 0
    labels = np.where(disc, BLACK, WHITE).astype(np.uint8)
    return np.clip(rgb + grain, 0, 255).astype(np.uint8), inside, labels, (spokes > 0) & disc


@pytest.mark.parametrize("side", [512, 1024])
@pytest.mark.parametrize("light", [30, 45, 90])
def test_spokes_take_the_next_tone(side: int, light: int) -> None:
    rgb, inside, labels, spokes = wheel(side, light)
    after = relieved(rgb, inside, labels, PALETTE, np.zeros_like(inside))
    assert (after[spokes] == GREY).mean() > 0.8
    assert (after[(labels == BLACK) & ~cv2.dilate(spokes.astype(np.uint8), np.ones((9, 9))).astype(bool)] == BLACK).mean() > 0.97
    assert (after[labels == WHITE] == WHITE).all()


def test_plain_black_and_noise_stay_black() -> None:
    for noise in (0.0, 1.5):
        rgb, inside, labels, _ = wheel(1024, 18, noise)
        after = relieved(rgb, inside, labels, PALETTE, np.zeros_like(inside))
        assert (after[labels == BLACK] == BLACK).mean() > 0.99


def test_what_is_spared_stays_and_so_does_everything_where_there_is_no_second_tone() -> None:
    rgb, inside, labels, _ = wheel(512, 60)
    assert (relieved(rgb, inside, labels, PALETTE, inside) == labels).all()
    assert (relieved(rgb, ~inside, labels, PALETTE, np.zeros_like(inside)) == labels).all()
    one = parse("000000,FF0000,0000FF")
    black = np.zeros_like(labels)
    assert (relieved(rgb, inside, black, one, np.zeros_like(inside)) == black).all()
