"""HEIC, AVIF and their relatives by their brands, and the numbers of their colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import JobError
from pipeline.intake.boxes import Nclx, has_hole, kind_of, nclx
from pipeline.intake.photo import sniff
from tests.intake.test_good_pictures import read
from tests.intake.test_jpeg import busy
from tests.support.pictures import quarters, save


def file_type(major: bytes, *compatible: bytes) -> bytes:
    body = major + bytes(4) + b"".join(compatible)
    return (8 + len(body)).to_bytes(4) + b"ftyp" + body + bytes(64)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ((b"heic", b"mif1", b"heic"), "HEIC"),
        ((b"mif1", b"mif1", b"heic"), "HEIC"),
        ((b"mif1", b"miaf", b"avif"), "AVIF"),
        ((b"avif", b"mif1", b"miaf"), "AVIF"),
        ((b"avis", b"msf1"), "AVIF"),
        ((b"mif2", b"heic"), "HEIC"),
        ((b"MiHE", b"mif1"), "HEIC"),
        ((b"avci", b"mif1"), "HEIC"),
        ((b"j2ki",), "HEIC"),
        ((b"abcd", b"mif1"), "HEIC"),
        ((b"crx ", b"isom"), "Canon CR3"),
        ((b"isom", b"iso2", b"mp41"), "a video"),
        ((b"qt  ",), "a video"),
        ((b"3gp4",), "a video"),
        ((b"M4A ",), "a video"),
        ((b"zzzz",), None),
    ],
)
def test_brands(brands, kind):
    assert kind_of(file_type(*brands)) == kind


def test_what_is_no_picture_is_told():
    for data, words in ((file_type(b"mp42"), "a video"), (file_type(b"crx "), "camera raw"), (file_type(b"zzzz"), "unknown format")):
        with pytest.raises(JobError, match=words):
            sniff(data)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_numbers_of_the_primary_picture(kind):
    data = save(Image.fromarray(quarters()), kind)
    assert nclx(data) == Nclx(1, 13)
    place = data.index(b"nclx") + 4
    assert nclx(data[:place] + b"\0\x09\0\x10" + data[place + 4 :]) == Nclx(9, 16)
    assert nclx(data[: place + 1]) is None


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_hole_in_the_samples_is_damage_and_one_elsewhere_is_none(kind):
    data = save(busy(), kind, quality=85, exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(500))
    read(data + bytes(5000))
    for place, size in ((len(data) // 2, 400), (len(data) - 3000, 2500), (len(data) // 3, 4096)):
        with pytest.raises(JobError, match="damaged"):
            read(data[:place] + bytes(size) + data[place + size :])


@given(st.binary(max_size=200))
def test_any_bytes_say_something_or_nothing(body):
    data = file_type(b"heic") + (8 + len(body)).to_bytes(4) + b"meta" + body
    assert nclx(data) is None or isinstance(nclx(data), Nclx)
    assert not has_hole(data)
    kind_of(body)
