"""Finding the vehicle without a hint: drawn pictures with known truth, nothing to find, odd shapes, real photographs where present."""

import cv2
import numpy as np
import pytest

from bench import matte_photos
from pipeline.errors import Code, JobError
from pipeline.phase2_illustrate.locate_boxes import SIGNS, box_cues, grid, overlap
from pipeline.phase2_illustrate.locate_classical import (
    best_boxes,
    look,
    matte_without_hint,
    odds_map,
    outline_box,
    shipped_model,
)
from pipeline.phase2_illustrate.locate_confidence import confidence_cues
from pipeline.phase2_illustrate.locate_regions import cues, regions_of
from pipeline.phase2_illustrate.locate_wheels import wheels_in
from pipeline.settings import load
from pipeline.values import Frame, Mask, Rgb

UNCERTAIN_BELOW = load().phase2.matte_uncertain_below


def in_square(picture: Rgb, side: int = 512) -> tuple[Rgb, Frame]:
    frame = Frame.fit(picture.shape[1], picture.shape[0], side)
    x0, y0, x1, y1 = (round(v) for v in frame.content)
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[y0:y1, x0:x1] = cv2.resize(picture, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    return rgb, frame


def painted_van(width: int, height: int, size: float = 0.55) -> tuple[Rgb, Mask]:
    """A red van in profile on a grey street before a wall: the picture (h, w, 3) and its mask. `size` is its share of the width."""
    rng = np.random.default_rng(3)
    picture = np.full((height, width, 3), (150, 160, 170), np.uint8)
    picture[int(0.6 * height) :] = (105, 105, 108)
    picture = np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)
    w = round(min(size * width, 1.1 * height))
    h = round(0.42 * w)
    x, y = (width - w) // 2, min(round(0.45 * height), height - h - 4)
    mask = np.zeros((height, width), np.uint8)
    roof = [
        (x, y + h * 8 // 10),
        (x, y + h // 10),
        (x + w * 7 // 10, y),
        (x + w * 8 // 10, y + h * 4 // 10),
        (x + w, y + h // 2),
        (x + w, y + h * 8 // 10),
    ]
    cv2.fillPoly(mask, [np.array(roof, np.int32)], 1)
    shade = np.linspace(1.2, 0.7, height)[:, None, None]
    picture = np.where(mask[..., None] > 0, np.clip(np.array([190, 30, 35]) * shade, 0, 255), picture).astype(np.uint8)
    cv2.rectangle(picture, (x + w // 10, y + h * 15 // 100), (x + w * 6 // 10, y + h * 4 // 10), (40, 46, 52), -1)
    for cx in (x + w // 5, x + w * 8 // 10):
        center, radius = (cx, y + h * 8 // 10), round(0.2 * h)
        cv2.circle(mask, center, radius, 1, -1)
        cv2.circle(picture, center, radius, (20, 20, 22), -1)
        cv2.circle(picture, center, round(0.55 * radius), (180, 182, 186), -1)
    return picture, mask > 0


@pytest.mark.parametrize(("width", "height"), [(900, 600), (600, 800), (1600, 500)])
def test_drawn_vehicle_is_found(width: int, height: int) -> None:
    picture, mask = painted_van(width, height)
    rgb, frame = in_square(picture)
    truth = in_square(np.repeat(mask[..., None].astype(np.uint8), 3, 2))[0][..., 0] > 0
    matte = matte_without_hint(rgb, frame)
    assert matte.alpha.shape == (512, 512)
    assert matte_photos.iou(matte.inside, truth) > 0.75
    assert matte.confidence is not None
    assert 0 <= matte.confidence <= 1


def test_nothing_is_found_outside_the_photo() -> None:
    picture, _ = painted_van(1600, 500)
    rgb, frame = in_square(picture)
    rgb[: int(frame.y0)] = (255, 0, 0)  # whatever lies beside the photo in the square must not matter
    rgb[int(frame.content[3]) + 1 :] = (255, 0, 0)
    plain = matte_without_hint(in_square(picture)[0], frame)
    matte = matte_without_hint(rgb, frame)
    assert not matte.inside[: int(frame.y0)].any()
    assert matte_photos.iou(matte.inside, plain.inside) > 0.98


def test_same_answer_twice() -> None:
    rgb, frame = in_square(painted_van(900, 600)[0])
    first, second = (matte_without_hint(rgb, frame) for _ in range(2))
    assert first.alpha.tobytes() == second.alpha.tobytes()
    assert first.confidence == second.confidence


@pytest.mark.parametrize("kind", ["flat", "noise", "black", "gradient"])
@pytest.mark.parametrize("shape", [(400, 600), (600, 60)])
def test_picture_without_anything_is_doubted(kind: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(30, 220, shape[0]).astype(np.uint8)[:, None, None]
    pictures = {
        "flat": np.full((*shape, 3), 128, np.uint8),
        "noise": rng.integers(0, 255, (*shape, 3), np.uint8),
        "black": np.zeros((*shape, 3), np.uint8),
        "gradient": np.tile(ramp, (1, shape[1], 3)),
    }
    try:
        confidence = matte_without_hint(*in_square(pictures[kind])).confidence
    except JobError as error:
        assert error.code is Code.NO_VEHICLE
        assert "vehicle_box" in error.sentence
        assert "matte" in error.sentence
    else:
        assert confidence is not None
        assert confidence < UNCERTAIN_BELOW


def test_wheels_of_the_drawn_vehicle_are_the_best_two() -> None:
    picture, _ = painted_van(384, 256)
    wheels = wheels_in(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0])
    found = sorted(w.x * 384 for w in wheels[:2])
    width = round(0.55 * 384)
    left = (384 - width) // 2
    assert found == pytest.approx([left + width / 5, left + 0.8 * width], abs=4)


def test_odds_are_higher_on_the_vehicle() -> None:
    picture, mask = painted_van(900, 600)
    rgb, frame = in_square(picture, 256)
    odds = odds_map(look(rgb, frame), shipped_model().region)
    small = cv2.resize(mask.astype(np.uint8), odds.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert odds[small].mean() > odds[~small].mean() + 2


@pytest.mark.parametrize(("height", "width"), [(171, 256), (256, 171), (256, 8), (8, 256), (60, 256)])
def test_grid_lies_in_the_photo(height: int, width: int) -> None:
    boxes = grid(height, width)
    assert len(boxes) > 50
    assert (boxes[:, :2] >= -1e-6).all()
    assert (boxes[:, 2] <= width + 1e-6).all()
    assert (boxes[:, 3] <= height + 1e-6).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_best_boxes_differ_and_come_best_first() -> None:
    rgb, frame = in_square(painted_van(900, 600)[0], 256)
    boxes, scores = best_boxes(look(rgb, frame), shipped_model(), 3)
    assert list(scores) == sorted(scores, reverse=True)
    assert overlap(boxes[1:], boxes[0]).max() < 0.7


def test_cues_are_finite_for_a_single_region() -> None:
    regions = regions_of(np.full((40, 8, 3), 77, np.uint8))
    values = cues(regions)
    assert np.isfinite(values).all()
    boxes = grid(40, 8)
    table = box_cues(regions, np.zeros((40, 8), np.float32), [], boxes)
    assert table.shape == (len(boxes), len(SIGNS))
    assert np.isfinite(table).all()


def test_outline_box_ignores_an_aerial() -> None:
    mask = np.zeros((400, 400), np.bool_)
    mask[200:300, 100:300] = True
    mask[120:200, 150:152] = True
    assert outline_box(mask) == (100, 200, 300, 300)


def test_confidence_cues_of_a_clear_square() -> None:
    rgb = np.full((256, 256, 3), 200, np.uint8)
    inside = np.zeros((256, 256), np.bool_)
    inside[80:180, 0:180] = True
    rgb[inside] = (150, 10, 10)
    shown = np.ones_like(inside)
    values = confidence_cues(rgb, shown, [inside, inside], [inside], inside.astype(np.float32), 99, 0.9)
    assert values[[0, 1, 2, 4, 5]] == pytest.approx([1, 10, 1, 0.9, 1])
    assert values[3] > 10
    assert values[6] == pytest.approx(1, abs=0.03)
    assert values[7] == 1


@pytest.mark.skipif(not (matte_photos.FOLDER / "index.csv").exists(), reason="the photographs of ../shared/photos are not here")
@pytest.mark.parametrize("name", ["mclaren_front34", "evo_red_front34", "camper_side"])
def test_real_photographs(name: str) -> None:
    example = next(e for e in matte_photos.examples(512) if e.name == name)
    matte = matte_without_hint(example.rgb, example.frame)
    assert matte_photos.iou(matte.inside, example.truth) > 0.75
    assert (matte.confidence or 0) >= UNCERTAIN_BELOW
