"""Masks and fills of drawn lettering, whose true pixels are known."""

import cv2
import numpy as np
import pytest

from pipeline.phase1_sanitize.inpaint_classical import inpaint
from pipeline.phase1_sanitize.mask_classical import mask
from pipeline.phase1_sanitize.sanitize import dilated
from pipeline.values import Found, Mask, Rgb
from tests.phase1_sanitize.drawn import FRAME, SIDE, Drawn, lettered, paint, plated

WHITE, BLACK = (240, 240, 240), (15, 15, 18)

DRAWN = {
    "white on red": lambda: lettered(paint(), "TRAVELLER", (300, 400), 40, WHITE),
    "black on white": lambda: lettered(paint((200, 200, 205), (250, 250, 252)), "Turbo S", (400, 500), 26, BLACK),
    "small": lambda: lettered(paint(), "4x4 sport", (600, 600), 12, WHITE),
    "large": lambda: lettered(paint((40, 60, 120), (70, 100, 180)), "EXPRESS", (180, 350), 120, WHITE),
    "blue on red": lambda: lettered(paint(), "GARAGE", (300, 600), 40, (30, 40, 160)),
    "plate": lambda: plated(paint(), "KAB 4821", (400, 600), (230, 52)),
    "yellow plate": lambda: plated(paint(), "GV-512-X", (400, 600), (200, 44), (235, 190, 40)),
    "small plate": lambda: plated(paint((30, 30, 34), (60, 60, 66)), "OX 77 RT", (500, 500), (96, 24)),
}


def found(drawn: Drawn, name: str) -> Found:
    return Found("license plate" if "plate" in name else "text", 0.9, drawn.quad)


@pytest.mark.parametrize("name", DRAWN)
def test_the_mask_holds_the_letters_and_little_else(name):
    drawn = DRAWN[name]()
    exact = mask(drawn.rgb, found(drawn, name))
    wide = dilated(exact, FRAME, 0.002)
    assert exact.shape == (SIDE, SIDE)
    assert exact.dtype == np.bool_
    assert (drawn.letters & wide).sum() >= 0.995 * drawn.letters.sum()
    assert exact.sum() <= max(2.2 * drawn.letters.sum(), 0.8 * cv2.contourArea(drawn.quad))


@pytest.mark.parametrize("name", DRAWN)
def test_the_fill_is_what_was_there_before_the_letters(name):
    drawn = DRAWN[name]()
    wide = dilated(mask(drawn.rgb, found(drawn, name)), FRAME, 0.002)
    filled = inpaint(drawn.rgb, wide)
    error = np.abs(filled.astype(float) - drawn.clean)[wide]
    assert error.mean() < 4.0
    assert np.percentile(error, 99) < 16.0


def test_the_grain_of_the_fill_is_that_of_its_surroundings():
    drawn = DRAWN["white on red"]()
    wide = dilated(mask(drawn.rgb, found(drawn, "text")), FRAME, 0.002)
    filled = inpaint(drawn.rgb, wide)
    fine = filled.astype(float) - cv2.GaussianBlur(filled, (0, 0), 2.0)
    ring = cv2.dilate(wide.astype(np.uint8), np.ones((21, 21), np.uint8)).astype(bool) & ~wide
    assert 0.5 <= fine[wide].std() / fine[ring].std() <= 1.3


def test_a_panel_line_through_the_box_stays():
    ground = paint()
    ground[395:398, 120:904] = (60, 12, 10)
    drawn = lettered(ground, "TRAVELLER", (300, 410), 40, WHITE)
    assert drawn.quad[0, 1] < 395 or drawn.quad[0, 1] + 12 > 395
    taken = mask(drawn.rgb, Found("text", 0.9, drawn.quad - np.array([0, 12], np.float32)))
    assert not taken[395:398].any()


