import cv2
import numpy as np
import pytest

from pipeline.palette import parse
from pipeline.phase2_illustrate.blank_plates import areas, blank, flattened
from pipeline.phase2_illustrate.classical.draw import draw
from pipeline.phase2_illustrate.illustrate import IllustrateSettings, illustrate
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase3_enforce.upscale_classical import upscale
from pipeline.progress import Progress
from pipeline.values import CleanPlate, Frame, Matte
from tests.support.stand_in_steps import stand_in_steps

PALETTE = parse("000000,FFFFFF,808080,FF0000,FFC0CB")
BLACK, WHITE, GREY, RED = range(4)
CORNERS = np.array([[100, 100], [150, 110], [150, 126], [100, 116]], np.float32)


def ground(label):
    return np.full((256, 256), label, np.uint8), areas([CORNERS], 1.0, np.ones((256, 256), bool))


def test_areas_follow_the_drawings_size_and_keep_to_the_vehicle():
    inside = np.ones((128, 128), bool)
    inside[:, 70:] = False
    (area,) = areas([CORNERS, CORNERS * 0 + 300], 0.5, inside)
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    assert (rows[0], columns[0], columns[-1]) == (50, 50, 69)
    assert areas([CORNERS], 0.5, np.zeros((128, 128), bool)) == []


def test_a_plate_takes_the_colour_that_most_of_it_has():
    labels, plates = ground(RED)
    (area,) = plates
    labels[area] = GREY
    labels[108:114, 120:128] = BLACK
    found = blank(labels, plates, PALETTE)
    assert (found[area] == GREY).all()
    assert (found[~area] == RED).all()
    assert (labels[108:114, 120:128] == BLACK).all()  # a new picture


@pytest.mark.parametrize(("around", "shown"), [(GREY, WHITE), (BLACK, GREY), (WHITE, GREY)])
def test_a_plate_like_its_surroundings_takes_the_next_tone_and_lighter_ones_first(around, shown):
    labels, plates = ground(around)
    assert (blank(labels, plates, PALETTE)[plates[0]] == shown).all()


def test_a_palette_without_tones_has_another_colour_for_it():
    labels, plates = ground(0)
    assert (blank(labels, plates, parse("FF0000,FF8000,0000FF"))[plates[0]] == 1).all()


def test_without_plates_nothing_changes():
    labels, _ = ground(RED)
    rgb = np.zeros((256, 256, 3), np.uint8)
    assert blank(labels, [], PALETTE) is labels
    assert flattened(rgb, []) is rgb


@pytest.mark.parametrize("paint", [(236, 236, 236), (200, 30, 25), (20, 20, 22)], ids=["white", "red", "black"])
def test_a_blotched_plate_is_one_calm_area_at_every_size(paint):
    """What painting over leaves: a haze, the shadow of a frame and screws, of which grading alone makes slabs around a hole."""
    rng = np.random.default_rng(3)
    side = 512
    corners = np.array([[200, 250], [300, 262], [298, 310], [198, 298]], np.float32)
    rgb = np.full((side, side, 3), 255, np.uint8)
    inside = np.zeros((side, side), bool)
    inside[80:440, 60:460] = True
    rgb[inside] = paint
    shape = cv2.fillPoly(np.zeros((side, side), np.uint8), [corners.astype(np.int32)], 1).astype(bool)
    haze = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 9)
    rgb[shape] = np.clip(200 + 160 * haze / np.abs(haze).max(), 0, 255)[shape, None]
    rgb[285:305, 200:240][shape[285:305, 200:240]] = 15
    frame = Frame.fit(side, side, side)
    matte = Matte(np.where(inside, 255, 0).astype(np.uint8), 1.0)
    plate = CleanPlate(rgb, frame, matte, (), shape, (), (corners,))
    steps = stand_in_steps(draw=draw, upscale=upscale)
    drawn = illustrate(plate, PALETTE, IllustrateSettings(side, False, True, None), steps, Progress())
    core = cv2.erode(shape.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    rim = (cv2.dilate(shape.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0) & ~(cv2.dilate(shape.astype(np.uint8), np.ones((5, 5))) > 0)
    assert not drawn.ink[core].any()
    for size in (512, 1024, 2048):
        labels = enforce(drawn, PALETTE, size, False, upscale, EnforceSettings(), Progress()).labels
        k = size // side
        (label,) = np.unique(labels[np.kron(core, np.ones((k, k), bool))])
        assert (labels[np.kron(rim, np.ones((k, k), bool))] != label).mean() > 0.9
