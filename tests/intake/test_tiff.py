"""TIFF trees: the full-size picture is read, camera raw refused by name."""

import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.intake import tiff
from pipeline.intake.photo import decode, sniff
from tests.intake.test_good_pictures import read
from tests.support.pictures import matrix_profile, quarters, save

FULL = quarters(640, 480)
SMALL = np.full((96, 128, 3), 99, np.uint8)
P3 = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))


def written(*pages: tuple[np.ndarray, dict[str, object]], **head: object) -> bytes:
    file = BytesIO()
    with tifffile.TiffWriter(file, **head) as writer:
        for samples, options in pages:
            writer.write(samples, **{"photometric": "rgb", **options})
    return file.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(JobError) as caught:
        read(data)
    assert caught.value.code is Code.UNSUPPORTED_IMAGE
    return caught.value.sentence


@pytest.mark.parametrize("head", [{}, {"byteorder": ">"}, {"bigtiff": True}], ids=["little", "big", "64 bits"])
@pytest.mark.parametrize(
    "pages",
    [
        [(SMALL, {"subfiletype": 1, "subifds": 1}), (FULL, {})],
        [(SMALL, {"subfiletype": 1, "subifds": 2}), (SMALL[::2, ::2].copy(), {"subfiletype": 1}), (FULL, {})],
        [(SMALL, {"subifds": 1}), (FULL, {})],
        [(SMALL, {"subfiletype": 1}), (FULL, {})],
        [(SMALL, {"subfiletype": 1}), (SMALL, {"subfiletype": 1}), (FULL, {})],
        [(SMALL, {"extratags": [(255, "H", 1, 2, True)]}), (FULL, {})],
        [(SMALL[:, ::2].copy(), {"subfiletype": 1}), (FULL, {"subfiletype": 1})],
        [(SMALL, {}), (FULL, {})],
    ],
    ids=[
        "beneath",
        "the second beneath",
        "beneath, unmarked",
        "behind",
        "the third",
        "by the old tag",
        "all reduced",
        "unmarked",
    ],
)
def test_the_full_size_page_is_read(pages, head):
    np.testing.assert_array_equal(read(written(*pages, **head)).rgb, FULL)


@pytest.mark.parametrize(
    "pages",
    [
        [(FULL, {"subifds": 1}), (SMALL, {"subfiletype": 1})],
        [(FULL, {}), (SMALL, {"subfiletype": 1}), (SMALL, {})],
        [(FULL, {}), (quarters(1280, 960)[::-1].copy(), {})],
        [(FULL, {"subfiletype": 2}), (SMALL, {"subfiletype": 2})],
    ],
    ids=["a pyramid", "thumbnails behind", "a larger page behind", "numbered pages"],
)
def test_the_first_page_stays_where_it_is_a_picture_of_its_own(pages):
    np.testing.assert_array_equal(read(written(*pages)).rgb, FULL)


def test_what_the_first_page_says_of_all_holds_for_the_full_size_page():
    first = {"subfiletype": 1, "subifds": 1, "extratags": [(274, "H", 1, 3, True)], "iccprofile": P3}
    found = read(written((SMALL, first), (np.full((480, 640, 3), (90, 160, 110), np.uint8), {})))
    assert found.orientation == 3
    assert abs(found.rgb[9, 9].astype(int) - (90, 160, 110)).max() > 15


@pytest.mark.parametrize(
    "options",
    [
        {"extratags": [(50706, "B", 4, (1, 4, 0, 0), True)]},
        {"photometric": 32803},
        {"photometric": 34892},
    ],
    ids=["DNG", "a mosaic", "linear raw"],
)
@pytest.mark.parametrize("where", ["first", "beneath", "behind"])
def test_camera_raw_is_refused_wherever_it_lies(options, where):
    mosaic = FULL[..., 0].astype(np.uint16) * 16
    samples = {32803: mosaic, 34892: FULL.astype(np.uint16) * 16}.get(options.get("photometric"), FULL)
    raw = (samples, options)
    pages = {
        "first": [raw],
        "beneath": [(FULL, {"subfiletype": 1, "subifds": 1}), raw],
        "behind": [(FULL, {}), raw],
    }[where]
    sentence = refusal(written(*pages))
    assert "camera raw" in sentence
    assert "JPEG" in sentence


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "CR2"),
        (b"II\x1a\0\0\0HEAPCCDR" + bytes(99), "CRW"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(99), "RAF"),
        (b"IIRO\x08\0\0\0" + bytes(99), "ORF"),
        (b"IIRS\x08\0\0\0" + bytes(99), "ORF"),
        (b"MMOR\0\0\0\x08" + bytes(99), "ORF"),
        (b"IIU\0\x18\0\0\0" + bytes(99), "RW2"),
        (b"FOVb\0\0\2\0" + bytes(99), "X3F"),
        (b"\0MRM\0\0\0\0" + bytes(99), "MRW"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), "CR3"),
    ],
)
def test_camera_raw_is_known_by_its_first_bytes(data, name):
    with pytest.raises(JobError, match=rf"camera raw \(.*{name}\); send the JPEG"):
        sniff(data)


def test_a_mask_is_no_picture():
    data = written((SMALL, {"subfiletype": 1}), (SMALL, {"subfiletype": 1}), (FULL, {}))
    marked = struct.pack("<HHII", 254, 4, 1, 1)
    assert data.count(marked) == 2
    np.testing.assert_array_equal(read(data.replace(marked, struct.pack("<HHII", 254, 4, 1, 4))).rgb, FULL)


def test_directories_in_a_loop_or_out_of_the_file():
    data = bytearray(written((SMALL, {"subfiletype": 1}), (FULL, {})))
    pages = list(tiff._pages(bytes(data)))
    end = pages[1].offset + 2 + 12 * int.from_bytes(data[pages[1].offset : pages[1].offset + 2], "little")
    data[end : end + 4] = (8).to_bytes(4, "little")
    np.testing.assert_array_equal(read(bytes(data)).rgb, FULL)
    data[end : end + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    np.testing.assert_array_equal(read(bytes(data)).rgb, FULL)


def test_an_alpha_that_is_used_stays():
    alpha = np.zeros((480, 640), np.uint8)
    alpha[:, :300] = 255
    for kind in ("assocalpha", "unassalpha"):
        data = written((np.dstack([FULL, alpha]), {"extrasamples": [kind]}))
        np.testing.assert_array_equal(read(data).alpha, alpha)


def test_and_through_the_child_process():
    alpha = np.zeros((480, 640), np.uint8)
    alpha[:, :300] = 255
    photo = decode(save(Image.fromarray(np.dstack([FULL, alpha])), "TIFF"))
    np.testing.assert_array_equal(photo.alpha, alpha)
