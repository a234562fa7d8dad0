"""The other kinds of scene: repeatable, with a truth that fits what is seen, told apart from each other."""

import cv2
import numpy as np
import pytest

from pipeline.sample import Scene, scene
from pipeline.sample.__main__ import boxes, jpeg
from pipeline.sample.look import KINDS

SMALL = (480, 320)
#: A seed of each kind; the pick-up's paint is blue, the livery green and yellow.
SEEDS = {"dark": 7, "livery": 2, "pickup": 5}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Scene]:
    return {kind: scene(seed, *SMALL, kind=kind) for kind, seed in SEEDS.items()}


def cut(s: Scene, box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """A box's pixels."""
    height, width = s.mask.shape
    return slice(round(box[1] * height), round(box[3] * height)), slice(round(box[0] * width), round(box[2] * width))


def lab(s: Scene) -> np.ndarray:
    """L*, a*, b* of the vehicle's pixels (n, 3)."""
    return cv2.cvtColor(s.rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[s.mask]


def of_hue(colors: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which of the colours (n, 3) are colours at all and between two hues, degrees."""
    hue = np.rad2deg(np.arctan2(colors[:, 2], colors[:, 1])) % 360
    return (np.hypot(colors[:, 1], colors[:, 2]) > 20) & (hue > low) & (hue < high)


def test_every_kind_is_tried() -> None:
    assert {"car", *SEEDS} == set(KINDS)


def test_no_other_kind() -> None:
    with pytest.raises(ValueError, match="car, dark, livery, pickup"):
        scene(1, *SMALL, kind="lorry")


@pytest.mark.parametrize("kind", SEEDS)
def test_same_seed_same_bytes(drawn: dict[str, Scene], kind: str) -> None:
    again = scene(SEEDS[kind], *SMALL, kind=kind)
    assert again.rgb.tobytes() == drawn[kind].rgb.tobytes()
    assert again.mask.tobytes() == drawn[kind].mask.tobytes()
    assert (jpeg(again), boxes(again)) == (jpeg(drawn[kind]), boxes(drawn[kind]))


@pytest.mark.parametrize("kind", SEEDS)
def test_the_mask_is_one_piece_along_edges(drawn: dict[str, Scene], kind: str) -> None:
    s = drawn[kind]
    mask = s.mask.astype(np.uint8)
    assert 0.1 < s.mask.mean() < 0.45
    assert cv2.connectedComponents(mask, connectivity=8)[0] == 2
    gray = cv2.cvtColor(s.rgb, cv2.COLOR_RGB2GRAY)
    rim = cv2.dilate(mask, np.ones((3, 3), np.uint8)) - cv2.erode(mask, np.ones((3, 3), np.uint8))
    strength = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    assert np.median(strength[rim > 0]) > 3 * np.median(strength)


@pytest.mark.parametrize(
    ("kind", "on"), [("dark", ["plate", "door"]), ("livery", ["plate", "door", "roundel"]), ("pickup", ["plate", "tailgate"])]
)
def test_boxes_lie_on_the_vehicle(drawn: dict[str, Scene], kind: str, on: list[str]) -> None:
    s = drawn[kind]
    assert [t.on for t in s.texts] == on
    assert [len(s.plates), len(s.badges), len(s.mirrors)] == ([1, 0, 1] if kind == "pickup" else [1, 1, 2])
    for box in (*s.plates, *(t.box for t in s.texts)):
        assert s.mask[cut(s, box)].mean() > 0.9  # a tilted plate does not fill its upright box
    plate, text = s.plates[0], s.texts[0].box
    assert plate[0] <= text[0] < text[2] <= plate[2]
    assert plate[1] <= text[1] < text[3] <= plate[3]


@pytest.mark.parametrize("kind", SEEDS)
def test_lettering_stands_out_in_its_box(drawn: dict[str, Scene], kind: str) -> None:
    s = drawn[kind]
    for text in s.texts:
        lightness = cv2.cvtColor(s.rgb, cv2.COLOR_RGB2GRAY)[cut(s, text.box)]
        assert np.percentile(lightness, 95) - np.percentile(lightness, 5) > 60, text


def test_the_dark_car_is_black_with_a_shape(drawn: dict[str, Scene]) -> None:
    colors = lab(drawn["dark"])
    assert drawn["dark"].paint == "black"
    assert np.median(colors[:, 0]) < 22
    assert np.median(np.hypot(colors[:, 1], colors[:, 2])) < 6
    # What the paint mirrors: a fair part of it is lighter than black, though not light.
    assert ((colors[:, 0] > 20) & (colors[:, 0] < 60)).mean() > 0.25


def test_a_livery_is_two_paints(drawn: dict[str, Scene]) -> None:
    s = drawn["livery"]
    assert (s.paint, s.second_paint) == ("dark green", "yellow")
    colors = lab(s)
    assert of_hue(colors, 130, 180).mean() > 0.15
    assert of_hue(colors, 70, 110).mean() > 0.06
    assert all(drawn[kind].second_paint is None for kind in ("dark", "pickup"))


def test_the_pickup_shows_red_and_amber_lamps_on_blue(drawn: dict[str, Scene]) -> None:
    s = drawn["pickup"]
    colors = lab(s)
    assert s.paint == "blue"
    assert of_hue(colors, 260, 310).mean() > 0.2
    assert of_hue(colors, 10, 45).sum() > 150
    assert of_hue(colors, 50, 80).sum() > 40
