"""Which part is the vehicle, when a second look is taken, and when there is none: with looks and verdicts that do as they are told."""

import numpy as np
import pytest

from pipeline.errors import Code, JobError
from pipeline.phase0_vehicle.search import CLOSE_UP, again, in_box, search
from tests.phase0_vehicle.scenes import BLUE, RED, Counting, bright, red_is_a_vehicle, scene


def found(outline, shape):
    """The outline as a mask of the photo."""
    x0, y0, x1, y1 = (round(v) for v in outline.grid.window)
    out = np.zeros(shape[:2], bool)
    out[y0:y1, x0:x1] = outline.alpha > 127
    return out


def fits(outline, rgb, *boxes):
    truth = np.zeros(rgb.shape[:2], bool)
    for x0, y0, x1, y1 in boxes:
        truth[y0:y1, x0:x1] = True
    mask = found(outline, rgb.shape)
    return (mask & truth).sum() / (mask | truth).sum()


CAR = (100, 120, 460, 300)


def test_one_vehicle_takes_one_look():
    look = Counting()
    rgb = scene((*CAR, RED))
    outline = search(rgb, look, red_is_a_vehicle)
    assert fits(outline, rgb, CAR) > 0.97
    assert look.shapes == [(400, 600)]
    assert outline.confidence > 0.9


def test_what_is_no_vehicle_goes_and_the_largest_vehicle_stays():
    small, gate = (20, 150, 80, 200), (480, 20, 590, 380)
    rgb = scene((*CAR, RED), (*small, RED), (*gate, BLUE))
    assert fits(search(rgb, bright, red_is_a_vehicle), rgb, CAR) > 0.97


def test_a_rival_of_nearly_its_size_is_told_as_doubt():
    rgb = scene((40, 120, 280, 300, RED), (330, 120, 560, 300, RED))
    outline = search(rgb, bright, red_is_a_vehicle)
    assert fits(outline, rgb, (40, 120, 280, 300)) > 0.97
    assert outline.confidence < 0.6
    assert in_box(rgb, (330, 120, 560, 300), bright, red_is_a_vehicle).confidence > 0.9


@pytest.mark.parametrize("things", [(), ((*CAR, BLUE),)])
def test_no_part_that_is_a_vehicle_is_no_vehicle(things):
    with pytest.raises(JobError) as refused:
        search(scene(*things), bright, red_is_a_vehicle)
    assert refused.value.code is Code.NO_VEHICLE
    assert "vehicle_box" in refused.value.sentence


def test_a_vehicle_far_away_is_looked_at_again_from_nearby():
    look = Counting()
    far = (280, 180, 340, 210)
    rgb = scene((*far, RED))
    outline = search(rgb, look, red_is_a_vehicle)
    assert fits(outline, rgb, far) > 0.9
    first, (height, width) = look.shapes
    assert first == (400, 600)
    assert abs(height - (30 + 2 * 15)) <= 6  # a quarter of its length on each side, as the first look saw it
    assert abs(width - (60 + 2 * 15)) <= 6


def test_a_vehicle_that_the_photo_cuts_is_looked_at_with_the_photo_mirrored():
    look = Counting()
    cut = (0, 120, 360, 300)
    rgb = scene((*cut, RED))
    outline = search(rgb, look, red_is_a_vehicle)
    assert fits(outline, rgb, cut) > 0.97
    (first, second) = look.shapes
    assert first == (400, 600)
    assert second[1] > 360 + 2 * 85  # a quarter of its length beyond both ends, one of them mirrored


def close_up(rgb):
    """As networks see a close-up: nothing stands out in it, but hung on a wall it does itself."""
    wall = np.abs(rgb[:4].astype(int) - rgb[:4].reshape(-1, 3).mean(0)).max() < 8
    return np.pad(np.ones((200, 200), np.float32), 28) if wall else np.zeros((256, 256), np.float32)


