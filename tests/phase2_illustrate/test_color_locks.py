"""Colour locks on drawings of a few areas: what takes the colour, what stays, and what is said of a lock that meets nothing."""

from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.palette import DEFAULT, Palette
from pipeline.phase2_illustrate.color_locks import locked
from pipeline.values import PARTS, ColorLock, Frame

PALETTE = Palette(DEFAULT)
SIDE = 200
FRAME = Frame.fit(SIDE, SIDE, SIDE)
BODY, GLASS, WHEEL, LAMP = (PARTS.index(name) for name in ("body", "glass", "wheel", "lamp"))
NEW = "#C8102E"


def index(color: str) -> int:
    return DEFAULT.index(color)


def hexes(rgb: np.ndarray) -> np.ndarray:
    code, place = np.unique(rgb.astype(np.int64) @ [65536, 256, 1], return_inverse=True)
    return np.array([f"#{value:06X}" for value in code])[place].reshape(rgb.shape[:2])


class Car:
    """A body of one colour with a darker and a lighter band, black trim, two panes, a wheel of a black tyre and a grey rim, a lamp."""

    def __init__(self, paint: str = "#FF0000", shade: str = "#A52A2A", light: str = "#FFFFFF", rim: str = "#808080") -> None:
        self.labels = np.full((SIDE, SIDE), len(DEFAULT), np.uint8)
        self.parts = np.zeros((SIDE, SIDE), np.uint8)
        self.areas: dict[str, tuple[slice, slice]] = {}
        self._add("paint", np.s_[40:160, 20:180], paint, BODY)
        self._add("shade", np.s_[140:160, 20:180], shade, BODY)
        self._add("light", np.s_[90:100, 30:170], light, BODY)
        self._add("trim", np.s_[120:130, 150:175], "#000000", BODY)
        self._add("pane", np.s_[50:80, 40:90], "#808080", GLASS)
        self._add("glint", np.s_[50:60, 40:60], "#FFFFFF", GLASS)
        self._add("other pane", np.s_[50:80, 100:150], "#000000", GLASS)
        self._add("tyre", np.s_[130:180, 40:90], "#000000", WHEEL)
        self._add("rim", np.s_[145:165, 55:75], rim, WHEEL)
        self._add("lamp", np.s_[100:110, 172:180], "#FFA500", LAMP)
        self.inside = self.labels < len(DEFAULT)

    def _add(self, name: str, where: tuple[slice, slice], color: str, part: int) -> None:
        self.labels[where], self.parts[where], self.areas[name] = index(color), part, where

    def locked(self, *locks: ColorLock, frame: Frame = FRAME) -> tuple[np.ndarray, tuple[str, ...]]:
        rgb = np.vstack([PALETTE.rgb, np.full((1, 3), 255, np.uint8)])[self.labels]
        out, warnings = locked(rgb, self.labels, self.inside, self.parts, frame, PALETTE, locks)
        return out, warnings

    def colors(self, *locks: ColorLock) -> dict[str, str]:
        """The most frequent colour of each area that is not covered by a later one."""
        out = hexes(self.locked(*locks)[0])
        seen = np.full((SIDE, SIDE), "", object)
        for name, where in self.areas.items():
            seen[where] = name
        return {name: Counter(out[seen == name].tolist()).most_common(1)[0][0] for name in self.areas}

    def changed(self, *locks: ColorLock) -> set[str]:
        before, after = self.colors(), self.colors(*locks)
        return {name for name in before if before[name] != after[name]}


def part(name: str, color: str = NEW) -> ColorLock:
    return ColorLock(name, None, color)


def point(x: float, y: float, color: str = NEW) -> ColorLock:
    return ColorLock(None, (x / SIDE, y / SIDE), color)


def test_a_coloured_body_changes_its_paint_alone():
    car = Car()
    assert car.changed(part("body")) == {"paint", "shade"}
    assert car.colors(part("body"))["shade"] == NEW


def test_a_colour_of_the_palette_brings_its_shade():
    colors = Car(paint="#00FFFF", shade="#008080").colors(part("body", "#FF0000"))
    assert (colors["paint"], colors["shade"]) == ("#FF0000", "#A52A2A")


def test_a_colourless_body_changes_its_tones_but_the_darkest():
    car = Car(paint="#FFFFFF", shade="#808080", light="#FFFFFF")
    assert car.changed(part("body")) == {"paint", "shade", "light"}
    colors = car.colors(part("body", "#FF0000"))
    assert (colors["paint"], colors["shade"], colors["trim"]) == ("#FF0000", "#A52A2A", "#000000")


def test_a_black_body_is_painted_too():
    car = Car(paint="#000000", shade="#000000", light="#808080")
    assert {"paint", "shade"} <= car.changed(part("body"))


