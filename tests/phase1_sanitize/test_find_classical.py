"""The real text detector and reader on drawn pictures and, where they are present, on photographs."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.phase1_sanitize.find_classical import FindSettings, _each_once, _legible, _plate_number, make_find
from pipeline.phase1_sanitize.inpaint_classical import inpaint
from pipeline.phase1_sanitize.mask_classical import masks
from pipeline.phase1_sanitize.plate_corners import grow_plate
from pipeline.phase1_sanitize.sanitize import SanitizeSettings, sanitize
from pipeline.progress import Progress
from pipeline.steps import Find
from pipeline.values import CleanPlate, Found, Frame, Matte, Rgb, Vehicle
from tests.phase1_sanitize.drawn import FRAME, Drawn, lettered, matte, paint, plated
from tests.support.photographs import FOLDER
from tests.support.stand_in_steps import stand_in_steps

BOTH = ("text", "license plate")


SMALL = FindSettings(plain=512, relief=768)  # drawn letters are large


@pytest.fixture(scope="module")
def find() -> Find:
    return make_find(SMALL)


@pytest.fixture(scope="module")
def found(find, scene) -> list[Found]:
    return find(scene.rgb, FRAME.content, BOTH)


@pytest.fixture(scope="module")
def scene() -> Drawn:
    """A plate, lettering on the vehicle and lettering on the wall beside it."""
    plate = plated(paint(), "KAB 4821", (400, 640), (230, 52))
    flank = lettered(plate.rgb, "TRAVELLER", (300, 400), 40, (240, 240, 240))
    wall = lettered(flank.rgb, "HOTEL", (300, 170), 40, (20, 20, 20))
    return Drawn(wall.rgb, wall.clean, plate.quad)


def read(found: list[Found]) -> dict[str, str]:
    return {"".join(c for c in one.text if c.isalnum()): one.label for one in found}


def test_plates_and_lettering_are_found(found):
    assert read(found) == {"KAB4821": "license plate", "TRAVELLER": "text", "HOTEL": "text"}


def test_a_plate_is_found_up_to_its_frame(found):
    (plate,) = (one for one in found if one.label == "license plate")
    assert np.abs(np.array(plate.box) - (400, 640, 630, 692)).max() <= 5


@pytest.mark.parametrize("room", [0.0, 0.1, 0.2], ids=str)
def test_two_lines_in_one_box_that_reaches_beyond_their_plate(room):
    rgb = np.asarray(paint()).copy()
    cv2.rectangle(rgb, (410, 600), (590, 684), (30, 30, 32), -1)
    cv2.rectangle(rgb, (414, 604), (586, 680), (230, 230, 226), -1)
    for text, y in (("L6", 638), ("NSX", 674)):
        cv2.putText(rgb, text, (500 - 13 * len(text), y), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (25, 25, 25), 4, cv2.LINE_AA)
    y0, y1 = 606 - 76 * room, 678 + 76 * room
    grown = grow_plate(rgb, np.array([[440, y0], [560, y0], [560, y1], [440, y1]], np.float32))
    assert grown is not None
    assert np.abs(grown[0] - np.array([[414, 604], [586, 604], [586, 680], [414, 680]])).max() <= 5


def test_a_plate_seen_from_an_angle_is_found_up_to_its_corners(find):
    drawn = plated(paint(), "ECM 977", (400, 600), (260, 64))
    corners = np.array([[400, 580], [540, 612], [538, 672], [402, 634]], np.float32)
    turn = cv2.getPerspectiveTransform(drawn.quad, corners)
    room = np.array([[390, 590], [670, 590], [670, 674], [390, 674]], np.float32)
    part = np.zeros((1024, 1024), np.uint8)
    cv2.fillConvexPoly(part, cv2.perspectiveTransform(room[None], turn)[0].astype(np.int32), 1)
    rgb = np.where(part[..., None] > 0, cv2.warpPerspective(drawn.rgb, turn, (1024, 1024)), paint()).astype(np.uint8)
    (plate,) = find(rgb, FRAME.content, ["license plate"])
    assert plate.label == "license plate"
    assert np.abs(plate.quad - corners).max() <= 7


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["license plate"], {"KAB4821": "license plate"}),
        (["text"], {"KAB4821": "text", "TRAVELLER": "text", "HOTEL": "text"}),
        (["side view mirror"], {}),
        ([], {}),
    ],
)
def test_only_what_is_asked_for_is_found(find, scene, labels, expected):
    assert read(find(scene.rgb, FRAME.content, labels)) == expected


@pytest.mark.parametrize("settings", [replace(SMALL, text_threshold=1.0), replace(SMALL, box_threshold=0.99)], ids=["reader", "detector"])
def test_the_thresholds_apply(settings, scene):
    assert {one.text for one in make_find(settings)(scene.rgb, FRAME.content, ["text"])} <= {""}  # rows of letters that nobody read


def test_a_blank_picture_holds_nothing(find):
    assert find(paint(), FRAME.content, BOTH) == []
    assert find(np.zeros((1024, 1024, 3), np.uint8), FRAME.content, BOTH) == []


def test_searches_do_not_depend_on_earlier_or_concurrent_ones(find, scene, found):
    with ThreadPoolExecutor(3) as pool:
        others = list(pool.map(lambda picture: find(picture, FRAME.content, BOTH), [scene.rgb, paint(), scene.rgb]))
    assert others[1] == []
    for again in (others[0], others[2]):
        assert [(one.label, one.score, one.text) for one in again] == [(one.label, one.score, one.text) for one in found]
        assert all((a.quad == b.quad).all() for a, b in zip(again, found, strict=True))


@pytest.mark.parametrize(
    ("text", "score", "legible"),
    [
        ("TAYCAN", 0.6, True),
        ("TAYCAN", 0.5, False),
        ("GT", 0.8, True),
        ("GT", 0.7, False),
        ("D", 0.99, False),
        ("---", 0.9, False),
        ("", 0, False),
    ],
)
def test_what_counts_as_read(text, score, legible):
    assert _legible(text, score, 0.55) == legible


@pytest.mark.parametrize(
    ("text", "plate"),
    [("CVSB-965", True), ("B AB 1234", True), ("370Z", False), ("TRAVELLER", False), ("Model 300", False), ("0800 123456", False)],
)
def test_what_looks_like_a_registration(text, plate):
    assert _plate_number(text) == plate


def test_loading_uses_no_network_and_writes_nothing(monkeypatch):
    import rapidocr

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    folder = Path(rapidocr.__file__).parent
    listed = sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*") if "__pycache__" not in str(p))
    make_find(SMALL)(paint(), FRAME.content, BOTH)
    assert sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*") if "__pycache__" not in str(p)) == listed


def test_importing_is_light():
    code = "import sys, pipeline.phase1_sanitize.find_classical as f; sys.exit(any(m in sys.modules for m in ('rapidocr', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_and_searching_say_nothing(capfd, scene):
    make_find(SMALL)(scene.rgb, FRAME.content, BOTH)
    assert capfd.readouterr() == ("", "")


def removed_from(rgb: Rgb, frame: Frame, vehicle: Matte, find: Find) -> CleanPlate:
    steps = stand_in_steps(finds=frozenset(BOTH), find=find, mask=masks, inpaint=inpaint)
    return sanitize(Vehicle(rgb, frame, vehicle), BOTH, steps, SanitizeSettings(), Progress())


def test_the_whole_phase_on_a_drawn_scene(find, scene):
    plate = removed_from(scene.rgb, FRAME, matte(), find)
    assert read(list(plate.removed)) == {"KAB4821": "license plate", "TRAVELLER": "text"}
    assert read(find(plate.rgb, FRAME.content, ["text"])) == {"HOTEL": "text"}
    assert (plate.rgb[:260] == scene.rgb[:260]).all()
    again = removed_from(scene.rgb, FRAME, matte(), find)
    assert (again.rgb == plate.rgb).all()


PHOTOGRAPHS = {
    "supra5_white_rear34.jpg": {"license plate": (0.709, 0.573, 0.775, 0.656), "text": (0.727, 0.541, 0.769, 0.565)},
    "mclaren_front34.jpg": {"license plate": (0.712, 0.667, 0.81, 0.743)},
}


@pytest.mark.skipif(not FOLDER.exists(), reason="the photographs of ../shared/photos are not here")
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs(name):
    find = make_find()
    photo = cv2.imread(str(FOLDER / name))[:, :, ::-1]
    outline = cv2.imread(str(FOLDER / "masks" / f"{Path(name).stem}.png"), cv2.IMREAD_GRAYSCALE)
    height, width = photo.shape[:2]
    side = max(1024, width)
    frame = Frame.fit(width, height, side)
    x0, y0, x1, y1 = (round(v) for v in frame.content)
    rgb, alpha = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    rgb[y0:y1, x0:x1] = cv2.resize(photo, (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
    alpha[y0:y1, x0:x1] = cv2.resize(outline, (x1 - x0, y1 - y0))
    plate = removed_from(rgb, frame, Matte(alpha, None), find)
    removed = [(one.label, frame.to_fractions(one.box)) for one in plate.removed]
    for label, box in PHOTOGRAPHS[name].items():
        assert any(label == other and np.abs(np.array(found) - box).max() < 0.02 for other, found in removed), removed
    x0, y0, x1, y1 = np.array(list(PHOTOGRAPHS[name].values())).T  # the province's name beside the plate's number may go too
    for _, box in removed:
        assert ((box[0] > x0 - 0.03) & (box[1] > y0 - 0.03) & (box[2] < x1 + 0.03) & (box[3] < y1 + 0.03)).any(), removed
    assert read(find(plate.rgb, frame.content, BOTH)).keys().isdisjoint(read(list(plate.removed)))


def line(text: str, score: float, x0: float, y0: float, x1: float, y1: float) -> Found:
    return Found("text", score, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32), text)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([], []),
        ([line("SUPRA", 0.9, 0, 0, 100, 20), line("SUPRA", 0.8, 2, 1, 101, 21)], ["SUPRA"]),
        ([line("MOTORS", 0.9, 0, 0, 120, 20), line("MOT", 0.95, 0, 0, 58, 20)], ["MOTORS"]),  # a piece of a line that was read whole
        ([line("AB", 0.9, 0, 0, 50, 20), line("CD", 0.9, 60, 0, 110, 20)], ["AB", "CD"]),
        ([line("TOP", 0.9, 0, 0, 100, 20), line("BELOW", 0.9, 0, 14, 100, 34)], ["BELOW", "TOP"]),  # two lines of a plate touch
    ],
    ids=["nothing", "twice", "a piece", "beside", "one above the other"],
)
def test_each_place_is_read_once(lines: list[Found], kept: list[str]):
    assert [found.text for found in _each_once(lines)] == kept
