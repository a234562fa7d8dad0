from dataclasses import replace

import numpy as np
import pytest

from pipeline.palette import parse
from pipeline.phase3_enforce import ciede2000
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase3_enforce.upscale_classical import upscale, upscale_labels, upscale_mask
from pipeline.progress import Progress
from pipeline.values import Frame, Illustration, Matte

PALETTE = parse("FFFFFF,000000,FF0000,0000FF")


def disc(side, radius, centre=None):
    y, x = np.mgrid[:side, :side] + 0.5
    cy, cx = centre or (side / 2, side / 2)
    return (x - cx) ** 2 + (y - cy) ** 2 < radius**2


def illustration(side=128, speck=3):
    """A white car on white with a red door, a handle and a blue background speck."""
    inside = disc(side, side * 0.4)
    rgb = np.full((side, side, 3), 255, np.uint8)
    rgb[disc(side, side * 0.2)] = PALETTE.rgb[2]
    rgb[side // 2 : side // 2 + speck, side // 2 : side // 2 + speck] = PALETTE.rgb[1]
    rgb[2:6, 2:6] = PALETTE.rgb[3]
    matte = Matte((inside * 255).astype(np.uint8), None)
    return Illustration(rgb, Frame.fit(100, 80, side), matte, np.zeros((side, side), bool), np.zeros((1, 1), np.uint8), None, None, None, 1)


def run(drawn, side=512, keep=False, **settings):
    return enforce(drawn, PALETTE, side, keep, upscale, EnforceSettings(**settings), Progress())


def test_upscaled_boundaries_are_smooth_and_in_place():
    small = disc(128, 50)
    grown = upscale_mask(small, 4.0)
    truth = disc(512, 200)
    assert np.count_nonzero(grown ^ truth) / np.count_nonzero(truth) < 0.01


@pytest.mark.parametrize("factor", [1.0, 1.5625, 2.6, 4.0])
def test_upscaling_makes_no_new_colour(factor):
    labels = np.random.default_rng(0).integers(0, 5, (128, 96)).astype(np.uint8)
    grown = upscale_labels(labels, factor)
    assert grown.shape == (round(128 * factor), round(96 * factor))
    assert set(np.unique(grown)) <= set(range(5))


def test_the_window_around_the_vehicle_changes_nothing():
    """The whole square and the vehicle's window of it give the same labels: at 512 a window is used, at 510 none can be."""
    drawn = illustration()
    windowed, whole = run(drawn, side=512), run(drawn, side=510)
    at = np.linspace(0, 0.999, 300)
    first, second = (image.labels[np.ix_(*2 * [(at * len(image.labels)).astype(int)])] for image in (windowed, whole))
    same = first == second
    assert same.mean() > 0.98


def test_a_picture_that_was_not_graded_takes_the_nearest_colours_before_it_grows():
    rgb = np.random.default_rng(1).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    told = []
    grown = upscale(rgb, 2.0, PALETTE, told.append)
    assert (grown == upscale_labels(ciede2000.label(rgb, PALETTE), 2.0)).all()
    assert told


def test_removed_background_is_nothing_and_a_white_car_keeps_its_outline():
    image = run(illustration())
    assert (image.labels[~image.inside] == len(PALETTE)).all()
    assert (image.labels[image.inside] < len(PALETTE)).all()
    assert image.labels[256, 120] == 0  # white paint near the outline is drawn, though the background is white too


def test_kept_background_ends_at_the_photo():
    image = run(illustration(), keep=True)
    x0, y0, x1, y1 = (round(v) for v in image.frame.content)
    assert (image.labels[:y0] == len(PALETTE)).all()
    assert (image.labels[y1:] == len(PALETTE)).all()
    assert (image.labels[y0:y1, x0:x1] < len(PALETTE)).all()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("width", "height"), [(100, 60), (60, 100)])
def test_nothing_is_drawn_outside_the_photo_whatever_the_matte_says(keep, width, height):
    drawn = illustration()
    image = run(replace(drawn, frame=Frame.fit(width, height, 128)), keep=keep)  # the disc is wider than the photo
    x0, y0, x1, y1 = (round(v) for v in image.frame.content)
    photo = np.zeros(image.labels.shape, bool)
    photo[y0:y1, x0:x1] = True
    assert not image.inside[~photo].any()
    assert (image.labels[~photo] == image.nothing).all()
    assert image.inside[photo].any()
    if keep:
        assert (image.labels[photo] < image.nothing).all()


def test_a_handle_survives_where_the_budget_is_spent():
    kept = run(illustration(speck=20), detail=0.05, budget=0.03)
    assert (kept.labels == 1).any()
    gone = run(illustration(speck=20), detail=0.05, budget=1.0)
    assert not (gone.labels == 1).any()
    assert 0 < gone.changed < 0.2


def test_changed_is_the_exact_share_of_the_vehicles_pixels():
    before, after = run(illustration(), detail=0.0), run(illustration(), detail=0.01)
    share = np.count_nonzero((before.labels != after.labels) & before.inside) / np.count_nonzero(before.inside)
    assert after.changed == pytest.approx(share)
    assert before.changed == 0


def test_background_specks_do_not_spend_the_vehicles_budget():
    image = run(illustration(), keep=True, detail=0.01, budget=0.03)
    assert not (image.labels == 3).any()
    assert image.changed <= 0.03
