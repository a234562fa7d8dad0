"""Properties of the grading."""

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import palette as palettes
from pipeline.color import srgb_to_lab
from pipeline.phase2_illustrate.grade import GREY, grade
from tests.phase2_illustrate.drawn_car import car, lch

GUIDE = palettes.parse("FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1")
SIDE = 512
HEX = st.integers(0, 0xFFFFFF).map(lambda v: f"{v:06X}")


def disc(side=SIDE):
    y, x = np.mgrid[:side, :side] - side / 2
    return x**2 + y**2 < (0.4 * side) ** 2


def blotches(seed, side=SIDE):
    """A smooth random picture with noise on it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    big = np.kron(coarse, np.ones((side // 8, side // 8, 1))) + rng.normal(0, 6, (side, side, 3))
    return np.clip(big, 0, 255).astype(np.uint8)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), colors=st.lists(HEX, min_size=2, max_size=20, unique=True), background=st.booleans())
def test_every_label_is_valid(seed, colors, background):
    inside, palette = disc(), palettes.parse(colors)
    labels = grade(blotches(seed), inside, palette, background)
    assert labels.shape == (SIDE, SIDE)
    assert labels.dtype == np.uint8
    assert (labels[inside] < len(palette)).all()
    assert ((labels[~inside] < len(palette)) if background else (labels[~inside] == len(palette))).all()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), palette=st.sampled_from([GUIDE, palettes.parse(None)]))
def test_a_grey_picture_stays_grey(seed, palette):
    grey = np.repeat(blotches(seed)[..., :1], 3, 2)
    inside = disc()
    chosen = palette.rgb[grade(grey, inside, palette)[inside]]
    assert (np.ptp(chosen, axis=-1) == 0).all()


@settings(max_examples=12, deadline=None)
@given(colors=st.lists(HEX, min_size=2, max_size=64, unique=True), seed=st.integers(0, 10**6))
def test_a_picture_in_palette_colours_is_reproduced(colors, seed):
    palette = palettes.parse(colors)
    tiles = np.random.default_rng(seed).integers(0, len(palette), (4, 4))
    truth = np.kron(tiles, np.ones((SIDE // 4, SIDE // 4))).astype(np.uint8)
    labels = grade(palette.rgb[truth], np.ones((SIDE, SIDE), bool), palette)
    assert (palette.rgb[labels] == palette.rgb[truth]).all(-1).mean() > 0.99


def hue_family(hue, palette, reach=35):
    """Which of the palette's colours have that hue, degrees."""
    _, a, b = srgb_to_lab(palette.rgb).T
    return (np.hypot(a, b) >= GREY) & (np.abs((np.degrees(np.arctan2(b, a)) - hue + 180) % 360 - 180) <= reach)


PAINTS = {"teal": (45, 18, 195), "maroon": (30, 22, 25), "olive": (45, 22, 108), "navy": (28, 22, 285), "sand": (70, 18, 85)}


@pytest.mark.parametrize("paint", PAINTS)
@pytest.mark.parametrize("palette", [palettes.parse(None), GUIDE], ids=["default", "guide"])
def test_muted_paint_takes_the_palettes_colour_of_its_hue(paint, palette):
    family = hue_family(PAINTS[paint][2], palette)
    assert family.any()
    drawn = car(lch(*PAINTS[paint]))
    labels = grade(drawn.rgb, drawn.inside, palette)
    assert family[labels[drawn.body]].mean() > 0.98
    tones = ~hue_family(0, palette, 180)
    assert tones[labels[drawn.glass]].mean() > 0.9
    assert tones[labels[drawn.wheels]].mean() > 0.9


@pytest.mark.parametrize("hue", [0, 30, 60, 90, 120, 150, 180, 210, 300, 330])
def test_muted_paint_of_any_hue_that_the_palette_has(hue):
    palette = palettes.parse(None)
    drawn = car(lch(45, 20, hue), side=256)
    labels = grade(drawn.rgb, drawn.inside, palette)
    assert hue_family(hue, palette)[labels[drawn.body]].mean() > 0.95


@pytest.mark.parametrize("paint", [(236, 236, 236), (160, 160, 160), (60, 60, 60), lch(88, 8, 260), lch(85, 6, 80)], ids=str)
def test_a_car_that_is_not_painted_in_a_colour_is_drawn_in_tones(paint):
    palette = palettes.parse(None)
    drawn = car(paint)
    labels = grade(drawn.rgb, drawn.inside, palette)
    assert not hue_family(0, palette, 180)[labels[drawn.inside]].any()


@pytest.mark.parametrize("cast", [(1, 0.85, 0.6), (1, 0.9, 0.75), (0.7, 0.88, 1)], ids=["evening", "lamps", "shade"])
@pytest.mark.parametrize("paint", [(236, 236, 236), (170, 170, 170)], ids=["white", "silver"])
def test_a_white_car_in_coloured_light_is_drawn_in_tones(paint, cast):
    palette = palettes.parse(None)
    drawn = car(paint, cast=cast)
    labels = grade(drawn.rgb, drawn.inside, palette)
    assert not hue_family(0, palette, 180)[labels[drawn.inside]].any()


def test_red_in_shade_stays_red():
    ramp = np.zeros((SIDE, SIDE, 3), np.uint8)
    ramp[..., 0] = np.linspace(90, 255, SIDE)[None]
    labels = grade(ramp, np.ones((SIDE, SIDE), bool), GUIDE)
    assert (labels == GUIDE.colors.index("#FF0000")).all()


@pytest.mark.parametrize("count", [2, 64])
def test_smallest_and_largest_palette(count):
    rng = np.random.default_rng(count)
    palette = palettes.parse([f"{v:06X}" for v in rng.choice(0x1000000, count, replace=False)])
    labels = grade(blotches(3), disc(), palette)
    assert (labels[disc()] < count).all()


def test_background_never_joins_the_vehicle():
    """White on white: the outline stays, since each side is graded by itself."""
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    inside = disc()
    assert (grade(white, inside, GUIDE) == len(GUIDE))[~inside].all()
    speck = inside.copy()
    speck[5:8, 5:8] = True  # a vehicle's part too small to live by itself must not take the background's label
    black = np.where(speck[..., None], 0, 255).astype(np.uint8)
    labels = grade(np.repeat(black, 3, -1), speck, GUIDE, background=True)
    assert (labels[5:8, 5:8] == GUIDE.colors.index("#000000")).all()


def test_same_picture_same_labels():
    picture = blotches(1)
    assert (grade(picture, disc(), GUIDE) == grade(picture, disc(), GUIDE)).all()


def test_no_vehicle_is_nothing():
    assert (grade(blotches(1), np.zeros((SIDE, SIDE), bool), GUIDE) == len(GUIDE)).all()


def test_noise_leaves_few_areas():
    """A shaded grey panel with noise comes out in calm areas, not in specks."""
    rng = np.random.default_rng(0)
    shade = np.linspace(90, 200, SIDE)[None, :, None] + rng.normal(0, 12, (SIDE, SIDE, 1))
    labels = grade(np.clip(np.repeat(shade, 3, -1), 0, 255).astype(np.uint8), disc(), GUIDE)
    assert cc3d.connected_components(labels + 1, connectivity=4).max() <= 8


@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_vehicle_of_a_few_pixels(side):
    inside = np.zeros((SIDE, SIDE), bool)
    inside[100 : 100 + side, 200 : 200 + side] = True
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    picture[inside] = (250, 10, 5)
    labels = grade(picture, inside, GUIDE)
    assert (labels[inside] == GUIDE.colors.index("#FF0000")).all()
    assert (labels[~inside] == len(GUIDE)).all()
