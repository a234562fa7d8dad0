"""What a file says of its colours is followed, in the order of its format; what it leaves open is told."""

import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pipeline.intake import color_space
from pipeline.intake.tone import REFERENCE_WHITE, pq_code
from tests.intake.test_good_pictures import read
from tests.intake.test_tone import TO_709
from tests.support.pictures import matrix_profile, png, png_chunk, save

COLOUR = (90, 160, 110)
FLAT = np.full((72, 96, 3), COLOUR, np.uint8)
PICTURE = Image.fromarray(FLAT)
TO_XYZ = {  # linear RGB → XYZ under D65: sRGB (IEC 61966-2-1), Display P3 (SMPTE EG 432-1), Adobe RGB (1998)
    "sRGB": [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]],
    "P3": [[0.4866, 0.2657, 0.1982], [0.2290, 0.6917, 0.0793], [0.0, 0.0451, 1.0439]],
    "Adobe": [[0.5767, 0.1856, 0.1882], [0.2974, 0.6273, 0.0753], [0.0270, 0.0707, 0.9911]],
}
P3_CHRM = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def decoded_curve(code: np.ndarray) -> np.ndarray:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def expected(space: str, gamma: float = 0.0, colour: tuple[int, int, int] = COLOUR) -> np.ndarray:
    """In sRGB, by the textbook's matrices."""
    code = np.array(colour) / 255
    linear = code**gamma if gamma else decoded_curve(code)
    out = np.linalg.solve(np.array(TO_XYZ["sRGB"]), np.array(TO_XYZ[space]) @ linear).clip(0, 1)
    return 255 * np.where(out > 0.0031308, 1.055 * out ** (1 / 2.4) - 0.055, 12.92 * out)


def with_numbers(kind: str, primaries: int, transfer: int, picture: Image.Image = PICTURE) -> bytes:
    """A HEIC or AVIF that says these numbers of H.273."""
    data = save(picture, kind, quality=100)
    place = data.index(b"nclx") + 4
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


def chunked(*chunks: bytes, rgb: np.ndarray = FLAT) -> bytes:
    return png(rgb.shape[1], rgb.shape[0], 8, 2, rgb.tobytes(), b"".join(chunks))


def cicp(primaries: int, transfer: int) -> bytes:
    return png_chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def gama(value: float) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chrm(*values: float) -> bytes:
    return png_chunk(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in values)))


def iccp(profile: bytes) -> bytes:
    import zlib

    return png_chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))


def with_exif(kind: str = "JPEG", index: str = "", **tags: object) -> bytes:
    """A picture whose EXIF says a colour space (0xA001), a gamma, an interoperability index, primaries."""
    block = Image.Exif()
    block[271] = "a camera"
    about = block.get_ifd(0x8769)
    if "color_space" in tags:
        about[0xA001] = tags["color_space"]
    if "gamma" in tags:
        about[0xA500] = tags["gamma"]
    if index:
        block.get_ifd(0xA005)[1] = index
        about[0xA005] = {1: index}
    if "primaries" in tags:
        block[318], block[319] = P3_CHRM[:2], P3_CHRM[2:]
    if kind == "TIFF":  # whose writer leaves out directories that are no plain values
        whole = ImageFileDirectory_v2()
        whole[0x8769] = {tag: value for tag, value in about.items() if tag != 0xA005} | ({0xA005: {1: index}} if index else {})
        return save(PICTURE, kind, tiffinfo=whole)
    options = {"lossless": True} if kind == "WEBP" else {} if kind == "PNG" else {"quality": 100, "subsampling": 0}
    return save(PICTURE, kind, exif=block, **options)


def codes(data: bytes) -> list[str]:
    return [warning.partition(":")[0] for warning in read(data).warnings]


