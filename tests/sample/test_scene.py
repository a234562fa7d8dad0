"""The sample picture: repeatable, with a truth that fits, readable."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rapidocr import RapidOCR

from pipeline.sample import Scene, scene
from pipeline.sample.__main__ import QUALITY, boxes, jpeg

SMALL = (480, 320)


@pytest.fixture(scope="module")
def full() -> Scene:
    return scene(42)


@pytest.fixture(scope="module")
def small() -> dict[int, Scene]:
    return {seed: scene(seed, *SMALL) for seed in range(6)}


def _letters(words: str) -> str:
    return "".join(c for c in words.upper() if c.isalnum())


def _inside(inner: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    return (
        inner[0] >= outer[0]
        and inner[1] >= outer[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
        and inner[0] < inner[2]
        and inner[1] < inner[3]
    )


def test_same_seed_same_bytes(small: dict[int, Scene]) -> None:
    again = scene(3, *SMALL)
    assert jpeg(again) == jpeg(small[3])
    assert again.rgb.tobytes() == small[3].rgb.tobytes()
    assert again.mask.tobytes() == small[3].mask.tobytes()
    assert boxes(again) == boxes(small[3])


def test_seeds_differ(small: dict[int, Scene]) -> None:
    assert len({s.rgb.tobytes() for s in small.values()}) == len(small)
    assert len({s.paint for s in small.values()}) >= 3
    assert len({s.texts[0].text for s in small.values()}) == len(small)


def test_both_directions_occur(small: dict[int, Scene]) -> None:
    """The plate is on the nose: left of the car's middle in some pictures, right of it in others."""
    left = [s.plates[0][0] < (s.vehicle_box[0] + s.vehicle_box[2]) / 2 for s in small.values()]
    assert any(left)
    assert not all(left)


@pytest.mark.parametrize("seed", range(6))
def test_truth_fits(small: dict[int, Scene], seed: int) -> None:
    s = small[seed]
    assert s.rgb.shape == (SMALL[1], SMALL[0], 3)
    assert s.rgb.dtype == np.uint8
    assert s.mask.shape == (SMALL[1], SMALL[0])
    assert s.mask.dtype == bool
    rows, columns = np.flatnonzero(s.mask.any(1)), np.flatnonzero(s.mask.any(0))
    bounds = (columns[0] / SMALL[0], rows[0] / SMALL[1], (columns[-1] + 1) / SMALL[0], (rows[-1] + 1) / SMALL[1])
    assert s.vehicle_box == pytest.approx(bounds)
    assert 0.1 < s.mask.mean() < 0.4
    assert [len(b) for b in (s.plates, s.badges, s.mirrors)] == [1, 1, 2]
    assert [t.on for t in s.texts] == ["plate", "door"]
    margin = (s.vehicle_box[0] - 0.002, s.vehicle_box[1] - 0.003, s.vehicle_box[2] + 0.002, s.vehicle_box[3] + 0.003)
    for box in (*s.plates, *s.badges, *s.mirrors, *(t.box for t in s.texts)):
        assert _inside(box, margin)
    assert _inside(s.texts[0].box, s.plates[0])


@pytest.mark.parametrize("seed", range(6))
def test_mask_is_one_piece_with_its_glass(small: dict[int, Scene], seed: int) -> None:
    mask = small[seed].mask.astype(np.uint8)
    assert cv2.connectedComponents(mask, connectivity=8)[0] == 2
    # Only what one sees beside a mirror's stalk may be a hole; windows are none.
    count, _, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    holes = sorted(int(stats[k, cv2.CC_STAT_AREA]) for k in range(1, count))[:-1]
    assert sum(holes) < 0.0005 * mask.sum()


@pytest.mark.parametrize("seed", range(6))
def test_glass_is_the_upper_part_of_the_vehicle(small: dict[int, Scene], seed: int) -> None:
    s = small[seed]
    assert not (s.glass & ~s.mask).any()
    assert 0.08 < s.glass.sum() / s.mask.sum() < 0.18
    rows = np.flatnonzero(s.mask.any(1))
    assert np.flatnonzero(s.glass.any(1))[-1] < rows[0] + 0.45 * len(rows)
    for x0, y0, x1, y1 in s.mirrors:  # they stand in front of it
        assert not s.glass[round((y0 + y1) / 2 * SMALL[1]), round((x0 + x1) / 2 * SMALL[0])]


def test_truth_matches_what_is_seen(full: Scene) -> None:
    """The plate's box holds a light board with dark characters, the mask's rim runs along edges of the picture."""
    height, width = full.mask.shape
    x0, y0, x1, y1 = (round(v * k) for v, k in zip(full.plates[0], (width, height, width, height), strict=True))
    gray = cv2.cvtColor(full.rgb, cv2.COLOR_RGB2GRAY)
    board = gray[y0 + 8 : y1 - 8, x0 + 4 : x1 - 4]
    assert np.percentile(board, 80) > 130
    assert np.percentile(board, 5) < 70
    mask = full.mask.astype(np.uint8)
    rim = cv2.dilate(mask, np.ones((3, 3), np.uint8)) - cv2.erode(mask, np.ones((3, 3), np.uint8))
    strength = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    assert np.median(strength[rim > 0]) > 4 * np.median(strength)


def test_reader_reads_plate_lettering_and_sign(full: Scene) -> None:
    """From the JPEG as it would be sent, the whole picture at once."""
    picture = cv2.imdecode(np.frombuffer(jpeg(full), np.uint8), cv2.IMREAD_COLOR)
    found = RapidOCR()(picture)
    words = {_letters(t) for t in found.txts or ()}
    expected = {_letters(t.text) for t in full.texts}
    assert full.sign is not None
    assert expected | {_letters(full.sign.text)} <= words


def test_refuses_tiny_pictures() -> None:
    with pytest.raises(ValueError, match="160 x 120"):
        scene(1, 100, 80)


def test_command_writes_what_it_says(tmp_path: Path, small: dict[int, Scene]) -> None:
    out, truth = tmp_path / "a" / "car.jpg", tmp_path / "truth"
    command = [sys.executable, "-m", "pipeline.sample", str(out), "--seed", "2", "--size", f"{SMALL[0]}x{SMALL[1]}", "--truth", str(truth)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(out), str(truth / "mask.png"), str(truth / "boxes.json")]
    with Image.open(out) as picture:
        assert (picture.format, picture.size) == ("JPEG", SMALL)
    assert out.read_bytes() == jpeg(small[2])
    assert QUALITY == 85
    assert np.array_equal(np.asarray(Image.open(truth / "mask.png")) > 127, small[2].mask)
    assert json.loads((truth / "boxes.json").read_text()) == {"car.jpg": boxes(small[2])}


@pytest.mark.parametrize("wrong", [["--size", "big"], ["--size", "10x10"], ["--seed", "-1"]])
def test_command_refuses_wrong_options(tmp_path: Path, wrong: list[str]) -> None:
    out = tmp_path / "car.jpg"
    done = subprocess.run([sys.executable, "-m", "pipeline.sample", str(out), *wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not out.exists()
