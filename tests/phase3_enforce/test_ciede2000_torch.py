import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.palette import Palette, parse
from pipeline.phase3_enforce import ciede2000, ciede2000_torch


def same(rgb, palette):
    return ciede2000_torch.label(torch.from_numpy(rgb), palette).numpy() == ciede2000.label(rgb, palette)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 64))
def test_random_pictures_and_palettes(seed, count):
    rng = np.random.default_rng(seed)
    palette = parse([f"{v:06X}" for v in rng.choice(1 << 24, count, replace=False)])
    assert same(rng.integers(0, 256, (61, 83, 3), np.uint8), palette).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 64), st.booleans())
def test_greys(seed, count, grey_palette):
    rng = np.random.default_rng(seed)
    levels = rng.choice(256, count, replace=False)
    palette = parse([f"{v:02X}" * 3 for v in levels] if grey_palette else [f"{v:02X}{v // 2:02X}00" for v in levels])
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, 2)
    assert same(greys, palette).all()


def test_ties_go_to_the_earlier_colour():
    palette = Palette(("#FF0000", "#102030", "#102030", "#FF0000", "#FFFFFF"))  # parse would count each once
    rgb = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert same(rgb, palette).all()
    assert set(np.unique(ciede2000_torch.label(torch.from_numpy(rgb), palette).numpy())) <= {0, 1, 4}


def test_palette_colours_map_to_themselves():
    palette = parse(None)
    found = ciede2000_torch.label(torch.from_numpy(palette.rgb[None]), palette)
    assert found.dtype == torch.uint8
    assert found[0].tolist() == list(range(len(palette)))