def test_lettering_on_a_slope():
    flat = DRAWN["white on red"]()
    turn = cv2.getRotationMatrix2D((500, 420), 14, 1.0)
    rgb, clean = (cv2.warpAffine(picture, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE) for picture in (flat.rgb, flat.clean))
    quad = cv2.transform(flat.quad[None], turn)[0].astype(np.float32)
    drawn = Drawn(rgb, clean, quad)
    wide = dilated(mask(rgb, Found("text", 0.9, quad)), FRAME, 0.002)
    assert (drawn.letters & wide).sum() >= 0.99 * drawn.letters.sum()


def test_a_registration_without_its_plate_is_masked_as_lettering():
    drawn = DRAWN["white on red"]()
    taken = mask(drawn.rgb, Found("license plate", 0.9, drawn.quad))
    assert (taken == mask(drawn.rgb, Found("text", 0.9, drawn.quad))).all()


def test_the_edge_of_a_window_beside_the_letters_does_not_bleed_into_them():
    glass = paint((30, 60, 90), (35, 70, 100))
    glass[300:396] = (205, 60, 50)
    drawn = lettered(glass, "sport 4x4", (300, 398), 40, WHITE)
    wide = dilated(mask(drawn.rgb, Found("text", 0.9, drawn.quad)), FRAME, 0.002)
    below = wide.copy()
    below[:396] = False
    assert np.abs(inpaint(drawn.rgb, wide).astype(float) - drawn.clean)[below].mean() < 4.0


def test_a_box_over_the_edge_of_the_square():
    drawn = lettered(paint(), "EDGE", (-20, 400), 40, WHITE)
    assert mask(drawn.rgb, Found("text", 0.9, drawn.quad)).any()


def test_a_plate_keeps_its_frame():
    drawn = DRAWN["plate"]()
    wide = dilated(mask(drawn.rgb, Found("license plate", 0.9, drawn.quad)), FRAME, 0.002)
    assert not wide[:600].any()
    assert not wide[652:].any()
    assert not wide[:, :400].any()
    assert not wide[:, 630:].any()


def test_light_between_dark_frames_does_not_darken():
    """Characters that nearly touch their frame: the fill is the plate's colour, not a mixture with the frame's."""
    drawn = plated(paint((25, 25, 28), (40, 40, 44)), "WWW 88888", (400, 600), (196, 40))
    wide = dilated(mask(drawn.rgb, Found("license plate", 0.9, drawn.quad)), FRAME, 0.002)
    plate = np.zeros_like(wide)
    plate[602:638, 402:594] = True
    assert inpaint(drawn.rgb, wide)[wide & plate].min() > 170


def random_mask(seed: int) -> Mask:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(300, 300)).astype(np.float32), (0, 0), 6)
    return noise > np.quantile(noise, 0.9)


@pytest.mark.parametrize("seed", range(6))
def test_a_flat_picture_stays_flat(seed):
    flat = np.full((300, 300, 3), (90, 160, 30), np.uint8)
    hole = random_mask(seed)
    spoilt = flat.copy()
    spoilt[hole] = np.random.default_rng(seed).integers(0, 256, (int(hole.sum()), 3), np.uint8)
    assert (inpaint(spoilt, hole) == flat).all()


@pytest.mark.parametrize("seed", range(3))
def test_only_masked_pixels_change_and_the_same_twice(seed):
    rng = np.random.default_rng(seed)
    rgb: Rgb = cv2.resize(rng.integers(0, 256, (20, 20, 3), np.uint8), (300, 300), interpolation=cv2.INTER_CUBIC)
    hole = random_mask(seed + 10)
    once, twice = inpaint(rgb, hole), inpaint(rgb.copy(), hole.copy())
    assert (once == twice).all()
    assert (once[~hole] == rgb[~hole]).all()


def test_an_empty_mask_changes_nothing():
    assert (inpaint(paint(), np.zeros((SIDE, SIDE), np.bool_)) == paint()).all()


def test_a_picture_that_is_all_hole_is_refused():
    with pytest.raises(ValueError, match="rim"):
        inpaint(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), np.bool_))
