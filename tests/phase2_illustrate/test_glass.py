"""Panes on drawn cars, and glass grown calm."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.glass import figures, squared
from pipeline.color import srgb_to_lab
from pipeline.palette import Palette, parse
from pipeline.phase2_illustrate.classical.draw import draw
from pipeline.phase2_illustrate.glass import _candidates, calmed, panes
from pipeline.phase2_illustrate.grade import GREY, grade
from pipeline.raster import mask_iou
from pipeline.values import Mask, Rgb
from tests.phase2_illustrate.drawn_car import Colour, car, front, lch

WHITE: Colour = (222, 222, 222)
DARK_RED = lch(30, 45, 30)
DEFAULT = parse(None)
TONES = parse("000000,404040,808080,C0C0C0,FFFFFF,FF0000")
BLACK, DIM, GREY_, LIGHT, BRIGHT, RED = range(6)


def found(rgb: Rgb, inside: Mask) -> Mask:
    return panes(rgb, inside) > 0


def held(part: Mask, whole: Mask) -> float:
    """Share of `whole` that `part` covers."""
    return float(part[whole].mean())


@pytest.mark.parametrize(
    ("paint", "glass"),
    [
        (WHITE, (70, 72, 74)),
        ((160, 160, 160), (70, 72, 74)),
        ((30, 30, 32), (90, 92, 94)),
        (DARK_RED, (70, 72, 74)),
        (DARK_RED, (150, 152, 155)),  # brighter than the paint
        (lch(45, 50, 250), (120, 125, 130)),
    ],
    ids=["white", "grey", "black", "dark red", "dark red, bright glass", "blue"],
)
def test_side_windows_are_two_panes(paint: Colour, glass: Colour) -> None:
    drawn = car(paint, glass=glass)
    pane = panes(drawn.rgb, drawn.inside)
    assert pane.max() == 2
    assert mask_iou(pane > 0, drawn.glass) > 0.95
    assert len(np.unique(pane[:, 176:254])) == len(np.unique(pane[:, 266:372])) == 2


@pytest.mark.parametrize("side", [512, 1024])
@pytest.mark.parametrize("mirrored", ["left", "right", "askew"])
@pytest.mark.parametrize("paint", [WHITE, DARK_RED], ids=["white", "dark red"])
def test_a_windscreen_half_in_reflection_is_found_whole_and_calmed(paint: Colour, mirrored: str, side: int) -> None:
    drawn = front(paint, mirrored=mirrored, side=side)
    pane = panes(drawn.rgb, drawn.inside)
    assert pane.max() == 1
    assert held(pane > 0, drawn.glass) > 0.95
    assert (pane > 0).sum() < 1.15 * drawn.glass.sum()  # the seal belongs to it
    labels = grade(draw(drawn.rgb, drawn.inside), drawn.inside, TONES)
    assert len(np.unique(labels[drawn.glass])) > 2
    assert len(np.unique(calmed(labels, pane, TONES)[pane > 0])) <= 2


def test_a_window_full_of_reflections_grows_calm() -> None:
    drawn = car(WHITE, glass=(45, 45, 45))
    rgb = drawn.rgb.copy()
    for x in (215, 238, 285, 312, 340):
        cv2.ellipse(rgb, (x, 200), (7, 17), 30, 0, 360, (110, 110, 110), -1)
    pane = panes(rgb, drawn.inside)
    assert mask_iou(pane > 0, drawn.glass) > 0.95
    labels = grade(draw(rgb, drawn.inside), drawn.inside, TONES)
    for k in (1, 2):
        assert len(np.unique(labels[pane == k])) >= 2
        assert len(np.unique(calmed(labels, pane, TONES)[pane == k])) <= 2


def test_a_windscreen_all_in_reflection_is_found_by_its_seal() -> None:
    mirror = front(WHITE, glass=WHITE)
    assert held(found(mirror.rgb, mirror.inside), mirror.glass) > 0.95


def plain(paint: Colour = WHITE) -> tuple[Rgb, Mask]:
    """A car without windows."""
    drawn = car(paint)
    rgb = drawn.rgb.copy()
    rgb[cv2.dilate(drawn.glass.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0] = paint
    return rgb, drawn.inside


def lamp(rgb: Rgb) -> None:
    """A red lamp high in the rear."""
    cv2.rectangle(rgb, (350, 196), (372, 212), (200, 20, 20), -1)


def highlight(rgb: Rgb) -> None:
    """The sun on a roof."""
    cv2.ellipse(rgb, (262, 185), (48, 18), 0, 0, 360, (252, 252, 252), -1)


def trim(rgb: Rgb) -> None:
    """A long dark strip."""
    cv2.rectangle(rgb, (190, 196), (340, 206), (60, 60, 60), -1)


def roof(rgb: Rgb) -> None:
    """A roof in black, up to the outline."""
    cv2.fillPoly(rgb, [np.array([(196, 158), (330, 156), (368, 194), (172, 194)])], (52, 52, 54))


def door(rgb: Rgb) -> None:
    """A panel between dark gaps, in the paint's colour."""
    cv2.rectangle(rgb, (190, 205), (330, 252), (40, 40, 40), 3)