def middle(data: bytes) -> np.ndarray:
    return read(data).rgb[36, 48]


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_display_p3_by_number(kind):
    np.testing.assert_allclose(middle(with_numbers(kind, 12, 13)), expected("P3"), atol=4)
    assert codes(with_numbers(kind, 12, 13)) == []


def test_display_p3_in_a_png():
    for chunks in (
        [cicp(12, 13)],
        [chrm(*P3_CHRM), gama(1 / 2.2)],
        [iccp(color_space.matrix_profile(color_space._to_xyz((*P3_CHRM[2:], *P3_CHRM[:2])), 0))],
    ):
        np.testing.assert_allclose(middle(chunked(*chunks)), expected("P3"), atol=2)
        assert codes(chunked(*chunks)) == []


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
def test_gamma_of_a_png(gamma):
    data = chunked(gama(1 / gamma), chrm(0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06))
    np.testing.assert_allclose(middle(data), expected("sRGB", gamma), atol=2)
    grey = png(96, 72, 8, 0, bytes([100]) * 96 * 72, gama(1 / gamma))
    np.testing.assert_allclose(middle(grey), expected("sRGB", gamma, (100, 100, 100)), atol=2)


def test_what_wins_in_a_png():
    """cICP, then iCCP, then sRGB, then gAMA and cHRM (W3C PNG, third edition, 4.3)."""
    p3 = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))
    srgb = png_chunk(b"sRGB", b"\0")
    every = [gama(1.0), chrm(*P3_CHRM)]
    np.testing.assert_array_equal(middle(chunked(*every, srgb)), COLOUR)
    np.testing.assert_allclose(middle(chunked(*every, srgb, iccp(p3))), expected("P3", 2.2), atol=3)
    np.testing.assert_array_equal(middle(chunked(*every, srgb, iccp(p3), cicp(1, 13))), COLOUR)
    assert codes(chunked(*every, srgb, iccp(p3), cicp(1, 13))) == []


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_profile_wins_over_numbers(kind):
    p3 = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))
    data = save(PICTURE, kind, quality=100, icc_profile=p3)
    place = data.find(b"nclx") + 4
    if place > 3:
        data = data[:place] + struct.pack(">HH", 9, 18) + data[place + 4 :]
    np.testing.assert_allclose(middle(data), expected("P3", 2.2), atol=4)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "PNG"])
def test_adobe_rgb_by_exif_alone(kind):
    for data in (with_exif(kind, "R03", color_space=0xFFFF), with_exif(kind, color_space=2)):
        np.testing.assert_allclose(middle(data), expected("Adobe", 563 / 256), atol=4)
        assert codes(data) == []


def test_exif_that_says_srgb_or_that_it_is_not():
    for data in (with_exif(color_space=1), with_exif("JPEG", "R98", color_space=1), with_exif()):
        np.testing.assert_allclose(middle(data), COLOUR, atol=3)
        assert codes(data) == []
    assert codes(with_exif(color_space=0xFFFF)) == ["COLOUR_SPACE_ASSUMED"]
    np.testing.assert_allclose(middle(with_exif(color_space=0xFFFF)), COLOUR, atol=3)


def test_primaries_in_exif():
    data = with_exif(color_space=0xFFFF, primaries=True)
    np.testing.assert_allclose(middle(data), expected("P3"), atol=4)
    assert codes(data) == ["COLOUR_SPACE_ASSUMED"]


def pq_picture() -> np.ndarray:
    """Red, and white at HDR's reference white."""
    linear = decoded_curve(np.array([[200, 20, 20], [255, 255, 255]]) / 255)
    red, white = np.round(255 * pq_code(linear @ np.linalg.inv(TO_709).T * REFERENCE_WHITE)).astype(np.uint8)
    picture = np.empty((72, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = red, white
    return picture


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "PNG"])
def test_pq_is_tone_mapped_and_told(kind):
    picture = pq_picture()
    data = chunked(cicp(9, 16), rgb=picture) if kind == "PNG" else with_numbers(kind, 9, 16, Image.fromarray(picture))
    found = read(data)
    assert codes(data) == ["HDR_TONE_MAPPED"]
    assert "PQ" in found.warnings[0]
    np.testing.assert_allclose(found.rgb[36, 20], (200, 20, 20), atol=12)
    np.testing.assert_allclose(found.rgb[36, 76], (255, 255, 255), atol=12)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "PNG"])
