"""Rims and calm wheels, on a car that is drawn here: its rims found as they are, its tyres black, its spokes of one colour."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.palette import parse
from pipeline.phase2_illustrate.calm_wheels import calmed_wheels
from pipeline.phase2_illustrate.rims import Rim
from pipeline.phase2_illustrate.wheels import wheels
from pipeline.raster import mask_iou
from pipeline.values import Mask, Rgb

SIDE = 512
PALETTE = parse("000000,FFFFFF,808080,FF0000,FFA500,0000FF")
BLACK, WHITE, GREY, RED, ORANGE, BLUE, NOTHING = range(7)
GROUND, RUBBER, SILVER, BRONZE = (150, 150, 150), (22, 22, 22), (190, 190, 190), (170, 120, 60)
MIDDLES, RADIUS = (130, 385), 42
Colour = tuple[int, int, int]


def disc(x: float, rx: float, ry: float) -> Mask:
    """An ellipse on the wheels' height."""
    return cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (round(x), 335), (round(rx), round(ry)), 0, 0, 360, 1, -1) > 0


def car(
    slender: float = 1.0, share: float = 0.65, rims: tuple[Colour | None, ...] = (SILVER, SILVER), paint: Colour = (200, 200, 205)
) -> tuple[Rgb, Mask]:
    """A body on black tyres, their rims with five spokes: the picture and the vehicle. `share`: the rim's radius over the tyre's."""
    rgb, inside = np.full((SIDE, SIDE, 3), GROUND, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    cv2.rectangle(inside, (40, 190), (470, 345), 1, -1)
    cv2.rectangle(inside, (130, 130), (380, 190), 1, -1)
    rgb[inside > 0] = paint
    for x in MIDDLES:
        rgb[disc(x, slender * (RADIUS + 5), RADIUS + 5) & (inside > 0)] = 12
    for x, rim in zip(MIDDLES, rims, strict=True):
        rgb[disc(x, slender * RADIUS, RADIUS)] = RUBBER
        inside[disc(x, slender * RADIUS, RADIUS)] = 1
        if rim is not None:
            spokes(rgb, x, slender * share * RADIUS, share * RADIUS, rim)
    return cv2.GaussianBlur(rgb, (0, 0), 0.7), inside > 0


def spokes(rgb: Rgb, x: float, rx: float, ry: float, colour: Colour) -> None:
    """A rim of five spokes and its flange, in place."""
    shape = np.zeros((SIDE, SIDE), np.uint8)
    for angle in np.radians(np.arange(-90, 270, 72)):
        end = (round(x + 0.9 * rx * np.cos(angle)), round(335 + 0.9 * ry * np.sin(angle)))
        cv2.line(shape, (round(x), 335), end, 1, 7)
    rgb[disc(x, rx, ry)] = 14
    rgb[((shape > 0) | ~disc(x, 0.84 * rx, 0.84 * ry)) & disc(x, rx, ry)] = colour


def painted(inside: Mask, body: int = WHITE) -> NDArray[np.uint8]:
    """The labels of a vehicle in one colour."""
    return np.where(inside, body, NOTHING).astype(np.uint8)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.45, 1.0), st.floats(0.62, 0.8))
def test_rims_are_found_as_they_are(slender: float, share: float) -> None:
    rgb, inside = car(slender, share)
    found, rims = wheels(rgb, inside)
    assert sorted(round((one.x - MIDDLES[0]) / (MIDDLES[1] - MIDDLES[0])) for one in rims) == [0, 1]
    for one in rims:
        truth = disc(min(MIDDLES, key=lambda x: abs(x - one.x)), slender * share * RADIUS, share * RADIUS)
        got = cv2.ellipse(truth.astype(np.uint8) * 0, (round(one.x), round(one.y)), (round(one.rx), round(one.ry)), 0, 0, 360, 1, -1) > 0
        assert mask_iou(got, truth) > 0.75
        assert found[got & inside].all()


