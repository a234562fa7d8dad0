"""The order: the caller's own outline, his box, the detector, the search; and what is told of it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.errors import Code, JobError
from pipeline.intake.photo import GivenMatte
from pipeline.phase0_vehicle.vehicle import VehicleSettings, find_vehicle, make_matte
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.values import Found, Photo
from tests.phase0_vehicle.scenes import BLUE, RED, Counting, bright, red_is_a_vehicle, scene
from tests.support.stand_in_steps import stand_in_steps

CAR, OTHER = (100, 120, 340, 280), (400, 140, 560, 260)
RGB = scene((*CAR, RED), (*OTHER, RED))
PHOTO = Photo(RGB, None, "")
SETTINGS = VehicleSettings(small=100)
NETWORKS = stand_in_steps(look=bright, verdict=red_is_a_vehicle)
NONE = stand_in_steps()


def seen(photo=PHOTO, matte=None, box=None, steps=NETWORKS, keep=False, settings=SETTINGS):
    return find_vehicle(photo, matte, box, keep, steps, settings, Progress())


def place(vehicle):
    """Where the vehicle is, in whole pixels of the photo."""
    fractions = vehicle.frame.to_fractions(bounds(vehicle.matte.inside))
    return tuple(round(v * side) for v, side in zip(fractions, (600, 400, 600, 400), strict=True))


def near(found, wanted, slack=4):
    return all(abs(a - b) <= slack for a, b in zip(found, wanted, strict=True))


def fractions(box):
    return [box[0] / 600, box[1] / 400, box[2] / 600, box[3] / 400]


def matte_of(box):
    alpha = np.zeros((400, 600), np.uint8)
    alpha[box[1] : box[3], box[0] : box[2]] = 255
    return alpha


def codes(vehicle):
    return [warning.partition(":")[0] for warning in vehicle.warnings]


def test_the_search_finds_the_largest():
    found = seen()
    assert near(place(found), CAR)
    assert found.rgb.shape == (found.frame.size, found.frame.size, 3)
    assert found.matte.alpha.shape == found.rgb.shape[:2]
    assert codes(found) == ["MATTE_UNCERTAIN"]  # the other one is half as large


def test_a_box_chooses():
    found = seen(box=fractions(OTHER))
    assert near(place(found), OTHER)
    assert codes(found) == []


def test_a_matte_wins_over_alpha_and_box_and_no_network_is_asked():
    never = stand_in_steps(look=None)
    photo = replace(PHOTO, alpha=cv2.ellipse(np.zeros((400, 600), np.uint8), (480, 200), (60, 40), 0, 0, 360, 255, -1))
    found = seen(photo, GivenMatte(matte_of(CAR)), fractions(OTHER), never)
    assert near(place(found), CAR)
    assert found.matte.confidence is None
    assert codes(found) == []
    assert near(place(seen(photo, None, fractions(CAR), never)), (420, 160, 541, 241))


def test_a_box_wins_over_an_alpha_channel_that_is_no_cut_out():
    found = seen(replace(PHOTO, alpha=matte_of((5, 5, 595, 395))), None, fractions(OTHER))
    assert near(place(found), OTHER)
    assert codes(found) == ["ALPHA_IGNORED"]


def test_a_detector_says_where_to_look_and_the_box_which():
    def locate(rgb):
        assert rgb.shape == RGB.shape
        return [found_box(OTHER, 0.9), found_box(CAR, 0.8)]

    steps = stand_in_steps(look=bright, locate=locate)
    assert near(place(seen(steps=steps)), CAR)
    assert near(place(seen(steps=steps, box=[0.6, 0.3, 1, 0.7])), OTHER)
    none = stand_in_steps(look=bright, locate=lambda rgb: [])
    assert near(place(seen(steps=none, box=fractions(OTHER))), OTHER)
    with pytest.raises(JobError) as refused:
        seen(steps=none)
    assert refused.value.code is Code.NO_VEHICLE


def found_box(box, score):
    x0, y0, x1, y1 = box
    return Found("car", score, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32))


def test_without_networks_a_box_is_cut_by_colours_and_in_doubt():
    found = seen(box=fractions(CAR), steps=NONE)
    assert near(place(found), CAR, 8)
    assert codes(found) == ["MATTE_UNCERTAIN"]
    assert found.matte.confidence < 0.9


def test_without_networks_and_hint_the_command_that_fetches_them_is_named():
    with pytest.raises(JobError) as refused:
        seen(steps=NONE)
    assert refused.value.code is Code.MODELS_MISSING
    assert "builder fetch --embedded" in refused.value.sentence


def test_a_box_in_which_nothing_stands_out_is_cut_by_colours():
    found = seen(box=[0.02, 0.7, 0.2, 0.95])
    assert codes(found) == ["MATTE_UNCERTAIN", "VEHICLE_SMALL"]
    x0, y0, x1, y1 = place(found)
    assert 4 <= x0 < x1 <= 128
    assert 272 <= y0 < y1 <= 388


@pytest.mark.parametrize("steps", [NETWORKS, NONE], ids=["networks", "none"])
@pytest.mark.parametrize(
    "box", [[0.5, 0.5, 0.5004, 0.9], [0.1, 0.5, 0.9, 0.5001], [0, 0, 1e-9, 1e-9], [0.9999999, 0.9999999, 1, 1], [0, 0, 1, 1]]
)
def test_thin_and_whole_boxes_give_a_picture(box, steps):
    assert seen(box=box, steps=steps).matte.inside.any()


@pytest.mark.parametrize("shape", [(64, 64), (64, 3000), (3000, 64)])
def test_extreme_photos(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for steps in (NETWORKS, NONE):
        assert seen(Photo(rgb, None, ""), box=[0.1, 0.1, 0.9, 0.9], steps=steps).frame.size >= 1024


def test_a_small_vehicle_is_told_with_its_size():
    assert "240 photo pixels" in next(w for w in seen(settings=VehicleSettings(small=400)).warnings if w.startswith("VEHICLE_SMALL"))


def test_with_its_background_kept_the_square_is_the_whole_photos():
    found = seen(keep=True)
    assert found.frame.photo_width == 600
    assert (found.frame.x0, found.frame.scale) == (0, 1024 / 600)
    assert near(place(found), CAR)
    assert found.rgb[found.frame.size // 2, 5].any()


def test_a_matte_without_a_vehicle_is_no_vehicle():
    with pytest.raises(JobError) as refused:
        seen(matte=GivenMatte(np.full((400, 600), 90, np.uint8)))
    assert refused.value.code is Code.NO_VEHICLE


def test_a_cancelled_job_looks_at_nothing():
    progress = Progress()
    progress.cancelled.set()
    look = Counting()
    with pytest.raises(JobError) as ended:
        find_vehicle(PHOTO, None, None, False, stand_in_steps(look=look), SETTINGS, progress)
    assert ended.value.code is Code.CANCELLED
    assert look.shapes == []


def test_the_step_that_outlines_again():
    square = scene((100, 120, 460, 400, BLUE), size=(600, 600))
    found = make_matte(bright)(square, (100, 120, 460, 400))
    assert found.alpha.shape == (600, 600)
    assert near(bounds(found.inside), (100, 120, 460, 400))
    nothing = make_matte(bright)(scene(size=(600, 600)), (100, 120, 460, 400))
    assert not nothing.alpha.any()
    assert nothing.confidence == 0
