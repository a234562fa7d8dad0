"""JPEG: sound scans pass, damaged ones are refused, and only a missing end is drawn."""

import random
import re
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.intake.jpeg import MAX_SCANS, whole
from pipeline.intake.photo import decode
from tests.support.pictures import jpeg_of_scans, save


def busy(width: int = 400, height: int = 300) -> Image.Image:
    """Something in every block, as a photograph has."""
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 10, width // 10, 3)).astype(np.uint8)).resize((width, height))
    return Image.fromarray(np.clip(np.asarray(coarse) + rng.integers(-12, 12, (height, width, 3)), 0, 255).astype(np.uint8))


PICTURE = busy()
KINDS = {
    "sequential": {},
    "own tables": {"optimize": True},
    "4:4:4": {"subsampling": 0, "quality": 92},
    "progressive": {"progressive": True},
    "restarts by rows": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 3},
}
FILES = {name: save(PICTURE, "JPEG", **{"quality": 85, **options}) for name, options in KINDS.items()}


def judged(data: bytes) -> str:
    try:
        return "short" if whole(data, "The picture", 10**9, 60).short else "whole"
    except JobError as refusal:
        assert refusal.code is Code.UNSUPPORTED_IMAGE
        return "cut" if "cut short" in refusal.sentence else "damaged"


def scan_start(data: bytes) -> int:
    start = data.index(b"\xff\xda")
    return start + 2 + int.from_bytes(data[start + 2 : start + 4])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [600, 3000])
def test_what_is_lost_or_overwritten_in_a_scan_is_seen(kind, size):
    data, rng = FILES[kind], random.Random(size)
    answers: Counter[str] = Counter()
    for _ in range(12):
        at = rng.randrange(scan_start(data), len(data) - size - 500)
        for changed in (b"", bytes(size), rng.randbytes(size)):
            answers[judged(data[:at] + changed + data[at + size :])] += 1
    assert answers["whole"] == 0
    assert answers["short"] <= 1  # a scan may come out nearly as long by chance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ended", [b"", b"\xff\xd9", b"\xff\xd9" + bytes(3000)])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_file_that_was_cut_is_refused_whatever_its_end(kind, ended, share):
    data = FILES[kind]
    start = scan_start(data)
    assert judged(data[: start + int(share * (len(data) - start))] + ended) in ("cut", "damaged")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ended", [b"", b"\xff\xd9"])
def test_a_few_missing_bytes_are_filled_and_told(kind, ended):
    photo = decode(FILES[kind][:-18] + ended)
    assert [warning.partition(":")[0] for warning in photo.warnings] == ["PHOTO_CUT_SHORT"]
    good = np.asarray(Image.open(BytesIO(FILES[kind]))).astype(int)
    assert photo.rgb.shape == good.shape
    off = np.abs(photo.rgb - good)
    assert (off.max(-1) > 3).mean() < 0.03
    assert off[-1].mean() < 90  # the row above, not the decoder's grey


def test_what_is_missing_is_filled_with_what_lies_above():
    sky = np.zeros((160, 320, 3), np.uint8)
    sky[:] = np.linspace(20, 230, 320)[:, None]
    data = save(Image.fromarray(sky), "JPEG", quality=90, subsampling=0)
    photo = decode(data[:-10])
    assert photo.warnings
    np.testing.assert_allclose(photo.rgb, sky, atol=8)


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_end_is_that_of_the_stored_picture(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    sky = np.full((160, 320, 3), 200, np.uint8)
    data = save(Image.fromarray(sky), "JPEG", quality=90, exif=exif)
    assert (abs(decode(data[:-4]).rgb.astype(int) - 200) < 8).all()


@pytest.mark.parametrize("kind", ["sequential", "progressive", "4:4:4"])
def test_line_ends_that_were_converted(kind):
    data = FILES[kind]
    start = scan_start(data)
    for old, new in ((b"\n", b"\r\n"), (b"\r", b"\n"), (b"\n", b"")):
        assert judged(data[:start] + data[start:].replace(old, new)) in ("damaged", "cut")


@pytest.mark.parametrize("kind", ["restarts by rows", "restarts by blocks"])
def test_restarts_that_are_lost_or_out_of_order(kind):
    data = FILES[kind]
    places = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    assert judged(re.sub(rb"\xff[\xd0-\xd7]", b"", data)) in ("damaged", "cut")
    for first, second in ((0, 1), (3, 4), (5, 9)):
        one, other = places[first], places[second]
        assert judged(data[:one] + data[one + 2 :]) in ("damaged", "cut")
        assert judged(data[:one] + data[other:]) in ("damaged", "cut")
    assert judged(data[: places[2]] + data[places[10] :]) in ("damaged", "cut")  # eight of them: the numbers fit again


@settings(max_examples=60, deadline=None, derandomize=True)
@given(kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_any_change_is_judged_without_a_fault(kind, data):
    whole_file = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        whole_file[data.draw(st.integers(2, len(whole_file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole_file)))
    judged(bytes(whole_file))
    judged(bytes(whole_file[:cut]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(width=st.integers(1, 70), height=st.integers(1, 70), seed=st.integers(0, 99), data=st.data())
def test_any_sound_picture_is_whole(width, height, seed, data):
    mode = data.draw(st.sampled_from(["RGB", "L", "CMYK"]))
    bands = len(Image.new(mode, (1, 1)).getbands())
    samples = np.random.default_rng(seed).integers(0, 256, (height, width, bands)).astype(np.uint8)
    options = data.draw(
        st.fixed_dictionaries(
            {
                "quality": st.integers(1, 100),
                "progressive": st.booleans(),
                "optimize": st.booleans(),
                "subsampling": st.integers(0, 2),
                "restart_marker_blocks": st.integers(0, 9),
            }
        )
    )
    picture = Image.fromarray(samples[..., 0] if bands == 1 else samples, mode)
    file = save(picture, "JPEG", **options)
    assert judged(file) == "whole"
    assert judged(file + b"\xff\xd8\xff\xda" * 300) == "whole"
    assert whole(file + bytes(99), "The picture", 10**9, 60).data == file


def test_scans_are_counted_up_to_the_end_of_the_picture():
    many = jpeg_of_scans(96, 72, MAX_SCANS + 1)
    with pytest.raises(JobError, match="scans"):
        whole(many, "The picture", 10**9, 60)
    assert judged(FILES["progressive"] + many) == "whole"


def test_the_end_marker_of_a_thumbnail_is_not_the_pictures():
    thumbnail = save(PICTURE.resize((32, 24)), "JPEG")
    data = FILES["sequential"]
    inside = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2) + thumbnail
    assert whole(data[:2] + inside + data[2:] + b"tail", "The picture", 10**9, 60).data == data[:2] + inside + data[2:]


def test_what_is_too_large_or_not_understood_is_left_to_the_decoder():
    data = FILES["sequential"]
    assert judged(data[:-5000]) == "cut"
    assert whole(data[:-5000], "The picture", 1000, 60).data == data[:-5000]
    arithmetic = data.replace(b"\xff\xc0", b"\xff\xc9", 1)
    assert whole(arithmetic + b"tail", "The picture", 10**9, 60).data == arithmetic


def test_scans_that_take_for_ever():
    with pytest.raises(JobError, match="takes longer than 0 s"):
        whole(FILES["progressive"], "The picture", 10**9, 0)