def strips(rgb: Rgb) -> None:
    """A part of the roof between light strips, in the paint's colour."""
    cv2.rectangle(rgb, (198, 170), (316, 206), (252, 252, 252), 3)


def speck(rgb: Rgb) -> None:
    """A small sticker."""
    cv2.rectangle(rgb, (230, 190), (240, 200), (60, 60, 60), -1)


def crooked(rgb: Rgb) -> None:
    """A dark angle."""
    cv2.rectangle(rgb, (200, 174), (212, 222), (60, 60, 60), -1)
    cv2.rectangle(rgb, (200, 209), (320, 222), (60, 60, 60), -1)


@pytest.mark.parametrize("thing", [lamp, trim, roof, door, speck, crooked])
def test_what_is_no_glass(thing: Callable[[Rgb], None]) -> None:
    """Nor are the wheels, which all of these cars have."""
    rgb, inside = plain()
    thing(rgb)
    assert not found(rgb, inside).any()


def test_a_window_as_grey_as_the_paint_is_found_by_its_bright_trim() -> None:
    rgb, inside = plain((160, 160, 160))
    strips(rgb)
    assert found(rgb, inside).any()


def test_what_stands_on_the_lower_outline_is_no_glass() -> None:
    """As a wheel does, under a vehicle that hangs down elsewhere."""
    rgb, inside = np.full((512, 512, 3), 136, np.uint8), np.zeros((512, 512), bool)
    inside[100:280, 60:460] = inside[100:480, 300:460] = True
    rgb[inside] = WHITE
    rgb[190:270, 100:150] = 60
    assert found(rgb, inside)[195:265, 105:145].all()
    rgb[190:280, 100:150] = 60
    assert not found(rgb, inside).any()


def test_glass_with_sharp_edges_in_it_is_found_by_its_colour() -> None:
    """A wheel and seats behind it: dark on dark glass, as sharp as the pane's own outline."""
    drawn = car(WHITE)
    rgb = drawn.rgb.copy()
    for x in range(180, 370, 12):
        rgb[:, x : x + 6][drawn.glass[:, x : x + 6]] = (24, 24, 25)
    assert mask_iou(found(rgb, drawn.inside), drawn.glass) > 0.95


def test_what_has_no_roof_over_it_is_no_glass() -> None:
    """A dark lamp under a spoiler, at the height of the windows, where the outline has come down already."""
    drawn = car(WHITE)
    rgb = drawn.rgb.copy()
    cv2.rectangle(rgb, (412, 240), (440, 262), (30, 30, 32), -1)
    assert mask_iou(found(rgb, drawn.inside), drawn.glass) > 0.95


def test_what_lies_below_the_panes_is_no_glass() -> None:
    drawn = car(WHITE)
    rgb = drawn.rgb.copy()
    cv2.rectangle(rgb, (230, 236), (300, 252), (60, 60, 60), -1)
    assert not found(rgb, drawn.inside)[236:253].any()


@pytest.mark.parametrize("paint", [DARK_RED, WHITE], ids=["dark red", "white"])
def test_a_mirror_in_front_of_a_pane_is_none(paint: Colour) -> None:
    drawn = car(paint)
    rgb = drawn.rgb.copy()
    cv2.ellipse(rgb, (290, 212), (13, 9), 0, 0, 360, paint, -1)
    glass = found(rgb, drawn.inside)
    assert not glass[207:218, 282:299].any()
    assert held(glass, drawn.glass) > 0.85


