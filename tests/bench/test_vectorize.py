"""What the bench makes of its measures, on a picture small enough to count by hand."""

import numpy as np
import pytest

from bench.vectorize.__main__ import changed
from bench.vectorize.figures import Figure, figures
from bench.vectorize.rows import Picture, Row, measure, target
from pipeline.palette import parse
from pipeline.values import Frame, Illustration, LabelImage, Matte
from tests.support.svg_geometry import in_layer, read_svg

PALETTE = parse("FF0000,0000FF")
SIDE = 64
HEAD = f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 {SIDE} {SIDE}">'
FILLS = '<g id="fills"><path d="M8 8H56V56H8Z" fill="#FF0000"/><path d="M32 8H56V56H32Z" fill="#0000FF"/></g>'
LINES = '<g id="lines" fill="none" stroke="#000000"><path d="M8 8H56V56H8Z"/><path d="M32 8V56"/></g>'


def image():
    labels = np.full((SIDE, SIDE), 2, np.uint8)
    labels[8:56, 8:32], labels[8:56, 32:56] = 0, 1
    return LabelImage(labels, 2, np.zeros((16, 16), bool), np.zeros((1, 1), np.uint8), Frame.fit(SIDE, SIDE, SIDE), 2, 0.0)


def row(svg, opaque=False, seconds=1.0):
    return measure(svg.encode(), {"seconds": seconds, "peak_mb": 3.0}, image(), PALETTE, opaque, in_layer(read_svg(svg), lines=True))


def test_a_row_counts_fills_and_lines_apart():
    found = row(f"{HEAD}{FILLS}{LINES}</svg>")
    assert (found.cubics, found.lines, found.segments, found.line_layer) == (0, 6, 6, 4)
    assert (found.off_palette, found.duplicates, found.inflections, found.inflections_lines) == (0, 0, 0, 0)
    assert found.with_strokes == found.size
    assert found.fidelity.off == 0


def test_a_tracer_without_lines_pays_its_paths_twice():
    svg = f"{HEAD}{FILLS}</svg>"
    assert row(svg).with_strokes == len(svg) + len("M8 8H56V56H8Z") + len("M32 8H56V56H32Z")


def test_white_is_nothing_for_a_tracer_that_got_it_so():
    svg = f'{HEAD}<path d="M0 0H64V64H0Z" fill="#FFFFFF"/>{FILLS}</svg>'
    found = row(svg, opaque=True)
    assert (found.fidelity.off, found.fidelity.gaps, found.off_palette) == (0, 0, 0)
    found = row(svg)
    assert found.off_palette == 1
    assert found.fidelity.off == pytest.approx(1 - 48**2 / 64**2)


def test_white_of_the_palette_is_used_where_it_has_one():
    labels, colors, nothing = target(image(), parse("FF0000,FFFFFF"), opaque=True)
    assert (labels[0, 0], len(colors), nothing) == (1, 2, 255)


def test_the_share_of_changed_pixels():
    rgb = np.full((16, 16, 3), (255, 0, 0), np.uint8)
    rgb[:, 8:] = (0, 0, 255)
    rgb[2:4, 2:4] = (0, 0, 250)  # 8 by 8 px of the label image, which are red there
    matte = Matte(np.full((16, 16), 255, np.uint8), None)
    drawn = Illustration(rgb, Frame.fit(16, 16, 16), matte, np.zeros((16, 16), bool), np.zeros((1, 1), np.uint8), None, None, None, 1)
    assert changed(drawn, image(), PALETTE) == pytest.approx(8 * 8 / 48**2)


def test_figures_are_met_or_missed():
    assert "MISSED" in str(Figure("shift", 3.1, 3.0))
    assert str(Figure("shift", 3.0, 3.0, "worst 4")) == "shift: 3 (asked at most 3; worst 4) met"
    assert "nothing asked" in str(Figure("strays", 9, None))


def test_ratios_are_medians_of_each_picture_s_ratio():
    fast, slow = row(f"{HEAD}{FILLS}{LINES}</svg>", seconds=1.0), row(f"{HEAD}{FILLS}</svg>", seconds=4.0)
    pictures = [Picture(str(k), {"ours": fast, "vtracer": slow if k else fast}, None) for k in range(3)]
    (time,) = (f for f in figures(pictures, None) if "time" in f.name)
    assert (time.value, time.met) == (0.25, False)
    assert Row.median([fast, slow, slow]).seconds == 4
