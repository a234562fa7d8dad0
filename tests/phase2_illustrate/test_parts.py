"""Wheels, lamps and plates, on cars that are drawn here: what is found, and what is not claimed."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.palette import Palette, parse
from pipeline.phase2_illustrate.parts import amber, lamps, one_red, parts_of
from pipeline.phase2_illustrate.wheels import wheels
from pipeline.raster import mask_iou
from pipeline.values import PARTS, Mask, Rgb

SIDE = 512
PALETTE = parse("000000,FFFFFF,808080,FF0000,FF00FF,FFA500,0000FF,A52A2A")
BLACK, WHITE, GREY, RED, MAGENTA, ORANGE, BLUE, BROWN, NOTHING = range(9)


def car(middles: tuple[int, ...], half_width: int = 42, paint: int = 200) -> tuple[Rgb, Mask, Mask]:
    """A body on black tyres with grey rims: the picture, the vehicle, and its wheels."""
    rgb, body, tyres = np.full((SIDE, SIDE, 3), 150, np.uint8), np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    cv2.rectangle(body, (40, 190), (470, 345), 1, -1)
    cv2.rectangle(body, (130, 130), (380, 190), 1, -1)
    rgb[body > 0] = paint
    for x in middles:
        cv2.ellipse(tyres, (x, 335), (half_width, 42), 0, 0, 360, 1, -1)
        cv2.ellipse(rgb, (x, 335), (half_width + 5, 47), 0, 180, 360, (12, 12, 12), -1)  # the opening above it
    rgb[tyres > 0] = 22
    for x in middles:
        cv2.ellipse(rgb, (x, 335), (round(0.6 * half_width), 25), 0, 0, 360, (130, 130, 130), -1)
    return cv2.GaussianBlur(rgb, (0, 0), 0.8), (body | tyres) > 0, tyres > 0


@pytest.mark.parametrize("half_width", [42, 30, 20])
def test_wheels_are_found_from_the_side_and_at_an_angle(half_width: int) -> None:
    rgb, inside, truth = car((130, 385), half_width)
    found = wheels(rgb, inside)[0]
    assert mask_iou(found, truth) > 0.7
    assert not (found & ~inside).any()


@pytest.mark.parametrize("paint", [200, 20])
def test_a_car_without_wheels_has_none(paint: int) -> None:
    rgb, inside, _ = car((), paint=paint)
    assert not wheels(rgb, inside)[0].any()
    assert not wheels(rgb, np.zeros_like(inside))[0].any()


def labels(*areas: tuple[int, int, int, int, int]) -> tuple[NDArray[np.uint8], Mask]:
    """A white vehicle with rectangles: colour, x, y, width, height."""
    inside = np.zeros((SIDE, SIDE), bool)
    inside[100:400, 50:450] = True
    out = np.where(inside, WHITE, NOTHING).astype(np.uint8)
    for color, x, y, width, height in areas:
        out[y : y + height, x : x + width] = color
    return out, inside


NOWHERE = np.zeros((SIDE, SIDE), bool)


def test_red_and_amber_on_white_are_lamps() -> None:
    drawn, inside = labels((RED, 60, 200, 30, 20), (ORANGE, 60, 240, 20, 20), (BLUE, 200, 200, 30, 30))
    found = lamps(drawn, inside, PALETTE, NOWHERE)
    assert (found == ((drawn == RED) | (drawn == ORANGE))).all()


@pytest.mark.parametrize(
    "areas",
    [
        ((RED, 60, 120, 300, 250),),  # the paint
        ((RED, 60, 200, 3, 3),),  # a speck
        (),
    ],
    ids=["paint", "speck", "nothing"],
)
def test_these_are_no_lamps(areas: tuple[tuple[int, int, int, int, int], ...]) -> None:
    drawn, inside = labels(*areas)
    assert not lamps(drawn, inside, PALETTE, NOWHERE).any()


def test_a_caliper_inside_a_wheel_is_no_lamp() -> None:
    drawn, inside = labels((RED, 60, 200, 30, 20))
    assert not lamps(drawn, inside, PALETTE, drawn == RED).any()


def test_the_brown_of_a_lamp_is_red() -> None:
    drawn, inside = labels((BROWN, 60, 200, 30, 20), (RED, 70, 205, 10, 10))
    assert (one_red(drawn, lamps(drawn, inside, PALETTE, NOWHERE), PALETTE)[200:220, 60:90] == RED).all()


def test_the_magenta_of_a_lamp_is_red_and_that_of_other_things_stays() -> None:
    drawn, inside = labels((RED, 60, 200, 30, 20), (MAGENTA, 90, 200, 20, 20), (ORANGE, 110, 200, 10, 20), (MAGENTA, 300, 300, 40, 40))
    lamp = lamps(drawn, inside, PALETTE, NOWHERE)
    lamp[300:340, 300:340] = False
    after = one_red(drawn, lamp, PALETTE)
    assert (after[200:220, 60:110] == RED).all()
    assert (after[200:220, 110:120] == ORANGE).all()
    assert (after[300:340, 300:340] == MAGENTA).all()
    assert one_red(drawn, lamp, parse("000000,FFFFFF,FF00FF,0000FF")) is drawn


def test_of_parts_that_overlap_the_plate_wins_then_lamp_wheel_and_glass() -> None:
    inside = np.ones((5, 5), bool)
    rows = np.arange(5)[:, None] * np.ones(5, int)
    got = parts_of(inside, rows >= 1, rows >= 2, rows >= 3, [rows >= 4])
    assert [PARTS[k] for k in got[:, 0]] == ["body", "glass", "wheel", "lamp", "plate"]


def lens(colour: tuple[int, int, int], size: tuple[int, int] = (14, 10)) -> Rgb:
    """A red panel with an oval of that colour."""
    rgb = np.full((SIDE, SIDE, 3), (190, 25, 30), np.uint8)
    cv2.ellipse(rgb, (200, 250), size, 0, 0, 360, colour, -1)
    return cv2.GaussianBlur(rgb, (0, 0), 0.7)


@pytest.mark.parametrize("glass", [(245, 130, 20), (225, 110, 25), (250, 165, 40)])
def test_an_indicator_on_red_is_amber(glass: tuple[int, int, int]) -> None:
    drawn, inside = labels((RED, 50, 100, 400, 300))
    found = amber(lens(glass), inside, drawn, PALETTE, NOWHERE)
    assert found[250, 200] == ORANGE
    assert 250 < (found != drawn).sum() < 620  # the oval has 440
    assert (found[~inside] == NOTHING).all()


@pytest.mark.parametrize(
    ("glass", "size", "palette"),
    [
        ((200, 40, 30), (14, 10), PALETTE),  # red glass
        ((245, 130, 20), (2, 1), PALETTE),  # a glint
        ((245, 130, 20), (140, 100), PALETTE),  # an orange panel
        ((245, 130, 20), (14, 10), parse("000000,FFFFFF,FF0000,0000FF")),  # no such colour
    ],
)
def test_what_is_no_indicator_stays(glass: tuple[int, int, int], size: tuple[int, int], palette: Palette) -> None:
    drawn, inside = labels((RED, 50, 100, 400, 300))
    assert (amber(lens(glass, size), inside, drawn, palette, NOWHERE) == drawn).all()


def test_an_indicator_is_not_looked_for_elsewhere_or_in_nothing() -> None:
    drawn, inside = labels((RED, 50, 100, 400, 300))
    assert (amber(lens((245, 130, 20)), inside, drawn, PALETTE, ~NOWHERE) == drawn).all()
    assert (amber(lens((245, 130, 20)), NOWHERE, drawn, PALETTE, NOWHERE) == drawn).all()
