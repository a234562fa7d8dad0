import hashlib
import os
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.intake.photo import Limits, decode, decode_matte, letterbox, placed, turned_upright
from pipeline.values import Frame, Photo
from tests.support.pictures import (
    BAD_PICTURES,
    BLUE,
    GREEN,
    GREY,
    RED,
    bmp,
    cmyk_profile,
    encoded,
    jpeg_of_scans,
    matrix_profile,
    png,
    png_chunk,
    quarters,
    save,
    tiff,
    tiff_head,
)

P3 = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP")


def corners(rgb: np.ndarray) -> list[tuple[int, ...]]:
    """The colours of the four quarters, row by row."""
    height, width = rgb.shape[:2]
    return [tuple(int(v) for v in rgb[y, x]) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def assert_quarters(rgb: np.ndarray, tolerance: int = 6) -> None:
    np.testing.assert_allclose(corners(rgb), [RED, GREEN, BLUE, GREY], atol=tolerance)


def refusal(code: Code, function, *arguments) -> str:
    with pytest.raises(JobError) as caught:
        function(*arguments)
    assert caught.value.code is code
    return caught.value.sentence


def tif(samples: np.ndarray, **options) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_accepted_format_gives_the_same_picture(kind):
    data = encoded(kind)
    photo = decode(data)
    assert photo.rgb.shape == (72, 96, 3)
    assert photo.rgb.dtype == np.uint8
    assert photo.alpha is None
    assert photo.digest == hashlib.sha256(data).hexdigest()
    assert photo.warnings == ()
    assert_quarters(photo.rgb)


TURNS = {
    1: None,
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_90",
    7: "TRANSVERSE",
    8: "ROTATE_270",
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_orientation_is_applied(kind, orientation):
    stored = Image.fromarray(quarters())
    if TURNS[orientation]:  # what a camera stores: the inverse of the turn that the viewer makes
        stored = stored.transpose(Image.Transpose[TURNS[orientation]])
    exif = Image.Exif()
    exif[274] = orientation
    stored.info["exif"] = exif.tobytes()
    options = {} if kind == "HEIF" else {"exif": exif}  # HEIF keeps it as a property of the picture, made from `info`
    photo = decode(save(stored, kind, quality=95, **options))
    assert photo.rgb.shape == (72, 96, 3)
    assert_quarters(photo.rgb, tolerance=25)


def test_an_exif_block_that_cannot_be_read_leaves_the_picture_upright():
    data = save(Image.fromarray(quarters()), "JPEG", quality=95, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 60)
    assert_quarters(decode(data).rgb)


def test_the_first_of_several_frames_or_pages_is_taken():
    for kind, options in (("PNG", {}), ("MPO", {"quality": 95}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {"quality": 95})):
        first, second = Image.fromarray(quarters()), Image.new("RGB", (96, 72))
        photo = decode(save(first, kind, save_all=True, append_images=[second], **options))
        assert photo.rgb.shape == (72, 96, 3)
        assert_quarters(photo.rgb, tolerance=12)


# --- kinds of samples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_bilevel_and_palette(kind, mode):
    image = Image.fromarray(quarters()).convert(mode, dither=Image.Dither.NONE)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(save(image, kind)).rgb, expected)


def test_16_bit_samples_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 96).round().astype(np.uint16)
    grey = np.broadcast_to(ramp, (72, 96)).copy()
    rgb = np.dstack([grey, grey[:, ::-1], grey // 2])
    swapped = rgb.astype(">u2").tobytes()
    for data, samples in (
        (png(96, 72, 16, 0, grey.astype(">u2").tobytes()), np.dstack([grey] * 3)),
        (png(96, 72, 16, 2, swapped), rgb),
        (tif(grey, photometric="minisblack"), np.dstack([grey] * 3)),
        (tif(grey, photometric="minisblack", byteorder=">", compression="zlib"), np.dstack([grey] * 3)),
        (tif(grey, photometric="miniswhite"), np.dstack([65535 - grey] * 3)),
        (tif(rgb, photometric="rgb"), rgb),
        (tif(rgb, photometric="rgb", byteorder=">"), rgb),
        (tif(rgb, photometric="rgb", bigtiff=True), rgb),
        (tif(rgb.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", compression="zlib"), rgb),
    ):
        found = decode(data)
        assert found.alpha is None
        np.testing.assert_allclose(found.rgb, samples / 257, atol=1.0)


def test_12_bit_tiff_uses_its_whole_range():
    entries = tiff_head(96, 72) | {258: (3, 1, 12), 279: (4, 1, 96 * 72 * 3 // 2)}
    body = bytes(200 - len(tiff(entries))) + b"\xff\xf0\x00" * (96 * 72 // 2)
    rgb = decode(tiff(entries, body)).rgb
    assert (rgb[:, 0::2] == 255).all()
    assert (rgb[:, 1::2] == 0).all()


def test_raw_16_bit_planes_are_refused_rather_than_misread():
    planes = np.zeros((3, 72, 96), np.uint16)
    assert "planes" in refusal(Code.UNSUPPORTED_IMAGE, decode, tif(planes, photometric="rgb", planarconfig="separate"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_profile_is_the_complement(kind):
    ink = Image.new("CMYK", (96, 72), (0, 255, 255, 0))
    np.testing.assert_allclose(decode(save(ink, kind)).rgb[36, 48], (255, 0, 0), atol=4)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind):
    ink = Image.new("CMYK", (96, 72), (255, 0, 0, 0))
    ink.paste((0, 0, 0, 0), (48, 0, 96, 72))
    photo = decode(save(ink, kind, icc_profile=cmyk_profile()))
    assert photo.warnings == ()
    np.testing.assert_allclose(photo.rgb[36, 20], (255, 0, 0), atol=14)  # the test's profile prints cyan ink red
    np.testing.assert_allclose(photo.rgb[36, 80], (255, 255, 255), atol=4)


# --- profiles --------------------------------------------------------------------------------------------------------


def p3_to_srgb(rgb: tuple[int, int, int]) -> np.ndarray:
    """By the matrices of the two spaces under D50 (ICC.1, annex F) and sRGB's curve."""
    srgb = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
    p3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
    linear = np.linalg.solve(srgb, p3 @ (np.array(rgb) / 255) ** 2.2).clip(0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_profiles_are_converted_to_srgb(kind):
    colour = (90, 160, 110)
    photo = decode(save(Image.new("RGB", (96, 72), colour), kind, icc_profile=P3, quality=95))
    expected = p3_to_srgb(colour)
    assert abs(expected - colour).max() > 20
    np.testing.assert_allclose(photo.rgb[36, 48], expected, atol=5)
    assert photo.warnings == ()


def test_grey_goes_through_a_grey_profile():
    linear = matrix_profile(1.0, b"GRAY")
    photo = decode(save(Image.new("L", (96, 72), 128), "PNG", icc_profile=linear))
    np.testing.assert_allclose(photo.rgb[36, 48], 188, atol=2)  # sRGB of linear 0.5


def test_a_profile_and_alpha_go_together():
    rgba = np.dstack([np.full((72, 96, 3), (90, 160, 110), np.uint8), np.zeros((72, 96), np.uint8)])
    rgba[10:60, 10:60, 3] = 255
    photo = decode(save(Image.fromarray(rgba, "RGBA"), "PNG", icc_profile=P3))
    np.testing.assert_allclose(photo.rgb[36, 48], p3_to_srgb((90, 160, 110)), atol=3)
    np.testing.assert_array_equal(photo.alpha, rgba[..., 3])


@pytest.mark.parametrize("profile", [b"this is no profile", P3[:150], cmyk_profile(), matrix_profile(1.0, b"GRAY")])
def test_a_profile_of_no_use_is_left_out_with_a_warning(profile):
    photo = decode(save(Image.fromarray(quarters()), "PNG", icc_profile=profile))
    assert_quarters(photo.rgb, tolerance=0)
    assert [w.split(":")[0] for w in photo.warnings] == ["PROFILE_IGNORED"]


# --- alpha -----------------------------------------------------------------------------------------------------------


def disc() -> np.ndarray:
    y, x = np.mgrid[:72, :96]
    return (255 * (np.hypot(x - 48, y - 36) < 30)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_alpha_is_kept_and_what_lies_under_it_is_white(kind):
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "HEIF": {"quality": 100}}.get(kind, {})
    photo = decode(save(Image.fromarray(np.dstack([quarters(), disc()]), "RGBA"), kind, **lossless))
    np.testing.assert_array_equal(photo.alpha > 127, disc() > 127)
    assert (photo.rgb[photo.alpha == 0] == 255).all()
    np.testing.assert_allclose(photo.rgb[30, 40], RED, atol=12)


def test_half_transparent_colours_are_left_as_they_are():
    rgba = np.dstack([quarters(), disc()])
    rgba[30:34, 30:34, 3] = 100
    photo = decode(save(Image.fromarray(rgba, "RGBA"), "PNG"))
    assert tuple(photo.rgb[31, 31]) == RED
    assert photo.alpha[31, 31] == 100


def test_grey_with_alpha_palette_with_alpha_and_colour_keys():
    grey = Image.fromarray(np.dstack([disc() // 2 + 60, disc()]), "LA")
    keyed = Image.fromarray(np.where(disc()[..., None] > 0, RED, BLUE).astype(np.uint8))
    palette = keyed.convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    index = int(np.asarray(palette)[0, 0])
    wide = np.where(disc() > 0, 40000, 1234).astype(">u2")
    for data in (
        save(grey, "PNG"),
        save(grey, "TIFF"),
        save(palette, "PNG", transparency=index),
        save(palette, "PNG", transparency=bytes(0 if i == index else 255 for i in range(2))),
        save(keyed, "PNG", transparency=BLUE),
        save(Image.fromarray(disc()), "PNG", transparency=0),
        png(96, 72, 16, 0, wide.tobytes(), png_chunk(b"tRNS", (1234).to_bytes(2, "big"))),
    ):
        np.testing.assert_array_equal(decode(data).alpha, disc())


def test_an_alpha_without_shape_counts_as_none():
    for value in (255, 200):
        rgba = np.dstack([quarters(), np.full((72, 96), value, np.uint8)])
        assert decode(save(Image.fromarray(rgba, "RGBA"), "PNG")).alpha is None


# --- refusals and limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "data", "code"), BAD_PICTURES, ids=[name for name, _, _ in BAD_PICTURES])
def test_bad_pictures_are_refused_soon(name, data, code):
    start = time.monotonic()
    sentence = refusal(code, decode, data, Limits(seconds=20))
    assert time.monotonic() - start < 18  # refused, not stopped by the clock
    assert sentence.endswith(".")
    assert "Traceback" not in sentence


def test_limits_on_bytes_pixels_and_sides():
    data = encoded("PNG")
    assert "50" in refusal(Code.INPUT_TOO_LARGE, decode, data, Limits(bytes=50))
    assert "96 × 72" in refusal(Code.INPUT_TOO_LARGE, decode, data, Limits(pixels=96 * 72 - 1))
    assert "96 × 72" in refusal(Code.INPUT_TOO_LARGE, decode, data, Limits(side=95))
    assert_quarters(decode(data, Limits(bytes=len(data), pixels=96 * 72, side=96)).rgb)


def test_the_time_limit_holds_for_what_only_a_kill_can_stop():
    slow = jpeg_of_scans(6000, 6000, 90)
    start = time.monotonic()
    assert "0.3 s" in refusal(Code.UNSUPPORTED_IMAGE, decode, slow, Limits(seconds=0.3))
    assert time.monotonic() - start < 6


def test_a_bomb_costs_no_memory():
    program = """
import resource
from pipeline.errors import JobError
from pipeline.intake.photo import decode
from tests.support.pictures import bmp, encoded, png, tiff, tiff_head, webp_canvas
resource.setrlimit(resource.RLIMIT_AS, (700_000_000, 700_000_000))
decode(encoded("PNG"))
for data in (png(29000, 29000, 8, 6), webp_canvas(16000, 16000), bmp(29000, 29000), tiff(tiff_head(29000, 29000))):
    try:
        decode(data)
    except JobError as refusal:
        print(refusal.code)
"""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["INPUT_TOO_LARGE"] * 4  # the smallest of the four would take 841 MB


def test_extreme_aspects_are_taken():
    tall = decode(png(64, 8000, 8, 0, bytes(64 * 8000)))
    assert tall.rgb.shape == (8000, 64, 3)


def test_a_bug_in_the_decoder_is_no_refusal(monkeypatch):
    monkeypatch.setattr("pipeline.intake.photo.as_json", lambda request: "{}")
    with pytest.raises(RuntimeError):
        decode(encoded("PNG"))


def test_bmp_rows_from_the_top():
    rgb = quarters()[..., ::-1]
    assert_quarters(decode(bmp(96, -72) + rgb.tobytes()).rgb, tolerance=0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"\0\0\0\x18ftypavif"]),
    rest=st.binary(max_size=300),
)
def test_random_bytes_give_only_refusals(start, rest):
    with pytest.raises(JobError):
        decode(start + rest)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(kind=st.sampled_from(FORMATS), data=st.data())
def test_damaged_files_are_decoded_or_refused_in_time(kind, data):
    whole = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    start = time.monotonic()
    try:
        photo = decode(bytes(whole[:cut]), Limits(seconds=2))
    except JobError as refused:
        assert refused.code in (Code.UNSUPPORTED_IMAGE, Code.INPUT_TOO_LARGE)
    else:
        assert photo.rgb.ndim == 3
    assert time.monotonic() - start < 12


# --- the caller's matte ----------------------------------------------------------------------------------------------


def photo_of(width: int, height: int) -> Photo:
    return Photo(np.zeros((height, width, 3), np.uint8), None, "")


def test_a_matte_of_any_resolution_comes_at_the_photos_size():
    for width, height in ((96, 72), (48, 36), (960, 720), (33, 25)):
        shape = np.zeros((height, width), np.uint8)
        shape[:, : width // 3] = 255
        matte = decode_matte(save(Image.fromarray(shape), "PNG"), photo_of(96, 72)).alpha
        assert matte.shape == (72, 96)
        assert abs((matte > 127).mean() - (width // 3) / width) < 0.02


def test_colour_alpha_bilevel_and_16_bit_mattes():
    colour = save(Image.fromarray(np.dstack([disc()] * 3)), "PNG")
    alpha = save(Image.fromarray(np.dstack([quarters(), disc()]), "RGBA"), "PNG")
    bilevel = save(Image.fromarray(disc()).convert("1"), "PNG")
    opaque = save(Image.fromarray(np.dstack([np.dstack([disc()] * 3), np.full((72, 96), 255, np.uint8)]), "RGBA"), "PNG")
    wide = png(96, 72, 16, 0, (disc().astype(">u2") * 257).tobytes())
    profiled = save(Image.fromarray(disc()), "PNG", icc_profile=matrix_profile(1.0, b"GRAY"))
    for data in (colour, alpha, bilevel, opaque, wide, profiled):
        matte = decode_matte(data, photo_of(96, 72))
        np.testing.assert_array_equal(matte.alpha, disc())
        assert matte.warnings == ()


def test_a_matte_of_another_aspect_names_both_sizes():
    sentence = refusal(Code.INVALID_INPUT, decode_matte, save(Image.fromarray(disc().T.copy()), "PNG"), photo_of(96, 72))
    assert "72 × 96" in sentence
    assert "96 × 72" in sentence


def test_the_aspect_has_one_per_cent_and_a_pixel_of_tolerance():
    near = np.zeros((721, 970), np.uint8)
    near[:300] = 255
    assert decode_matte(save(Image.fromarray(near), "PNG"), photo_of(96, 72)).alpha.shape == (72, 96)
    far = np.zeros((720, 990), np.uint8)
    far[:300] = 255
    refusal(Code.INVALID_INPUT, decode_matte, save(Image.fromarray(far), "PNG"), photo_of(96, 72))


@pytest.mark.parametrize(("value", "word"), [(0, "empty"), (127, "empty"), (255, "full"), (128, "full")])
def test_empty_and_full_mattes(value, word):
    flat = save(Image.new("L", (96, 72), value), "PNG")
    assert word in refusal(Code.INVALID_INPUT, decode_matte, flat, photo_of(96, 72))


def test_a_coloured_matte_is_taken_by_its_brightest_channel_and_told():
    picture = np.dstack([disc(), disc() // 4, np.full_like(disc(), 20)])
    matte = decode_matte(save(Image.fromarray(picture), "PNG"), photo_of(96, 72))
    assert [warning.partition(":")[0] for warning in matte.warnings] == ["MATTE_ODD"]
    np.testing.assert_array_equal(matte.alpha > 127, disc() > 127)
    noisy = np.clip(np.dstack([disc()] * 3) + np.random.default_rng(1).integers(-12, 12, (72, 96, 3)), 0, 255).astype(np.uint8)
    assert decode_matte(save(Image.fromarray(noisy), "JPEG", quality=80), photo_of(96, 72)).warnings == ()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_matte_made_before_the_photo_was_turned_is_turned_with_it(orientation):
    stored = disc().T.copy()
    stored[:10, :10] = 255  # so that no turn is like another
    photo = Photo(np.zeros((72, 96, 3), np.uint8), None, "", orientation=orientation)
    matte = decode_matte(save(Image.fromarray(stored), "PNG"), photo)
    np.testing.assert_array_equal(matte.alpha, turned_upright(stored, orientation))
    assert [warning.partition(":")[0] for warning in matte.warnings] == ["MATTE_ODD"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_file_is_known(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    assert decode(save(Image.fromarray(quarters()), "JPEG", exif=exif)).orientation == orientation


def test_a_fully_transparent_matte_is_empty():
    clear = save(Image.new("RGBA", (96, 72)), "PNG")
    assert "empty" in refusal(Code.INVALID_INPUT, decode_matte, clear, photo_of(96, 72))


def test_a_damaged_matte_is_called_a_matte():
    assert refusal(Code.UNSUPPORTED_IMAGE, decode_matte, encoded("PNG")[:100], photo_of(96, 72)).startswith("The matte")
    assert "matte" in refusal(Code.UNSUPPORTED_IMAGE, decode_matte, b"GIF89a", photo_of(96, 72))


# --- what it is instead ----------------------------------------------------------------------------------------------


PAGES = [
    b"<!doctype html><title>404</title>", b"\xef\xbb\xbf<!DOCTYPE html>", b"\xef\xbb\xbf\r\n  <html lang=de>",
    b"<!DocType   HTML PUBLIC 'x'>", b"<HTML>", b"<Head>", b"<body class=x>",
    b"<script>location='/'</script>", b"<title>Just a moment...</title>",
    b"<meta charset=utf-8>",
    b"<h1>403 Forbidden</h1>", b"<p>moved", b"<a href=/>x</a>", b"\n<!-- cached --><html>", b"<?xml version='1.0'?>\n<!DOCTYPE html>",
    b"\xef\xbb\xbf<?xml version='1.0'?><html xmlns='x'>", "\ufeff<html>".encode("utf-16-le"), "\ufeff <!doctype html>".encode("utf-16-be"),
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_is_called_one(page):
    assert "is a web page" in refusal(Code.UNSUPPORTED_IMAGE, decode, page + b" " * 100)


@pytest.mark.parametrize(
    ("data", "called"),
    [
        (b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"<!-- Generator --><svg/>", "an SVG"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b"<aside>", "of an unknown format"),
        (b"<plain", "of an unknown format"),
        (b'{"error": "not found"}', "of an unknown format"),
    ],
)
def test_text_is_called_what_it_is(data, called):
    assert f"is {called}" in refusal(Code.UNSUPPORTED_IMAGE, decode, data)


# --- letterbox -------------------------------------------------------------------------------------------------------


def letterbox_gray(gray: np.ndarray, frame: Frame, side: int) -> np.ndarray:
    return placed(gray, frame.at(side).photo, side)


def blob(width: int, height: int, x: float, y: float, sigma: float) -> np.ndarray:
    """A round spot whose centre lies at (x, y) in continuous coordinates."""
    columns, rows = np.arange(width) + 0.5 - x, np.arange(height)[:, None] + 0.5 - y
    return (255 * np.exp(-(columns**2 + rows**2) / (2 * sigma**2))).round().astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), [(640, 427), (427, 640), (500, 500), (1999, 333)])
@pytest.mark.parametrize("side", [128, 333, 1024, 2048])
def test_a_point_lands_where_the_frame_says_and_stays_round(width, height, side):
    x, y, sigma = 0.37 * width, 0.61 * height, height / 18
    frame = Frame.fit(width, height, 1024)
    square = letterbox_gray(blob(width, height, x, y, sigma), frame, side).astype(float)
    placed = frame.at(side)
    centres = np.arange(side) + 0.5
    weight = square.sum()
    found_x, found_y = (square.sum(0) @ centres) / weight, (square.sum(1) @ centres) / weight
    assert abs(found_x - (placed.x0 + placed.scale * x)) < 0.1
    assert abs(found_y - (placed.y0 + placed.scale * y)) < 0.1
    spread_x, spread_y = (square.sum(0) @ (centres - found_x) ** 2) / weight, (square.sum(1) @ (centres - found_y) ** 2) / weight
    assert spread_x / spread_y == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("side", [200, 777, 3000])
def test_an_edge_lands_where_the_frame_says(side):
    rgb = np.zeros((300, 801, 3), np.uint8)
    rgb[:, 300:] = 255
    frame = Frame.fit(801, 300, 4096)
    placed = frame.at(side)
    row = letterbox(rgb, frame, side)[side // 2, :, 0].astype(float)
    last = int(np.floor(placed.content[2] + 1e-6))
    assert last - row[:last].sum() / 255 == pytest.approx(placed.x0 + placed.scale * 300, abs=0.1)


def test_what_lies_outside_the_photo_is_filled():
    frame = Frame.fit(400, 100, 1024)
    square = letterbox(np.full((100, 400, 3), 200, np.uint8), frame, 512, fill=7)
    top, bottom = frame.at(512).content[1], frame.at(512).content[3]
    assert (square[: int(top)] == 7).all()
    assert (square[int(np.ceil(bottom)) :] == 7).all()
    assert (square[int(np.ceil(top)) : int(bottom)] == 200).all()


@pytest.mark.parametrize(("width", "height"), [(30000, 64), (64, 30000), (8000, 65), (64, 64)])
@pytest.mark.parametrize("side", [64, 1024])
def test_extreme_aspects_keep_at_least_one_row(width, height, side):
    frame = Frame.fit(width, height, 4096)
    square = letterbox_gray(np.full((height, width), 255, np.uint8), frame, side)
    covered = (square == 255).any(1).sum(), (square == 255).any(0).sum()
    assert max(covered) == side
    assert abs(min(covered) - max(1, side * min(width, height) / max(width, height))) < 2  # whole pixels only


def test_shrinking_is_antialiased():
    checks = (np.indices((1000, 1000)).sum(0) % 2 * 255).astype(np.uint8)
    square = letterbox_gray(checks, Frame.fit(1000, 1000, 4096), 100)
    assert abs(square[5:-5, 5:-5].astype(int) - 127).max() <= 3


@settings(max_examples=200, deadline=None, derandomize=True)
@given(width=st.integers(64, 20000), height=st.integers(64, 20000), side=st.integers(64, 4096), data=st.data())
def test_boxes_survive_the_way_into_the_square_and_back(width, height, side, data):
    numbers = sorted(data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)))
    box = (numbers[0], numbers[0], numbers[1], numbers[1])
    frame = Frame.fit(width, height, 4096).at(side)
    np.testing.assert_allclose(frame.to_fractions(frame.to_square(box)), box, atol=6e-5)
    x0, y0, x1, y1 = frame.to_square((0, 0, 1, 1))
    assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height)
    assert min(x0, y0) >= -1e-9
    assert max(x1, y1) <= side + 1e-6