def test_a_notch_that_a_mirrored_sky_leaves_is_filled() -> None:
    drawn = front(WHITE)
    rgb = drawn.rgb.copy()
    cv2.ellipse(rgb, (256, 142), (40, 30), 0, 0, 180, (225, 226, 228), -1)
    rgb[142:147, 216:297] = 225  # up to the roof: no seal is seen there
    assert held(found(rgb, drawn.inside), drawn.glass) > 0.95


def test_small_areas_that_stand_alone_are_no_panes() -> None:
    """A quarter light has a pane beside it; a dark spot without one is none."""
    drawn = car(WHITE)
    rgb, inside = plain()
    for x in (205, 300):
        cv2.rectangle(rgb, (x, 190), (x + 20, 210), (60, 60, 60), -1)
        assert not found(rgb, inside).any()
    beside = drawn.rgb.copy()
    cv2.rectangle(beside, (176, 170), (254, 223), WHITE, -1)
    cv2.rectangle(beside, (237, 190), (259, 212), (70, 72, 74), -1)
    assert panes(beside, drawn.inside).max() == 2


def test_a_black_car_has_its_windows_found_whole() -> None:
    """Panes that reflections cut into pieces are put together: what lies between the heights of the panes found so far joins them."""
    drawn = car((24, 24, 26), glass=(90, 92, 94))
    rgb = drawn.rgb.copy()
    rgb[:, 300:372][drawn.glass[:, 300:372]] = (48, 49, 50)
    assert held(found(rgb, drawn.inside), drawn.glass) > 0.95


@pytest.mark.parametrize("hue", [110, 140, 270, 285])
def test_a_shaded_door_in_muted_paint_is_no_glass(hue: int) -> None:
    """Panes as pale as the paint in light, a door in shade right below them: what has the hue of the paint is paint."""
    drawn = car(lch(66, 18, hue), glass=lch(72, 4, hue))
    rgb = drawn.rgb.copy()
    rgb[190:270, 200:350] = lch(41, 30, hue)
    assert not found(rgb, drawn.inside)[226:267, 205:345].any()


def test_a_drawn_black_car_that_mirrors_the_street_has_its_windows_found() -> None:
    rgb, inside, truth = squared(101, "dark")
    recall, false, _ = figures(panes(rgb, inside), inside, truth)
    assert recall > 0.75 and false < 0.01


@pytest.mark.parametrize("paint", [(160, 160, 160), lch(45, 50, 250)], ids=["grey", "blue"])
def test_a_highlight_is_no_glass(paint: Colour) -> None:
    rgb, inside = plain(paint)
    highlight(rgb)
    assert not found(rgb, inside).any()


@pytest.mark.parametrize("paint", [WHITE, DARK_RED, (30, 30, 32)], ids=["white", "dark red", "black"])
def test_a_car_without_windows_has_no_pane(paint: Colour) -> None:
    assert not found(*plain(paint)).any()


def test_glass_is_looked_for_on_the_vehicle_alone() -> None:
    drawn = car(WHITE)
    without = drawn.inside & ~drawn.glass
    assert not found(drawn.rgb, without)[~without].any()


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (1, 40), (40, 1), (5, 5)], ids=str)
def test_a_vehicle_of_a_few_pixels_has_no_pane(size: tuple[int, int]) -> None:
    inside = np.zeros((128, 128), bool)
    inside[40 : 40 + size[0], 50 : 50 + size[1]] = True
    rgb = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    pane = panes(rgb, inside)
    assert pane.shape == inside.shape
    assert not pane.any()


def one_pane(around: int, palette: Palette = TONES) -> tuple[np.ndarray, np.ndarray]:
    """A ground of one label with a pane of 100 × 100 in the middle of it."""
    labels = np.full((256, 256), around, np.uint8)
    labels[:16] = len(palette)
    pane = np.zeros((256, 256), np.uint32)
    pane[78:178, 78:178] = 1
    return labels, pane


@pytest.mark.parametrize(("around", "taken"), [(BRIGHT, LIGHT), (GREY_, DIM), (DIM, BLACK), (BLACK, BLACK)])
def test_a_pane_in_the_tone_of_its_surroundings_takes_a_darker_one(around: int, taken: int) -> None:
    labels, pane = one_pane(around)
    assert (calmed(labels, pane, TONES)[pane > 0] == taken).all()


def test_a_pane_that_is_seen_keeps_its_tone() -> None:
    labels, pane = one_pane(BRIGHT)
    labels[pane > 0] = GREY_
    assert (calmed(labels, pane, TONES) == labels).all()
    labels[80:176, 68:78] = GREY_  # a pillar in the same tone goes along one side
    assert (calmed(labels, pane, TONES) == labels).all()


