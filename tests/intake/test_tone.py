"""PQ, HLG and the way down to a screen's light."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.intake.tone import HLG, PQ, REFERENCE_WHITE, compressed, hlg_light, pq_code, pq_light, srgb_code, to_srgb, within_gamut

#: Linear BT.2020 → BT.709 (Recommendation ITU-R BT.2087-0, the inverse of its matrix M2).
TO_709 = np.linalg.inv([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def test_known_light():
    assert pq_light(np.array(1.0)) == pytest.approx(10_000)
    assert pq_light(np.array(0.0)) == pytest.approx(0)
    assert pq_light(np.array(0.58)) == pytest.approx(203, rel=0.02)  # BT.2408-7, table 1
    assert pq_light(np.array(0.508)) == pytest.approx(100, rel=0.01)
    assert hlg_light(np.full(3, 1.0))[0] == pytest.approx(1000, rel=1e-4)
    assert hlg_light(np.full(3, 0.75))[0] == pytest.approx(203, rel=0.01)  # BT.2408-7, table 1


@given(st.floats(0, 10_000))
def test_pq_and_its_inverse(light):
    assert pq_light(pq_code(np.array(light))) == pytest.approx(light, abs=1e-6, rel=1e-6)


@given(st.lists(st.floats(0, 10_000), min_size=6, max_size=6), st.floats(0, 10_000))
def test_compressed_light(values, peak):
    light = np.array(values).reshape(2, 3)
    mapped = compressed(light, peak)
    assert (mapped >= 0).all()
    assert (mapped[light.max(-1) <= peak] <= REFERENCE_WHITE * (1 + 1e-9)).all()
    if peak <= REFERENCE_WHITE:
        np.testing.assert_allclose(mapped, np.minimum(light, REFERENCE_WHITE))
    else:  # the hue stays, and darker stays darker
        np.testing.assert_allclose(mapped * light.max(-1, keepdims=True), light * mapped.max(-1, keepdims=True), rtol=1e-6, atol=1e-6)
        ramp = np.linspace(0, peak, 50)[:, None].repeat(3, 1)
        assert (np.diff(compressed(ramp, peak)[:, 0]) >= -1e-9).all()


@given(st.lists(st.floats(-2, 3), min_size=3, max_size=3))
def test_colours_come_into_the_gamut_by_their_own_grey(values):
    linear = np.array(values)
    mapped = within_gamut(linear)
    assert ((mapped >= 0) & (mapped <= 1)).all()
    if ((linear >= 0) & (linear <= 1)).all():
        np.testing.assert_allclose(mapped, linear, atol=1e-9)


def hdr(srgb: np.ndarray, transfer: int) -> np.ndarray:
    """An sRGB picture with its white at HDR's reference white, in BT.2100's codes (8 bits)."""
    code = srgb / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    light = linear @ np.linalg.inv(TO_709).T * REFERENCE_WHITE
    if transfer == PQ:
        return np.round(255 * pq_code(light)).astype(np.uint8)
    display = light / 1000
    luma = np.maximum(display @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
    scene = display * luma ** (1 / 1.2 - 1)
    above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.round(255 * np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_picture_without_highlights_keeps_its_tones(transfer):
    colours = np.array(
        [[220, 20, 20], [20, 200, 20], [20, 20, 220], [180, 180, 180], [255, 255, 255], [60, 60, 60], [250, 240, 30]], np.uint8
    )
    codes = np.repeat(hdr(colours, transfer)[None], 64, 0).repeat(64, 1)
    mapped = np.asarray(to_srgb(Image.fromarray(codes), transfer, TO_709))
    np.testing.assert_allclose(mapped[9, 32::64], colours, atol=9)


def test_highlights_are_told_apart_and_the_middle_stays():
    ramp = np.round(255 * pq_code(np.array([10.0, 50, 203, 500, 1000, 2000]))).astype(np.uint8)
    picture = np.repeat(np.repeat(ramp[None, :, None], 64, 0).repeat(40, 1), 3, -1)
    mapped = np.asarray(to_srgb(Image.fromarray(picture), PQ, TO_709))[0, 20::40, 0].astype(int)
    assert (np.diff(mapped) > 0).all()
    assert mapped[-1] >= 250
    expected = 255 * srgb_code(np.array([10.0, 50]) / REFERENCE_WHITE)
    np.testing.assert_allclose(mapped[:2], expected, atol=6)
