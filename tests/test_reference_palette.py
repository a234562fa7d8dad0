"""The palette of a reference picture: colours that it has, told apart, the same each time, with tones to draw in."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.color import srgb_to_lab
from pipeline.palette import LEAST, Palette, parse
from pipeline.phase3_enforce.ciede2000 import difference
from pipeline.service.reference_palette import APART, GREY, NEAR_TONE, TONES, reference_palette

BRAND = ("#C8102E", "#0B2A5B", "#F2B705", "#FFFFFF", "#111111")


def stripes(*colors: str, side: int = 200) -> np.ndarray:
    """(side, side, 3) of bands, each colour's half as wide as the one's before."""
    share = np.cumsum([0.5**k for k in range(len(colors))])
    which = np.searchsorted(share / share[-1], np.linspace(0, 1, side, endpoint=False), side="right")
    return np.broadcast_to(Palette(colors).rgb[which], (side, side, 3))


def distances(palette: Palette) -> np.ndarray:
    lab = srgb_to_lab(palette.rgb)
    first, second = np.triu_indices(len(lab), 1)
    return difference(lab[first], lab[second])


def test_a_flat_picture_gives_its_own_colours_most_frequent_first():
    assert reference_palette(stripes(*BRAND)).colors == (*BRAND, "#808080")


def test_the_tones_join_what_has_none():
    assert reference_palette(stripes("#C8102E", "#F2B705")).colors == ("#C8102E", "#F2B705", *TONES)
    assert reference_palette(np.full((1, 1, 3), 255, np.uint8)).colors == ("#FFFFFF", "#000000", "#808080")


def test_a_dark_blue_is_no_black_to_draw_in():
    palette = reference_palette(stripes("#FFFFFF", "#00002A"))
    assert "#000000" in palette.colors


def test_noise_makes_no_colours():
    rng = np.random.default_rng(1)
    noisy = np.clip(stripes(*BRAND).astype(int) + rng.normal(0, 4, (200, 200, 3)), 0, 255).astype(np.uint8)
    palette = reference_palette(noisy)
    far = difference(*(np.repeat(srgb_to_lab(Palette(BRAND).rgb), len(palette), 0), np.tile(srgb_to_lab(palette.rgb), (len(BRAND), 1))))
    assert (far.reshape(len(BRAND), -1).min(1) < 4).all()
    assert len(palette) <= len(BRAND) + 2


def test_what_is_transparent_does_not_count():
    rgb, alpha = stripes("#FF00FF", "#C8102E").copy(), np.zeros((200, 200), np.uint8)
    alpha[:, 150:] = 255
    assert reference_palette(rgb, alpha).colors == ("#C8102E", *TONES)


@hypothesis.settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["noise", "few", "smooth"]),
    height=st.integers(1, 90),
    width=st.integers(1, 700),
    opaque=st.floats(0, 1),
)
def test_any_picture(seed, kind, height, width, opaque):
    rng = np.random.default_rng(seed)
    if kind == "noise":
        rgb = rng.integers(0, 256, (height, width, 3))
    elif kind == "few":
        rgb = rng.integers(0, 256, (5, 3))[rng.integers(0, 5, (height, width))]
    else:
        rgb = rng.integers(0, 256, 3) * np.linspace(0, 1, width)[None, :, None] * np.ones((height, 1, 1))
    rgb, alpha = rgb.astype(np.uint8), np.where(rng.random((height, width)) < opaque, 255, 0).astype(np.uint8)
    palette = reference_palette(rgb, alpha)
    assert palette == reference_palette(rgb.copy(), alpha.copy())
    assert parse(list(palette.colors)) == palette
    assert LEAST <= len(palette) <= 15
    own = {"#{:02X}{:02X}{:02X}".format(*pixel) for pixel in rgb.reshape(-1, 3)}
    assert set(palette.colors) <= own | set(TONES)
    assert distances(palette).min() >= APART
    lab = srgb_to_lab(palette.rgb)
    tones = lab[np.hypot(lab[:, 1], lab[:, 2]) < GREY]
    for tone in srgb_to_lab(Palette(TONES).rgb):
        assert difference(np.broadcast_to(tone, tones.shape).copy(), tones).min() <= NEAR_TONE


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2)])
def test_any_shape(shape):
    assert reference_palette(np.full((*shape, 3), 200, np.uint8)).colors[0] == "#C8C8C8"