def test_hlg_is_tone_mapped_and_told(kind):
    picture = Image.new("RGB", (96, 72), (191, 191, 191))  # 75 %, the reference white
    data = chunked(cicp(9, 18), rgb=np.asarray(picture)) if kind == "PNG" else with_numbers(kind, 9, 18, picture)
    assert codes(data) == ["HDR_TONE_MAPPED"]
    assert middle(data).min() >= 250


def test_a_profile_that_says_pq():
    profile = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))
    count = int.from_bytes(profile[128:132])
    rows = bytearray(profile[132 : 132 + 12 * count])
    for at in range(0, len(rows), 12):
        rows[at + 4 : at + 8] = (int.from_bytes(rows[at + 4 : at + 8]) + 12).to_bytes(4)
    tag = b"cicp" + struct.pack(">II", len(profile) + 12, 12)
    whole = profile[:128] + (count + 1).to_bytes(4) + rows + tag + profile[132 + 12 * count :] + b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])
    data = save(Image.fromarray(pq_picture()), "TIFF", icc_profile=len(whole).to_bytes(4) + whole[4:])
    assert codes(data) == ["HDR_TONE_MAPPED"]
    np.testing.assert_allclose(read(data).rgb[36, 20], (200, 20, 20), atol=12)


@pytest.mark.parametrize(
    "data",
    [
        chunked(cicp(12, 2)),
        chunked(cicp(2, 16)),
        chunked(cicp(1, 9)),
        chunked(cicp(99, 13)),
        chunked(gama(1.0)),
        chunked(chrm(*P3_CHRM)),
        chunked(chrm(0, 0, 0, 0, 0, 0, 0, 0), gama(1.0)),
        chunked(chrm(0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3), gama(0.5)),
        with_numbers("HEIF", 1, 10),
        with_numbers("AVIF", 2, 8),
        save(Image.new("CMYK", (96, 72), (9, 200, 200, 0)), "TIFF"),
    ],
    ids=[
        "no curve", "PQ without primaries", "a log curve", "no such primaries", "a gamma alone", "primaries alone", "no primaries",
        "one point",
        "HEIC, a log curve", "AVIF, linear without primaries", "CMYK",
    ],
)  # fmt: skip
def test_what_is_assumed_is_told(data):
    assert "COLOUR_SPACE_ASSUMED" in codes(data)


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (1, 1), (2, 2), (1, 6), (1, 2), (5, 13)])
def test_numbers_of_srgb_change_nothing(primaries, transfer):
    data = chunked(cicp(primaries, transfer))
    np.testing.assert_allclose(middle(data), COLOUR, atol=0 if primaries != 5 else 6)
    assert codes(data) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_the_profile_that_is_made_is_the_space_that_it_is_made_of(colour):
    profile = ImageCms.ImageCmsProfile(BytesIO(color_space.matrix_profile(color_space._to_xyz(color_space.PRIMARIES[12]), 0)))
    one = color_space._through(Image.new("RGB", (1, 1), tuple(colour)), profile).getpixel((0, 0))
    np.testing.assert_allclose(one, expected("P3", colour=tuple(colour)), atol=2.5)


def test_a_matte_is_not_converted():
    from pipeline.intake.photo import decode, decode_matte

    grey = np.zeros((72, 96), np.uint8)
    grey[:, :48] = 200
    data = png(96, 72, 8, 0, grey.tobytes(), gama(1.0))
    np.testing.assert_array_equal(decode_matte(data, decode(chunked())).alpha, grey)
