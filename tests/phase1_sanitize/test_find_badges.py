"""Badges on drawn paint, things beside them that are none, and the photographs where they are present."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phase1_sanitize.find_badges import BADGES, badges
from pipeline.phase1_sanitize.find_classical import FINDS, make_find
from pipeline.phase1_sanitize.mask_classical import mask
from pipeline.raster import bounds
from pipeline.values import Found, Rgb
from tests.support.photographs import FOLDER, examples

WIDTH, HEIGHT = 1000, 560
PAINTS = [(200, 30, 30), (235, 235, 238), (40, 60, 160), (90, 95, 100)]


def paint(colour: tuple[int, int, int]) -> Rgb:
    """A panel lit from above, with the grain of a photograph."""
    shade = np.linspace(1.06, 0.9, HEIGHT)[:, None, None]
    grain = np.random.default_rng(1).normal(0, 1.5, (HEIGHT, WIDTH, 1))
    return np.clip(np.array(colour) * shade + grain, 0, 255).astype(np.uint8) * np.ones((1, WIDTH, 1), np.uint8)


def emblem(rgb: Rgb, x: int, y: int, radius: int) -> Rgb:
    """A dark oval with bright strokes, as emblems are."""
    out = rgb.copy()
    cv2.ellipse(out, (x, y), (radius, round(0.75 * radius)), 0, 0, 360, (25, 25, 28), -1, cv2.LINE_AA)
    for reach in (0.8, 0.35):
        cv2.ellipse(out, (x, y), (round(reach * radius), round(0.6 * radius)), 0, 0, 360, (225, 228, 230), max(2, radius // 7), cv2.LINE_AA)
    return cv2.GaussianBlur(out, (0, 0), 0.6)


def found_in(rgb: Rgb) -> list[Found]:
    return badges(rgb, (0, 0, rgb.shape[1], rgb.shape[0]), "brand badge")


@pytest.mark.parametrize("colour", PAINTS)
def test_an_emblem_on_paint_is_found_and_its_whole_box_is_masked(colour):
    (one,) = found_in(emblem(paint(colour), 420, 250, 18))
    x0, y0, x1, y1 = one.box
    assert one.label == "brand badge" and one.score > 0.5
    assert x0 <= 404 and x1 >= 436 and y0 <= 239 and y1 >= 261 and x1 - x0 < 60
    assert mask(emblem(paint(colour), 420, 250, 18), one)[round(y0) : round(y1), round(x0) : round(x1)].all()


@settings(max_examples=10, deadline=None)
@given(x=st.integers(80, 900), y=st.integers(80, 480), radius=st.integers(11, 21), scale=st.sampled_from((1.0, 1.6)))
def test_wherever_it_stands_and_however_large_the_picture_is(x, y, radius, scale):
    picture = emblem(paint(PAINTS[2]), x, y, radius)
    (one,) = found_in(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
    assert np.abs(one.quad.mean(0) / scale - (x, y)).max() < 4


def handle(rgb: Rgb) -> None:
    cv2.ellipse(rgb, (400, 250), (40, 11), -8, 0, 360, (120, 20, 20), -1, cv2.LINE_AA)
    cv2.ellipse(rgb, (400, 244), (40, 7), -8, 0, 360, (250, 160, 160), -1, cv2.LINE_AA)


def lock(rgb: Rgb) -> None:
    cv2.circle(rgb, (400, 250), 9, (150, 150, 150), -1, cv2.LINE_AA)
    cv2.circle(rgb, (400, 250), 2, (60, 60, 60), -1, cv2.LINE_AA)


def repeater(rgb: Rgb) -> None:
    cv2.rectangle(rgb, (388, 242), (412, 258), (250, 150, 20), -1)
    for x in range(390, 412, 4):
        cv2.line(rgb, (x, 243), (x, 257), (255, 200, 60), 2)


def lamp(rgb: Rgb) -> None:
    emblem_like = emblem(rgb, 400, 250, 60)
    rgb[...] = emblem_like


def gap(rgb: Rgb) -> None:
    cv2.line(rgb, (300, 60), (330, 520), (70, 10, 10), 2, cv2.LINE_AA)


def grille(rgb: Rgb) -> None:
    for y in range(200, 320, 12):
        for x in range(300, 560, 16):
            cv2.ellipse(rgb, (x, y), (6, 4), 0, 0, 360, (20, 20, 22), -1, cv2.LINE_AA)


@pytest.mark.parametrize("thing", [handle, lock, repeater, lamp, gap, grille])
def test_what_is_no_badge_stays(thing):
    rgb = paint(PAINTS[0])
    thing(rgb)
    assert found_in(rgb) == []


def test_nothing_is_found_in_nothing():
    assert found_in(paint(PAINTS[1])) == []
    assert badges(paint(PAINTS[1]), (10, 10, 12, 12), "car logo") == []


def test_the_classical_engine_finds_them_under_the_name_that_was_asked_for():
    assert set(BADGES) <= FINDS
    find, picture = make_find(), emblem(paint(PAINTS[0]), 420, 250, 18)
    region = (0, 0, WIDTH, HEIGHT)
    assert [one.label for one in find(picture, region, ("car logo",))] == ["car logo"]
    assert [one.label for one in find(picture, region, ("brand badge", "car logo"))] == ["brand badge"]
    assert find(picture, region, ("sticker",)) == []


@pytest.mark.skipif(not (FOLDER / "index.csv").exists(), reason="needs the photographs beside the project")
def test_on_the_photographs_badges_alone_are_found():
    """Two on the coupés' wing and nose, one on the blue wing, one on a wing in shade, two on a boot; no handle, lamp, lock or cap."""
    count = {}
    for it in examples(longest=1600):
        x0, y0, x1, y1 = bounds(it.truth)
        more = 0.04 * max(x1 - x0, y1 - y0)
        part = (max(0, x0 - more), max(0, y0 - more), min(it.truth.shape[1], x1 + more), min(it.truth.shape[0], y1 + more))
        middles = [one.quad.mean(0).astype(int) for one in badges(it.rgb, part, "brand badge")]
        count[it.name] = sum(bool(it.truth[y, x]) for x, y in middles)
    expected = {"gt86_cutout_front34": 2, "r34_blue_front34": 1, "z370_rear34_exif6": 1, "supra5_white_rear34": 2}
    assert {name: n for name, n in count.items() if n} == expected