def test_a_grey_body_in_a_tone_keeps_its_order():
    colors = Car(paint="#FFFFFF", shade="#808080", light="#FFFFFF").colors(part("body", "#808080"))
    assert (colors["paint"], colors["shade"]) == ("#808080", "#000000")


def test_glass_is_every_pane():
    car = Car()
    assert car.changed(part("glass")) == {"pane", "glint", "other pane"}
    colors = car.colors(part("glass", "#000000"))
    assert (colors["pane"], colors["glint"]) == ("#000000", "#808080")


def test_a_wheel_is_its_rim():
    assert Car().changed(part("wheels")) == {"rim"}


def test_a_black_rim_takes_the_colour_and_the_tyre_stays():
    car = Car(rim="#000000")
    out = hexes(car.locked(part("wheels"))[0])
    assert out[155, 65] == NEW
    assert out[133, 43] == "#000000"


def test_the_bodys_hue_within_a_wheel_is_the_bodys():
    car = Car()
    car.labels[130:140, 40:90] = index("#FF0000")
    assert hexes(car.locked(part("wheels"))[0])[135, 65] == "#FF0000"
    assert hexes(car.locked(part("body"))[0])[135, 65] == NEW


@pytest.mark.parametrize(
    ("x", "y", "want"),
    [
        (70, 70, {"pane", "glint"}),
        (120, 60, {"other pane"}),
        (65, 155, {"rim"}),
        (43, 133, {"rim"}),
        (175, 105, {"lamp"}),
        (160, 125, {"trim"}),
    ],
)
def test_a_point_is_the_area_under_it(x, y, want):
    assert Car().changed(point(x, y)) == want


def test_points_lie_over_parts_and_later_over_earlier():
    car = Car()
    locks = (point(25, 60), part("body", "#0000FF"), point(26, 61, "#00FFFF"))
    assert car.colors(*locks)["paint"] == "#00FFFF"
    assert car.colors(*locks)["shade"] == "#0000FF"


def test_a_point_is_a_fraction_of_the_photo():
    frame = Frame(SIDE, 1000, 500, 0.4, -100.0, 10.0)  # the square shows columns 250 to 750
    lock = ColorLock(None, ((65 + 100) / 400, (155 - 10) / 200), NEW)
    out, warnings = Car().locked(lock, frame=frame)
    assert hexes(out)[155, 65] == NEW
    assert warnings == ()


@pytest.mark.parametrize("lock", [point(5, 5), ColorLock(None, (1.0, 1.0), NEW)])
def test_a_point_beside_the_vehicle_is_told(lock):
    out, warnings = Car().locked(lock)
    assert (out == Car().locked()[0]).all()
    assert warnings[0].startswith("LOCK_MISSED: color_locks[0] (point ")


def test_a_part_that_is_not_there_is_told_by_its_number():
    car = Car()
    car.parts[:] = BODY
    _, warnings = car.locked(point(5, 5), part("body"), part("wheels"), part("glass"))
    assert [warning.partition(":")[2].split()[0] for warning in warnings] == [f"color_locks[{k}]" for k in (0, 2, 3)]


def test_a_point_on_a_kept_background():
    car = Car()
    car.labels[~car.inside] = index("#00FF00")
    out = hexes(car.locked(point(5, 5))[0])
    assert out[195, 195] == NEW
    assert out[45, 30] == "#FF0000"


def test_nothing_is_drawn():
    car = Car()
    car.labels[:], car.inside[:] = len(DEFAULT), False
    assert len(car.locked(part("body"), part("glass"), part("wheels"), point(60, 60))[1]) == 4


@hypothesis.settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    locks=st.lists(
        st.builds(
            lambda place, color: ColorLock(*((place, None) if isinstance(place, str) else (None, place)), color),
            st.one_of(st.sampled_from(["body", "glass", "wheels"]), st.tuples(st.floats(0, 1), st.floats(0, 1))),
            st.sampled_from(["#FF0000", "#808080", "#000000", NEW]),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_any_drawing_gets_no_other_colours_and_nothing_is_drawn_where_nothing_was(seed, locks):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, len(DEFAULT) + 1, (8, 8)), np.ones((8, 8), int)).astype(np.uint8)
    parts = np.kron(rng.integers(0, len(PARTS), (4, 4)), np.ones((16, 16), int)).astype(np.uint8)
    rgb, inside = np.vstack([PALETTE.rgb, [[255, 255, 255]]]).astype(np.uint8)[labels], labels < len(DEFAULT)
    out, _ = locked(rgb, labels, inside, parts, Frame.fit(64, 64, 64), PALETTE, locks)
    assert set(hexes(out).ravel()) <= {*DEFAULT, NEW}
    assert (out[~inside] == 255).all()
    assert (out == locked(rgb, labels, inside, parts, Frame.fit(64, 64, 64), PALETTE, locks)[0]).all()
