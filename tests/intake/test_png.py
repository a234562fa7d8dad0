"""PNG: damaged samples are refused, missing last rows filled."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.intake.photo import decode
from tests.support.good_pictures import adam7
from tests.support.pictures import png, png_chunk, save


def speckled(width: int = 120, height: int = 200) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)


RGB = speckled()
FILE = save(Image.fromarray(RGB), "PNG")
HEAD = FILE[: FILE.index(b"IDAT") - 4]
END = png_chunk(b"IEND", b"")


def in_pieces(samples: bytes, size: int = 2000) -> list[bytes]:
    packed = zlib.compress(samples)
    return [png_chunk(b"IDAT", packed[i : i + size]) for i in range(0, len(packed), size)]


ROWS = b"".join(b"\0" + row.tobytes() for row in RGB)
PIECES = in_pieces(ROWS)


def refusal(data: bytes) -> str:
    with pytest.raises(JobError) as caught:
        decode(data)
    assert caught.value.code is Code.UNSUPPORTED_IMAGE
    return caught.value.sentence


@pytest.mark.parametrize("end", [b"", END])
def test_missing_last_rows_repeat_the_row_above(end):
    photo = decode(FILE[: -12 - 600] + end)
    assert [warning.partition(":")[0] for warning in photo.warnings] == ["PHOTO_CUT_SHORT"]
    rows = int((photo.rgb == RGB).all((1, 2)).sum())
    assert 196 <= rows < 200
    np.testing.assert_array_equal(photo.rgb[:rows], RGB[:rows])
    np.testing.assert_array_equal(photo.rgb[rows:], np.broadcast_to(RGB[rows - 1], (200 - rows, 120, 3)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("end", [b"", END])
def test_more_missing_rows_are_refused(share, end):
    assert "cut short" in refusal(FILE[: int(share * len(FILE))] + end)


def test_only_the_checksum_of_the_samples_is_missing():
    assert decode(FILE[:-12]).warnings == ()
    np.testing.assert_array_equal(decode(FILE[: -12 - 4 - 2]).rgb, RGB)


def test_an_interlaced_picture_is_cut_in_its_last_pass():
    rgb = np.repeat(speckled(120, 100), 2, axis=0)  # so that the row above is right
    data = adam7(rgb)
    photo = decode(data[: -12 - 500])
    assert photo.warnings
    assert (photo.rgb == rgb).all(-1).mean() > 0.98
    assert "cut short" in refusal(data[: int(0.7 * len(data))])


@pytest.mark.parametrize("lost", [1, 10, 20])
def test_a_piece_of_the_samples_is_lost(lost):
    assert "damaged" in refusal(HEAD + b"".join(PIECES[:lost] + PIECES[lost + 1 :]) + END)


@pytest.mark.parametrize("at", [0.2, 0.6, 0.97])
@pytest.mark.parametrize("fill", [bytes(700), np.random.default_rng(2).bytes(700)])
def test_samples_that_were_overwritten(at, fill):
    place = int(at * len(FILE)) - 700
    assert re.search("damaged|cut short", refusal(FILE[:place] + fill + FILE[place + 700 :]))


def test_a_tail_of_zeros():
    for size in (200, 2000, 30_000):
        assert re.search("damaged|cut short", refusal(FILE[:-size] + bytes(size)))


def test_a_checksum_that_alone_is_wrong_harms_nobody():
    place = FILE.index(b"IDAT") + 4 + struct.unpack(">I", FILE[FILE.index(b"IDAT") - 4 : FILE.index(b"IDAT")])[0]
    np.testing.assert_array_equal(decode(FILE[:place] + b"abcd" + FILE[place + 4 :]).rgb, RGB)


def test_line_ends_that_were_converted_are_told():
    for changed in (FILE.replace(b"\r\n", b"\n"), FILE.replace(b"\n", b"\r\n"), FILE.decode("latin1").encode()):
        assert "as if it were text" in refusal(changed)


def test_a_bomb_is_no_picture_of_missing_rows():
    assert decode(png(64, 64, 8, 2, bytes(1 << 24))).rgb.shape == (64, 64, 3)
