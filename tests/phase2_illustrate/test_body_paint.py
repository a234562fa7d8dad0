"""Whether a drawn car is painted in a colour, and in which."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.palette import parse
from pipeline.phase2_illustrate.body_paint import FULL, LOST, Float, Paint, body_paint, family_of, full_chroma, restored, surroundings_of
from pipeline.phase2_illustrate.grade import lab_of
from tests.phase2_illustrate.drawn_car import Car, Colour, car, lch

WHITE: Colour = (236, 236, 236)
#: No surroundings.
NOTHING = np.empty((0, 3), np.float32)
SKIES = (210, 240, 270)


def paint_of(drawn: Car) -> Paint | None:
    smooth = np.asarray(cv2.bilateralFilter(drawn.rgb, 5, 35, 3), np.uint8)
    return body_paint(lab_of(smooth), drawn.inside, surroundings_of(drawn.rgb, drawn.inside))


def apart(hue: float | Float, other: float) -> float | Float:
    return abs((hue - other + 180) % 360 - 180)


@pytest.mark.parametrize("hue", range(0, 360, 30))
@pytest.mark.parametrize(("light", "chroma"), [(30, 12), (45, 20), (60, 30), (75, 30)])
def test_muted_paint_is_found_with_its_hue(light: float, chroma: float, hue: float) -> None:
    found = paint_of(car(lch(light, chroma, hue)))
    assert found is not None
    assert apart(found.hue, hue) < 5
    assert found.chroma == pytest.approx(chroma * 55 / light, rel=0.15)


@pytest.mark.parametrize("hue", sorted({*range(0, 360, 30)} - {*SKIES, 300}))
@pytest.mark.parametrize(("light", "chroma"), [(45, 12), (60, 14), (80, 16)])
def test_fainter_paint_is_found_where_its_hue_is_not_the_skys(light: float, chroma: float, hue: float) -> None:
    found = paint_of(car(lch(light, chroma, hue)))
    assert found is not None
    assert apart(found.hue, hue) < 5


@pytest.mark.parametrize("hue", SKIES)
@pytest.mark.parametrize("chroma", [5, 8, 12, 18])
def test_a_white_car_that_mirrors_the_sky_is_white(chroma: float, hue: float) -> None:
    assert paint_of(car(lch(88, chroma, hue))) is None


@pytest.mark.parametrize("hue", SKIES)
def test_a_light_blue_car_is_light_blue(hue: float) -> None:
    found = paint_of(car(lch(75, 22, hue)))
    assert found is not None and apart(found.hue, hue) < 5


def with_sky(drawn: Car, chroma: float, hue: float, lower: float) -> Car:
    """A black body whose upper half mirrors the sky, and whose lower half has `lower` of its chroma."""
    rgb, rows = drawn.rgb.copy(), np.flatnonzero(drawn.body.any(1))
    above = drawn.body & (np.arange(len(rgb)) < np.median(rows))[:, None]
    rgb[above], rgb[drawn.body & ~above] = lch(24, chroma, hue), lch(20, lower * chroma, hue)
    return Car(rgb, drawn.inside, drawn.glass, drawn.wheels, drawn.body)


@pytest.mark.parametrize("hue", SKIES)
def test_a_black_car_under_a_blue_sky_is_black_and_a_navy_one_is_blue(hue: float) -> None:
    black = car(lch(20, 1, 0))
    assert paint_of(with_sky(black, 13, hue, lower=0.55)) is None
    found = paint_of(with_sky(black, 13, hue, lower=1.0))
    assert found is not None and apart(found.hue, hue) < 8


@pytest.mark.parametrize("grey", [40, 80, 120, 160, 200, 236, 250])
def test_a_colourless_car_has_no_paint(grey: int) -> None:
    assert paint_of(car((grey, grey, grey))) is None


CASTS = [(1, 0.9, 0.75), (1, 0.85, 0.6), (0.8, 0.92, 1), (0.6, 0.8, 1), (1, 0.75, 0.9), (0.8, 1, 0.8)]


@pytest.mark.parametrize("cast", CASTS, ids=str)
@pytest.mark.parametrize("ground", [(60, 60, 60), (220, 220, 220)], ids=["dark ground", "light ground"])
@pytest.mark.parametrize("grey", [170, 236])
def test_light_on_everything_is_no_paint(grey: int, ground: Colour, cast: tuple[float, float, float]) -> None:
    assert paint_of(car((grey, grey, grey), ground=ground, cast=cast)) is None


def test_without_surroundings_that_light_would_be_paint() -> None:
    """So it is the surroundings that tell it."""
    drawn = car(WHITE, cast=(1, 0.85, 0.6))
    assert body_paint(lab_of(drawn.rgb), drawn.inside, NOTHING) is not None


@pytest.mark.parametrize("hue", [30, 80, 190])
def test_paint_in_warm_light_is_paint(hue: float) -> None:
    found = paint_of(car(lch(45, 25, hue), cast=(1, 0.9, 0.75)))
    assert found is not None
    assert apart(found.hue, hue) < 30


@pytest.mark.parametrize("hue", [30, 110, 195])
def test_paint_before_a_wall_of_its_own_hue_is_paint(hue: float) -> None:
    """Light that would make so much chroma of grey there is not."""
    found = paint_of(car(lch(45, 28, hue), ground=lch(45, 34, hue)))
    assert found is not None
    assert apart(found.hue, hue) < 5


@pytest.mark.parametrize("hue", [30, 110, 195, 285])
def test_a_second_colour_is_paint_where_it_has_enough_of_the_body(hue: float) -> None:
    second = lch(45, 32, hue)
    assert paint_of(car(WHITE, rear=second, rear_from=380)) is None
    larger = paint_of(car(WHITE, rear=second, rear_from=270))
    assert larger is not None
    assert apart(larger.hue, hue) < 5


def test_of_two_paints_it_is_the_one_that_has_more() -> None:
    for rear_from, hue in ((330, 195), (180, 40)):
        found = paint_of(car(lch(45, 30, 195), rear=lch(45, 30, 40), rear_from=rear_from))
        assert found is not None
        assert apart(found.hue, hue) < 5


def test_a_body_of_many_colours_has_no_paint() -> None:
    """Stripes in six hues, none of which has the share of a paint."""
    drawn = car(WHITE)
    rgb = drawn.rgb.copy()
    for x in range(512):
        rgb[drawn.body[:, x], x] = lch(50, 30, 60 * (x // 24 % 6))
    assert paint_of(Car(rgb, drawn.inside, drawn.glass, drawn.wheels, drawn.body)) is None


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_the_same_at_every_size(side: int) -> None:
    found = paint_of(car(lch(45, 18, 190), side=side))
    assert found is not None
    assert apart(found.hue, 190) < 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("light", [0.0, 5.0, 50.0, 100.0])
def test_nothing_to_look_at_is_no_paint(light: float) -> None:
    lab = np.zeros((64, 64, 3), np.float32)
    lab[..., 0], lab[..., 1] = light, 30
    whole, nothing = np.ones((64, 64), bool), np.zeros((64, 64), bool)
    assert body_paint(lab, nothing, lab.reshape(-1, 3)) is None
    assert body_paint(lab, nothing, NOTHING) is None
    assert (body_paint(lab, whole, NOTHING) is None) == (light != 50)


labs = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)), elements=st.floats(-90, 90, width=32))
paints = st.builds(Paint, st.floats(0, 360), st.floats(9, 120), st.floats(10, 90))


@settings(max_examples=200, deadline=None)
@given(labs, paints)
def test_restored_leaves_lightness_and_other_hues_and_takes_no_chroma(lab: Float, paint: Paint) -> None:
    after, _ = restored(lab, paint, paint.hue)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    other = apart(hue, paint.hue) > LOST + 0.1
    assert after.dtype == np.float32
    assert (after[..., 0] == lab[..., 0]).all()
    assert np.allclose(after[other], lab[other], atol=1e-4)
    assert (np.hypot(after[..., 1], after[..., 2]) >= chroma * (1 - 1e-4) - 1e-5).all()


@settings(max_examples=200, deadline=None)
@given(labs, paints)
def test_restored_turns_hues_towards_the_target_as_far_as_they_are_paint(lab: Float, paint: Paint) -> None:
    lab = lab[np.hypot(lab[..., 1], lab[..., 2]) > 1][None]
    after, share = restored(lab, paint, paint.hue)
    before, turned = (np.degrees(np.arctan2(v[..., 2], v[..., 1])) for v in (lab, after))
    one, other = ((v - paint.hue + 180) % 360 - 180 for v in (before, turned))
    assert np.allclose(other, one * (1 - share), atol=0.2)
    assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize(("chroma", "full"), [(14, 70), (35, 70), (90, 90)])
def test_restored_brings_muted_paint_to_full_chroma_and_one_hue(chroma: float, full: float) -> None:
    turn = np.radians([161, 200, 239])
    lab = np.stack([np.full(3, 55), chroma * np.cos(turn), chroma * np.sin(turn)], -1)[None].astype(np.float32)
    after, share = restored(lab, Paint(200, chroma, 55), 196)
    assert np.hypot(after[..., 1], after[..., 2])[0] == pytest.approx([full] * 3, rel=1e-3)
    assert (np.degrees(np.arctan2(after[..., 2], after[..., 1])) % 360)[0] == pytest.approx([196] * 3, abs=0.01)
    assert (share == 1).all()


def test_what_is_only_tinted_by_the_paint_stays() -> None:
    """Chrome that mirrors the body has its hue and a fifth of its chroma."""
    lab = np.array([[[55.0, 4.0, 0.0], [55.0, 20.0, 0.0]]], np.float32)
    after, share = restored(lab, Paint(0, 24, 55), 30)
    assert share[0].tolist() == [0.0, 1.0]
    assert (after[0, 0] == lab[0, 0]).all()


@pytest.mark.parametrize(
    ("hue", "target", "names"),
    [(30, 40, ("FF0000", "A52A2A")), (205, 196, ("00FFFF", "008080")), (250, 196, ("00FFFF", "008080")), (300, 306, ("0000FF",))],
)
def test_a_paint_is_drawn_in_one_family_of_the_palette(hue: float, target: float, names: tuple[str, ...]) -> None:
    palette = parse(None)
    found, family = family_of(Paint(hue, 30, 55), lab_of(palette.rgb))
    assert {color.lstrip("#") for color, own in zip(palette.colors, family, strict=True) if own} == set(names)
    assert any(abs(found - other) < 9 for other in (target,))


def test_a_palette_without_a_near_hue_has_no_family() -> None:
    found, family = family_of(Paint(200, 30, 55), lab_of(parse("FF0000,000000,FFFFFF").rgb))
    assert found == 200
    assert not family.any()


@pytest.mark.parametrize(("light", "colour"), [(75, "00FFFF"), (40, "008080")])
def test_muted_paint_has_the_chroma_of_the_colour_that_is_as_light(light: float, colour: str) -> None:
    family, (own,) = lab_of(parse("00FFFF,008080").rgb), lab_of(parse(f"{colour},000000").rgb)[:1]
    chroma = float(np.hypot(own[1], own[2])) * 55 / float(own[0])
    assert full_chroma(Paint(200, 15, light), family) == pytest.approx(chroma, abs=0.1)


def test_no_paint_gets_more_than_full_chroma() -> None:
    assert full_chroma(Paint(300, 30, 20), lab_of(parse("0000FF,000000").rgb)[:1]) == FULL
    assert full_chroma(Paint(300, 30, 20), np.empty((0, 3), np.float32)) == FULL