@pytest.mark.parametrize("paint", [(200, 200, 205), (60, 60, 64), (20, 20, 20), (170, 20, 25)])
def test_what_is_no_rim_is_none(paint: Colour) -> None:
    """Neither a tyre alone nor lamps in a dark bumper."""
    rgb, inside = car(rims=(None, None), paint=paint)
    cv2.rectangle(rgb, (230, 300), (330, 345), (18, 18, 18), -1)
    for x in (255, 305):
        cv2.circle(rgb, (x, 322), 9, (235, 235, 230), -1)
    assert wheels(rgb, inside)[1] == ()
    assert wheels(rgb, np.zeros_like(inside))[1] == ()


def test_a_tyre_is_black_and_a_rim_has_spokes_of_one_colour_on_black() -> None:
    rgb, inside = car()
    labels = painted(inside)
    rubber = (rgb[..., 0] < 60) & inside
    labels[rubber] = np.where((np.mgrid[:SIDE, :SIDE].sum(0) // 9 % 2)[rubber], GREY, BLACK)  # a mosaic
    out, calm = calmed_wheels(rgb, inside, labels, PALETTE, wheels(rgb, inside)[1])
    for x in MIDDLES:
        rim = disc(x, 0.65 * RADIUS, 0.65 * RADIUS)
        tyre = disc(x, 0.97 * RADIUS, 0.97 * RADIUS) & ~disc(x, 0.7 * RADIUS, 0.7 * RADIUS)
        light = (rgb[..., 0] > 130) & rim
        assert (out[tyre] == BLACK).mean() > 0.98
        assert (out[light] == WHITE).mean() > 0.9
        assert (out[(rgb[..., 0] < 40) & rim] == BLACK).mean() > 0.9
        assert set(np.unique(out[rim])) <= {BLACK, WHITE}
        assert calm[rim].mean() > 0.9
    far = ~np.any([disc(x, 1.5 * RADIUS, 1.5 * RADIUS) for x in MIDDLES], axis=0)
    assert (out[far] == labels[far]).all()
    assert not calm[far].any()
    assert (out[~inside] == NOTHING).all()


def test_all_rims_take_the_colour_of_most_and_a_caliper_keeps_its_own() -> None:
    rgb, inside = car(rims=(BRONZE, BRONZE))
    labels = painted(inside, BLUE)
    rims = wheels(rgb, inside)[1]
    for x, colour in zip(MIDDLES, (ORANGE, GREY), strict=True):
        labels[disc(x, RADIUS, RADIUS)] = BLACK
        labels[disc(x, 0.65 * RADIUS, 0.65 * RADIUS) & (rgb[..., 0] > 90)] = colour
    labels[disc(MIDDLES[0], 0.65 * RADIUS, 0.65 * RADIUS) & (labels == BLACK) & (np.arange(SIDE) < MIDDLES[0])[None]] = ORANGE
    rgb[330:342, 380:392], labels[330:342, 380:392] = (200, 20, 20), RED
    out, _ = calmed_wheels(rgb, inside, labels, PALETTE, rims)
    for x in MIDDLES:
        assert set(np.unique(out[disc(x, 0.6 * RADIUS, 0.6 * RADIUS)])) <= {BLACK, ORANGE, RED}
    assert (out[331:341, 381:391] == RED).all()


def test_a_rim_without_clear_spokes_stays() -> None:
    rgb, inside = car()
    labels = painted(inside, GREY)
    rgb[disc(MIDDLES[0], 30, 30)] = (30, 30, 30)
    out, calm = calmed_wheels(rgb, inside, labels, PALETTE, (Rim(MIDDLES[0], 335, 27, 27, 1.5, 22.0),))
    assert (out[disc(MIDDLES[0], 24, 24)] == GREY).all()
    assert not calm[disc(MIDDLES[0], 24, 24)].any()
    assert (out[disc(MIDDLES[0], 34, 34) & ~disc(MIDDLES[0], 29, 29)] == BLACK).all()


def test_without_rims_or_a_second_tone_nothing_changes() -> None:
    rgb, inside = car()
    labels = painted(inside)
    assert (calmed_wheels(rgb, inside, labels, PALETTE, ())[0] == labels).all()
    assert (calmed_wheels(rgb, inside, labels, parse("000000,FF0000"), wheels(rgb, inside)[1])[0] == labels).all()
