import base64
import io
import random
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.photo import decode
from tests.support.pictures import encoded

MOST = 50_000_000


def refusal(code: Code, text: str, most: int = MOST) -> str:
    with pytest.raises(JobError) as caught:
        decode_base64(text, most)
    assert caught.value.code is code, caught.value
    return caught.value.sentence


def lines_of(text: str, width: int = 76, end: str = "\n") -> str:
    return end.join(text[i : i + width] for i in range(0, len(text), width))


DATA = bytes(range(256)) + b"\xfb\xff"
PLAIN, SAFE = base64.b64encode(DATA).decode(), base64.urlsafe_b64encode(DATA).decode()

DRESSES = [
    PLAIN,
    SAFE,
    PLAIN.rstrip("="),
    lines_of(PLAIN),
    lines_of(PLAIN, end="\r\n"),
    lines_of(PLAIN, end="\n    "),
    lines_of(PLAIN, end="  \n"),
    lines_of(PLAIN, end=" "),
    lines_of(PLAIN, end="\t"),
    lines_of(PLAIN, end="\u00a0"),
    f"  {PLAIN}\r\n",
    quote(PLAIN, safe=""),
    f"data:image/jpeg;base64,{PLAIN}",
    f"data:image/jpeg;base64,{lines_of(PLAIN)}",
    f"data:image/jpeg;base64,\n{lines_of(PLAIN, end=' ')}",
    f"data:;base64,{PLAIN}",
    f"data:image/png;base64,{quote(PLAIN, safe='')}",
    quote(f"data:image/png;base64,{PLAIN}", safe=""),
]


@pytest.mark.parametrize("text", DRESSES)
def test_base64_in_every_dress(text):
    assert decode_base64(text, MOST) == DATA


TYPES = ["application/octet-stream", "null", "undefined", "*/*", "", "image/*", "text/plain", "image/heic", "image/jpeg;name=car.jpg",
         "image/jpeg; charset=utf-8", 'image/jpeg;name="a, b;c.jpg"', "Application/Octet-Stream",
         "image/svg+xml;charset=x", "image/jpg "]  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("form", ["data:{};base64,{}", "DATA:{};BASE64,{}", "data: {} ; base64 , {}", " data:{};base64,{}\n"])
def test_the_media_type_says_nothing(kind, form):
    assert decode_base64(form.format(kind, PLAIN), MOST) == DATA
    assert decode_base64(form.format(kind, SAFE), MOST) == DATA


@pytest.mark.parametrize(
    "text",
    ["", "   ", "====", " = ", "abc!", "a", "abcde", "äöü", "data:image/png,abcd", "data:image/png;base64", "data:;base64,", "QUJD=QUJD",
     "\0", "data:image/svg+xml,%3Csvg/%3E", "%", "%zz", "\ud800", "data:" + "x" * 2000 + ";base64,QUJD", "b'QUJD'"],
)  # fmt: skip
def test_wrong_base64(text):
    refusal(Code.INVALID_INPUT, text)


def test_base64_is_measured_before_it_is_decoded():
    assert decode_base64(base64.b64encode(bytes(100)).decode(), 100) == bytes(100)
    refusal(Code.INPUT_TOO_LARGE, base64.b64encode(bytes(101)).decode(), 100)
    refusal(Code.INPUT_TOO_LARGE, "!" * 1000, 100)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_is_bytes_or_a_refusal(text):
    try:
        assert isinstance(decode_base64(text, MOST), bytes)
    except JobError as refused:
        assert refused.code is Code.INVALID_INPUT


# --- a + that arrived as a blank -----------------------------------------------------------------------------------------


def photograph(seed: int, kind: str) -> bytes:
    """A small picture whose base64 holds many a +: noise."""
    noise = Image.frombytes("RGB", (96, 72), random.Random(seed).randbytes(96 * 72 * 3))
    file = io.BytesIO()
    noise.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("seed", range(8))
def test_a_plus_that_became_a_blank_is_put_back(seed, kind):
    data = photograph(seed, kind)
    text = base64.b64encode(data).decode()
    assert text.count("+") > 10
    for sent in (text, f"data:image/jpeg;base64,{text}", lines_of(text), lines_of(text, end="\r\n"), text.rstrip("="), f" {text}\n"):
        assert decode_base64(sent.replace("+", " "), MOST) == data
    assert decode(decode_base64(text.replace("+", " "), MOST)).rgb.shape == (72, 96, 3)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(min_size=60, max_size=600))
def test_a_padded_text_without_its_plusses_comes_back(data):
    """Of any data, but where the blanks happen to stand at equal distances, as in a wrapped text, or at the very ends."""
    text = base64.b64encode(data).decode()
    pieces = text.split("+")
    if len(set(map(len, pieces[:-1]))) != 1 and text.strip("+") == text:
        assert decode_base64(text.replace("+", " "), MOST) == data


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("width", [4, 60, 64, 76])
def test_blanks_that_part_a_text_are_left_out(seed, width):
    data = photograph(seed, "JPEG")
    assert decode_base64(lines_of(base64.b64encode(data).decode(), width, " "), MOST) == data


def test_blanks_by_hand_are_left_out_where_a_plus_is_left():
    data = photograph(1, "JPEG")
    text = base64.b64encode(data).decode()
    assert decode_base64(f"{text[:10]} {text[10:333]}  {text[333:]}", MOST) == data


def test_what_blanks_cannot_mend_is_said():
    text = base64.b64encode(photograph(2, "JPEG")).decode().rstrip("=").replace("+", " ")
    while len(text) % 4 != 1 or len(text.replace(" ", "")) % 4 != 1:
        text = text[1:] if text[0] != " " else text[1:] + "A"
    assert "%2B" in refusal(Code.INVALID_INPUT, text)
    assert "%2B" not in refusal(Code.INVALID_INPUT, "abc!")


def test_a_picture_of_no_known_kind_is_the_pictures_fault():
    with pytest.raises(JobError) as caught:
        decode(decode_base64(f"data:image/png;base64,{PLAIN}", MOST))
    assert caught.value.code is Code.UNSUPPORTED_IMAGE
    octets = f"data:application/octet-stream;base64,{base64.b64encode(encoded('HEIF')).decode()}"
    assert decode(decode_base64(octets, MOST)).rgb.ndim == 3