@pytest.mark.parametrize(
    ("size", "kept"),
    [((4, 90), False), ((30, 40), True), ((40, 100), True), ((46, 100), False)],
    ids=["a glint", "a shape", "a large shape", "half of the pane"],
)
def test_one_light_shape_stays(size: tuple[int, int], kept: bool) -> None:
    labels, pane = one_pane(RED)
    labels[pane > 0] = DIM
    labels[80 : 80 + size[0], 78 : 78 + size[1]] = BRIGHT
    labels[150:158, 100:120] = LIGHT  # a smaller one goes
    labels[168:176, 150:170] = BLACK  # as does a dark one
    calm = calmed(labels, pane, TONES)
    shape = calm == GREY_
    assert (calm[(pane > 0) & ~shape] == DIM).all()
    assert shape.any() == kept
    assert not shape[140:].any()
    if kept:
        assert shape.sum() == pytest.approx(size[0] * size[1], rel=0.02)


def test_a_light_shape_in_the_tone_of_the_surroundings_goes() -> None:
    labels, pane = one_pane(GREY_)
    labels[pane > 0] = DIM
    labels[80:120, 78:178] = BRIGHT
    assert (calmed(labels, pane, TONES)[pane > 0] == DIM).all()


def test_a_ragged_light_shape_goes() -> None:
    labels, pane = one_pane(RED)
    labels[pane > 0] = DIM
    labels[80:176, 80:90] = labels[80:90, 80:176] = labels[166:176, 80:176] = BRIGHT
    assert (calmed(labels, pane, TONES)[pane > 0] == DIM).all()


def test_panes_of_one_tone_stay_alike() -> None:
    """One in the midst of that tone, a large one elsewhere: both keep it."""
    labels, pane = one_pane(RED)
    labels[pane > 0] = GREY_
    labels[20:60, 20:60] = GREY_
    pane[32:48, 32:48] = 2
    assert (calmed(labels, pane, TONES)[pane > 0] == GREY_).all()


def test_a_hue_in_the_glass_becomes_the_tone_as_light_as_it() -> None:
    labels, pane = one_pane(BRIGHT)
    labels[pane > 0] = RED  # L* 53, as the middle grey
    assert (calmed(labels, pane, TONES)[pane > 0] == GREY_).all()


def test_a_palette_without_tones_leaves_the_labels() -> None:
    palette = parse("FF0000,00FF00,0000FF")
    labels, pane = one_pane(1, palette)
    labels[100:120, 100:130] = 2
    assert calmed(labels, pane, palette) is labels


def test_without_panes_nothing_changes() -> None:
    labels, pane = one_pane(GREY_)
    assert (calmed(labels, pane * 0, TONES) == labels).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([TONES, DEFAULT, parse("FFFFFF,FF0000"), parse("101010,0000FF,F0F0F0")])
)
def test_every_pane_comes_out_in_one_tone_or_two(seed: int, count: int, palette: Palette) -> None:
    """Whatever was graded: panes of tones, one light shape at most, and nothing else touched."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, len(palette) + 1, (16, 16)), np.ones((8, 8))).astype(np.uint8)
    pane = np.zeros((128, 128), np.uint32)
    for k in range(1, count + 1):
        x, y = rng.integers(0, 90, 2)
        pane[y : y + rng.integers(5, 38), x : x + rng.integers(5, 38)] = k
    before = labels.copy()
    calm = calmed(labels, pane, palette)
    assert (labels == before).all()
    free = (pane == 0) | (labels == len(palette))
    assert (calm[free] == labels[free]).all()
    tones = np.flatnonzero(np.hypot(*srgb_to_lab(palette.rgb).T[1:]) < GREY)
    for k in range(1, count + 1):
        here = calm[(pane == k) & ~free]
        assert np.isin(here, tones).all()
        values, number = np.unique(here, return_counts=True)
        assert len(values) <= 2
        if len(values) == 2:
            lighter = palette.rgb[values, 0].argmax()
            assert number[lighter] <= 0.45 * len(here)


def test_cells_whose_numbers_leave_gaps():
    inside, component = np.ones((100, 100), bool), np.zeros((100, 100), np.uint32)
    component[10:30, 10:40], component[10:30, 50:80] = 1, 7
    assert [part.mask.sum() for part in _candidates(component, inside)] == [600, 600]
