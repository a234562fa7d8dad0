"""The logic around the steps, with steps that do as they are told."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import Code, JobError
from pipeline.phase1_sanitize.quads import filled, ordered
from pipeline.phase1_sanitize.sanitize import ANY_LABEL, SanitizeSettings, sanitize, split
from pipeline.progress import Progress
from pipeline.values import CleanPlate, Found, Frame, Mask, Matte, Rgb, Vehicle
from tests.phase1_sanitize.drawn import FRAME, SIDE, VEHICLE, matte, paint
from tests.support.stand_in_steps import stand_in_steps

SETTINGS = SanitizeSettings()
VEHICLE_SEEN = Vehicle(paint(), FRAME, matte())


def box(x0: float, y0: float, x1: float, y1: float, label: str = "text", score: float = 0.9) -> Found:
    return Found(label, score, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32))


def whole_boxes(rgb: Rgb, found: Sequence[Found]) -> list[Mask]:
    masks = np.zeros((len(found), *rgb.shape[:2]), np.bool_)
    for mask, one in zip(masks, found, strict=True):
        x0, y0, x1, y1 = (round(v) for v in one.box)
        mask[y0:y1, x0:x1] = True
    return list(masks)


def grey(rgb: Rgb, mask: Mask) -> Rgb:
    return np.full_like(rgb, 77)


def steps(
    found: list[Found], mask: Callable = whole_boxes, inpaint: Callable = grey, finds: frozenset = frozenset({"text", "license plate"})
):
    return stand_in_steps(finds=finds, find=lambda rgb, region, labels: list(found), mask=mask, inpaint=inpaint)


def run(found: list[Found], settings: SanitizeSettings = SETTINGS, remove=("text", "license plate"), **parts) -> CleanPlate:
    return sanitize(VEHICLE_SEEN, remove, steps(found, **parts), settings, Progress())


def labels(plate: CleanPlate) -> list[str]:
    return [one.label for one in plate.removed]


INSIDE = box(300, 400, 380, 430)


def test_nothing_to_remove_skips_the_search():
    def crash(*_: object) -> list[Found]:
        raise AssertionError("searched")

    plate = sanitize(VEHICLE_SEEN, [], replace(steps([]), find=crash), SETTINGS, Progress())
    assert (plate.rgb == paint()).all()
    assert not plate.removed_mask.any()
    assert plate.removed == plate.warnings == ()


@pytest.mark.parametrize(
    ("remove", "wanted", "missing"),
    [
        (["text", "license plate"], ["text", "license plate"], []),
        (["Text", "LICENSE  Plates", "number plate", "licence plate", "Plate"], ["text", "license plate"], []),
        (["lettering", "Words", "letters"], ["text"], []),
        (["sticker", "Side View Mirror", "sticker", "text"], ["text"], ["sticker", "Side View Mirror"]),
        (["bumper"], [], ["bumper"]),
        ([], [], []),
    ],
)
def test_labels_are_matched_whatever_their_case_and_by_synonyms(remove, wanted, missing):
    assert split(remove, frozenset({"text", "license plate"})) == (wanted, missing)


def test_an_open_set_engine_takes_any_words():
    assert split(["Roof Box", "mirrors", "text"], frozenset({ANY_LABEL})) == (["roof box", "side view mirror", "text"], [])


def test_one_warning_lists_what_the_engine_cannot_find():
    plate = run([INSIDE], remove=["side view mirror", "text", "sticker"])
    assert plate.warnings == ("NOT_FOUND_BY_ENGINE: The classical engine cannot find: side view mirror, sticker.",)
    assert labels(plate) == ["text"]


def test_labels_that_nobody_asked_for_are_not_removed():
    assert run([INSIDE], remove=["license plate"]).removed == ()


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 3), (0.35, 2), (0.5, 2), (0.51, 1), (1.0, 0)])
def test_the_score_threshold_applies(threshold, count):
    found = [box(200 + 100 * i, 400, 260 + 100 * i, 430, score=score) for i, score in enumerate((0.2, 0.5, 0.95))]
    assert len(run(found, replace(SETTINGS, score_threshold=threshold)).removed) == count


@pytest.mark.parametrize(
    "spoil",
    [
        lambda mask: mask[None],
        lambda mask: mask.astype(np.uint8),
        lambda mask: mask.astype(np.uint8) * 255,
        lambda mask: mask[:-1],
    ],
    ids=["one more axis", "0 and 1", "0 and 255", "wrong size"],
)
def test_a_mask_that_breaks_its_contract_is_a_bug_and_no_success(spoil):
    with pytest.raises(RuntimeError, match="mask of 'text'"):
        run([INSIDE], mask=lambda rgb, found: [spoil(mask) for mask in whole_boxes(rgb, found)])


def test_where_the_mask_is_empty_the_whole_box_goes_and_is_told():
    plate = run([INSIDE], mask=lambda rgb, found: [np.zeros(rgb.shape[:2], bool) for _ in found])
    assert labels(plate) == ["text"]
    assert plate.removed_mask[400:430, 300:380].all()
    assert (plate.rgb[405:425, 305:375] == 77).all()
    assert plate.warnings == ("MASK_EMPTY: Painted over with the whole box, because no pixel stands out in it: text.",)


SLANTED = np.array([[300, 400], [400, 420], [398, 450], [298, 430]], np.float32)


def test_a_plates_outline_is_told_as_it_was_found():
    plate = run([Found("license plate", 0.9, SLANTED, "AB 123"), INSIDE], mask=lambda rgb, found: [_characters(rgb) for _ in found])
    assert [p.tolist() for p in plate.plates] == [SLANTED.tolist()]


def test_a_mask_of_the_whole_plate_is_its_outline():
    found = box(290, 390, 410, 460, "license plate")
    (corners,) = run([found], mask=lambda rgb, found: [filled(SLANTED, rgb.shape[:2])]).plates
    assert np.hypot(*(ordered(corners) - SLANTED).T).max() < 3


def test_characters_without_their_plate_have_no_outline():
    found = replace(box(300, 400, 380, 430, "license plate"), outlined=False)
    assert run([found]).plates == run([INSIDE]).plates == ()


def _characters(rgb: Rgb) -> Mask:
    mask = np.zeros(rgb.shape[:2], bool)
    for x in range(310, 390, 16):
        mask[418:432, x : x + 5] = True
    return mask


def test_a_box_without_a_mask_is_a_bug_and_no_success():
    with pytest.raises(RuntimeError, match="1 masks for 2 boxes"):
        run([INSIDE, box(500, 500, 560, 530)], mask=lambda rgb, found: whole_boxes(rgb, found)[:1])


@pytest.mark.parametrize("inpaint", [lambda rgb, mask: rgb[:-1], lambda rgb, mask: rgb.astype(np.float32)], ids=["size", "type"])
def test_a_picture_that_breaks_its_contract_is_a_bug(inpaint):
    with pytest.raises(RuntimeError, match="inpaint"):
        run([INSIDE], inpaint=inpaint)


def test_a_crash_of_the_detector_is_not_nothing_found():
    def crash(*_: object) -> list[Found]:
        raise MemoryError("detector")

    with pytest.raises(MemoryError, match="detector"):
        sanitize(VEHICLE_SEEN, ["text"], replace(steps([]), find=crash), SETTINGS, Progress())


def test_a_box_around_the_whole_car_is_ignored_and_told():
    plate = run([box(*VEHICLE), INSIDE])
    assert [one.box for one in plate.removed] == [INSIDE.box]
    assert plate.warnings == ("TOO_LARGE_TO_REMOVE: Ignored for being too large a part of the vehicle: text.",)
    assert (plate.rgb[260:380] == paint()[260:380]).all()


@pytest.mark.parametrize(("cap", "removed"), [(0.05, 0), (0.2, 1)])
def test_the_cap_is_a_share_of_the_vehicle(cap, removed):
    tenth = box(200, 300, 200 + 784 / 4, 300 + 540 / 2.5)
    assert len(run([tenth], replace(SETTINGS, box_size_cap=cap)).removed) == removed


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (box(20, 400, 100, 430), False),  # beside the vehicle
        (box(870, 400, 970, 430), False),  # most of it beside
        (box(840, 400, 930, 430), True),  # 71 % on it
        (box(912, 400, 952, 430), False),
        (box(870, 400, 925, 430), True),  # with the matte's tolerance
    ],
)
def test_only_what_lies_on_the_vehicle_goes(found, kept):
    assert bool(run([found]).removed) == kept


def test_what_lies_outside_the_vehicle_stays_as_it_is():
    plate = run([box(20, 400, 100, 430), INSIDE])
    assert (plate.rgb[:, :120] == paint()[:, :120]).all()


def test_only_masked_pixels_change_even_where_the_painter_changes_all():
    plate = run([INSIDE])
    assert (plate.rgb[~plate.removed_mask] == paint()[~plate.removed_mask]).all()
    assert (plate.rgb[plate.removed_mask] == 77).all()


def test_all_masks_are_painted_over_at_once():
    calls: list[int] = []

    def counted(rgb: Rgb, mask: Mask) -> Rgb:
        calls.append(int(mask.sum()))
        return rgb

    run([INSIDE, box(500, 500, 560, 530)], inpaint=counted)
    assert len(calls) == 1
    assert calls[0] >= 80 * 30 + 60 * 30


@pytest.mark.parametrize(("fraction", "radius"), [(0.0, 1), (0.002, 2), (0.01, 10)])
def test_masks_are_widened_in_proportion_to_the_picture(fraction, radius):
    rows, columns = np.nonzero(run([INSIDE], replace(SETTINGS, dilation=fraction)).removed_mask)
    assert (columns.min(), columns.max() + 1) == (300 - radius, 380 + radius)
    assert (rows.min(), rows.max() + 1) == (400 - radius, 430 + radius)


def test_nothing_outside_the_photo_is_painted():
    frame = Frame.fit(1600, 520, SIDE)  # the photo ends inside the vehicle's rows
    top, bottom = (round(v) for v in (frame.content[1], frame.content[3]))
    low = box(300, bottom - 20, 380, bottom)
    plate = sanitize(Vehicle(paint(), frame, matte()), ["text"], steps([low]), replace(SETTINGS, dilation=0.02), Progress())
    assert plate.removed
    assert not plate.removed_mask[bottom:].any()
    assert not plate.removed_mask[:top].any()


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ([box(300, 400, 400, 430, score=0.6), box(302, 401, 403, 431, score=0.8)], [("text", 0.8)]),
        ([box(300, 400, 400, 430, "license plate", 0.5), box(310, 408, 390, 424, "text", 0.9)], [("license plate", 0.5)]),
        ([box(300, 400, 400, 430, "license plate", 0.5), box(300, 434, 400, 448)], [("license plate", 0.5), ("text", 0.9)]),
        ([box(300, 400, 400, 430, "license plate", 0.5), box(250, 380, 450, 470)], [("license plate", 0.5), ("text", 0.9)]),
        ([box(300, 400, 400, 430), box(500, 400, 600, 430)], [("text", 0.9), ("text", 0.9)]),
    ],
    ids=["twice", "text on a plate", "text below a plate", "text around a plate", "two texts"],
)
def test_each_thing_counts_once(found, left):
    for order in (found, found[::-1]):
        assert [(one.label, one.score) for one in run(order).removed] == left


def test_a_cancelled_job_ends_before_the_search():
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(JobError) as error:
        sanitize(VEHICLE_SEEN, ["text"], steps([INSIDE]), SETTINGS, Progress(cancelled=cancelled))
    assert error.value.code == Code.CANCELLED


# --- what sticks out of the vehicle leaves its outline with it ---

#: A mirror: half of it on the vehicle, half beside it.
MIRROR = box(VEHICLE[0] - 60, 400, VEHICLE[0] + 60, 460, "side view mirror")


def with_mirror() -> Vehicle:
    alpha = matte().alpha.copy()
    x0, y0, x1, y1 = (round(v) for v in MIRROR.box)
    alpha[y0:y1, x0:x1] = 255
    return Vehicle(paint(), FRAME, Matte(alpha, 0.9))


def removed_mirror(outline) -> CleanPlate:
    record = replace(steps([MIRROR], finds=frozenset({"side view mirror"})), matte=outline)
    return sanitize(with_mirror(), ["side view mirror"], record, SETTINGS, Progress())


def test_a_removed_thing_that_sticks_out_leaves_the_outline():
    asked = []

    def outline(rgb: Rgb, place) -> Matte:
        asked.append((rgb, place))
        return matte()

    plate = removed_mirror(outline)
    ((rgb, place),) = asked
    assert (rgb == plate.rgb).all()
    assert place == (VEHICLE[0] - 60, VEHICLE[1], VEHICLE[2], VEHICLE[3])
    assert (plate.matte.inside == matte().inside).all()
    assert plate.matte.confidence == 0.9


def test_only_where_something_was_removed_the_second_outline_counts():
    smaller = np.zeros((SIDE, SIDE), np.uint8)
    smaller[VEHICLE[1] : VEHICLE[3], VEHICLE[0] + 20 : VEHICLE[2] - 200] = 255
    plate = removed_mirror(lambda rgb, place: Matte(smaller, 0.5))
    gone = with_mirror().matte.inside & ~plate.matte.inside
    assert gone.any()
    assert not (gone & ~plate.removed_mask).any()
    assert plate.matte.inside[VEHICLE[1] + 10, VEHICLE[2] - 100]


def test_without_a_network_the_outline_stays():
    assert (removed_mirror(None).matte.alpha == with_mirror().matte.alpha).all()


def test_what_is_removed_inside_the_vehicle_asks_for_no_second_outline():
    def outline(*_: object) -> Matte:
        raise AssertionError("asked")

    plate = sanitize(VEHICLE_SEEN, ["text"], replace(steps([INSIDE]), matte=outline), SETTINGS, Progress())
    assert (plate.matte.alpha == matte().alpha).all()