def test_a_close_up_is_its_frame_and_in_doubt():
    rgb = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    outline = search(rgb, close_up, lambda part: (0.9, 0.0))
    assert found(outline, rgb.shape).all()
    assert outline.confidence < 0.9


def test_nothing_outlined_is_a_close_up_only_if_it_looks_like_a_vehicle():
    rgb = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    with pytest.raises(JobError) as refused:
        search(rgb, close_up, lambda part: (CLOSE_UP - 0.1, 0.0))
    assert refused.value.code is Code.NO_VEHICLE
    assert found(search(rgb, close_up, lambda part: (0.1, CLOSE_UP)), rgb.shape).all()  # nothing but a wheel


@pytest.mark.parametrize("fills", [True, False])
def test_a_lamp_in_a_close_up_is_not_the_vehicle_and_a_vehicle_far_away_is(fills):
    """What is outlined looks less like a vehicle than the whole photo: the photo hung on a wall decides."""
    lamp = (280, 180, 340, 210)
    rgb = scene((*lamp, RED))

    def look(shown):
        framed = np.abs(shown[:4].astype(int) - shown[:4].reshape(-1, 3).mean(0)).max() < 8
        return close_up(shown) if framed and fills else bright(shown)

    def verdict(shown):
        return (0.9, 0.0) if shown.shape[:2] == (400, 600) else (0.3, 0.0)

    outline = search(rgb, look, verdict)
    assert found(outline, rgb.shape).all() == fills
    assert fits(outline, rgb, (0, 0, 600, 400) if fills else lamp) > 0.9


def test_without_a_verdict_network_the_largest_part_is_the_vehicle():
    rgb = scene((*CAR, BLUE), (520, 20, 560, 60, RED))
    assert fits(search(rgb, bright, None), rgb, CAR) > 0.97


# --- in a box ---


def test_in_a_box_two_looks_are_averaged_and_nothing_counts_far_beyond_it():
    look = Counting()
    rgb = scene((40, 120, 560, 300, RED))
    box = (60.0, 110.0, 300.0, 310.0)
    outline = in_box(rgb, box, look, red_is_a_vehicle)
    assert len(look.shapes) == 2
    mask = found(outline, rgb.shape)
    beyond = round(0.08 * 240)
    assert mask[200, 60:300].all()
    assert not mask[:, 300 + beyond + 2 :].any()


def test_in_a_box_a_verdict_never_refuses():
    rgb = scene((*CAR, BLUE))
    outline = in_box(rgb, CAR, bright, red_is_a_vehicle)
    assert fits(outline, rgb, CAR) > 0.97
    assert outline.confidence < 0.9


def test_nothing_in_a_box_is_none():
    assert in_box(scene((*CAR, RED)), (480.0, 320.0, 590.0, 390.0), bright, red_is_a_vehicle) is None


def test_a_box_beside_what_is_found_is_doubt():
    rgb = scene((*CAR, RED))
    assert in_box(rgb, (110.0, 130.0, 250.0, 190.0), bright, red_is_a_vehicle).confidence > 0.9
    assert in_box(rgb, (400.0, 250.0, 590.0, 390.0), bright, red_is_a_vehicle).confidence < 0.9


@pytest.mark.parametrize("box", [(300, 200, 300.2, 360), (0, 0, 1, 1), (599, 399, 600, 400), (0, 0, 600, 400), (100, 200, 500, 200.01)])
def test_boxes_thinner_than_a_pixel(box):
    outline = in_box(scene((*CAR, RED)), box, bright, red_is_a_vehicle)
    assert outline is None or outline.alpha.dtype == np.uint8


# --- again ---


def test_an_outline_once_more_takes_one_look_and_no_verdict():
    look = Counting()
    rgb = scene((*CAR, BLUE), size=(600, 600))
    assert fits(again(rgb, CAR, look), rgb, CAR) > 0.97
    assert look.shapes == [(600, 600)]
