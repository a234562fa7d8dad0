import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from pipeline.color import srgb_to_lab
from pipeline.palette import DEFAULT, Palette, parse
from pipeline.phase3_enforce.ciede2000 import difference, lab_of, label, nearest

# Sharma, Wu, Dalal (2005), table 1: L1 a1 b1 L2 a2 b2 ΔE00.
PAIRS = np.array(
    [
        [50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425],
        [50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615],
        [50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412],
        [50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669],
        [50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461],
        [50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065],
        [50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492],
        [50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977],
        [50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030],
        [50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)


@pytest.mark.parametrize("swap", [False, True])
def test_published_pairs(swap):
    a, b = PAIRS[:, :3], PAIRS[:, 3:6]
    found = difference(np.ascontiguousarray(b if swap else a), np.ascontiguousarray(a if swap else b))
    assert np.abs(found - PAIRS[:, 6]).max() < 5.1e-5


def test_agrees_with_an_independent_library():
    rng = np.random.default_rng(0)
    a, b = rng.uniform([0, -100, -100], [100, 100, 100], (2, 20_000, 3))
    assert np.abs(difference(a, b) - deltaE_ciede2000(a, b)).max() < 1e-9


def test_lab_agrees_with_an_independent_library():
    rgb = np.random.default_rng(0).integers(0, 256, (5000, 3), np.uint8)
    assert np.abs(srgb_to_lab(rgb) - rgb2lab(rgb[None] / 255.0)[0]).max() < 0.02  # it rounds the matrix and the white


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 64))
def test_every_pixel_gets_the_exactly_nearest_colour(seed, count):
    rng = np.random.default_rng(seed)
    palette = parse([f"{v:06X}" for v in rng.choice(1 << 24, count, replace=False)])
    rgb = rng.integers(0, 256, (23, 31, 3), np.uint8)
    lab, colors = srgb_to_lab(rgb).reshape(-1, 3), srgb_to_lab(palette.rgb)
    truth = np.stack([deltaE_ciede2000(lab, np.broadcast_to(c, lab.shape)) for c in colors])
    found = label(rgb, palette).ravel()
    assert (truth[found, np.arange(len(lab))] <= truth.min(0) + 1e-9).all()


def test_the_earlier_colour_wins_a_tie():
    same = Palette(("#102030", "#102030", "#FFFFFF"))  # parse would count it once
    assert label(np.full((2, 2, 3), [16, 32, 48], np.uint8), same).max() == 0


def test_a_difference_within_rounding_is_a_tie():
    lab = np.array([[50.0, 0.0, 0.0]])
    near, nearer = [[51.0, 0.0, 0.0]], [[51.0 - 1e-12, 0.0, 0.0]]
    assert nearest(lab, np.array(near + nearer))[0] == 0
    assert nearest(lab, np.array(nearer + near))[0] == 0
    assert nearest(lab, np.array([[51.0, 0.0, 0.0], [50.99, 0.0, 0.0]]))[0] == 1


def test_greys_have_no_hue():
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    assert (lab_of(greys)[:, 1:] == 0).all()
    assert np.abs(lab_of(greys) - srgb_to_lab(greys)).max() < 1e-12


def test_palette_colours_map_to_themselves():
    palette = parse(None)
    assert label(palette.rgb[None], palette)[0].tolist() == list(range(len(DEFAULT)))
