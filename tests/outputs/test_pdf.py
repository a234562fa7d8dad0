"""The PDF against renders of the same SVG: resvg draws the SVG, pdftoppm the PDF."""

import base64
import re
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.outputs.pdf import pdf_from_svg
from pipeline.phase4_vectorize.svg import Stroke
from pipeline.run import TRACERS
from tests.phase4_vectorize.label_images import drawn, rendered

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="400" height="300" viewBox="100 50 400 300">'
DRAWING = f"""{HEAD}<metadata>{{"seed": 42}}</metadata>
<g id="fills"><g data-color="#FF0000" fill="#FF0000"><rect x="120" y="70" width="150" height="100"/>
<path d="M300 80C350 60 420 90 440 150S1 1 1 1"/></g></g></svg>""".replace("S1 1 1 1", "L420 220 300 200Z")
SCENE = DRAWING.replace(
    "</g></g></svg>",
    """</g>
<g data-color="#0000FF" fill="#0000FF"><path d="m150 200 h100 v100 h-100 z m25 25 v50 h50 v-50 z" /></g>
<g data-color="#008000" fill="#008000"><path fill-rule="evenodd" d="M300 240H400V320H300Z M320 260H380V300H320Z"/></g></g>
<g id="lines" fill="none" stroke="#000000" stroke-width="8" stroke-linecap="round" stroke-linejoin="round">
<path d="M130 320 C 200 250 260 340 290 230 l 20 -3.5e1" vector-effect="non-scaling-stroke"/></g></svg>""",
)
# what a tracer may write that counts every byte: relative, smooth, without separators, several subpaths
TERSE = f"""{HEAD}<g fill="#FF0000"><path d="m120.5 70.5h150v99.5h-150zm25.5 25v50h99.5v-50z"/>
<path fill-rule="evenodd"
 d="M300 80c50-20 120 10 140 70s-20.5 70-70.5 60.5-40-50.5-40-70.5S310 120 300 80zM350.5 120.5h40l-.5 40-39.5.5z"/></g>
<g fill="#0000FF"><path d="m120 200h100v100h-100zm25 25v50h50v-50zl-15.5 75.5v10h20z"/></g>
<g fill="#008000" fill-rule="evenodd"><path d="M250 240h150v90h-150zm25 20h100v50h-100zm25.5.5h50v25.5l-50 .5z"/></g></svg>"""
# SVG bevels what would be longer than four times the stroke's width; fills may have strokes of their own colour
MITERS = f"""{HEAD}<g fill="none" stroke="#000000" stroke-width="16"><path d="M130 90L260 105 130 120M130 170l70 60-70 60"/></g>
<path d="M300 220h150v100h-150z" fill="#FF0000" stroke="#FF0000" stroke-width="8"/></svg>"""


def rendered_pdf(data: bytes, tmp_path) -> np.ndarray:
    (tmp_path / "a.pdf").write_bytes(data)
    subprocess.run(["pdftoppm", "-png", "-r", "96", "-singlefile", str(tmp_path / "a.pdf"), str(tmp_path / "a")], check=True)
    return np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)


def assert_looks_like(svg: bytes, tmp_path) -> None:
    """At 96 dpi a unit is a pixel; the two renderers may differ on the outlines' antialiased pixels only."""
    pdf, expected = rendered_pdf(pdf_from_svg(svg), tmp_path), rendered(svg)
    assert pdf.shape == expected.shape
    different = np.abs(pdf - expected).max(2) > 100
    assert different.mean() < 0.002
    assert (expected != 255).any(2).mean() > 0.15  # something is drawn at all


@pytest.mark.parametrize("svg", [DRAWING, SCENE, TERSE, MITERS], ids=["drawing", "scene", "terse", "miters"])
def test_looks_like_the_svg(svg: str, tmp_path) -> None:
    assert_looks_like(svg.encode(), tmp_path)


@pytest.mark.parametrize("tracer", sorted(TRACERS))
@pytest.mark.parametrize("canvas", ["square", "photo"])
def test_looks_like_a_tracers_svg(tracer: str, canvas: str, tmp_path) -> None:
    assert_looks_like(drawn(tracer, {}, canvas=canvas, stroke=Stroke(4.0, "#0000FF")), tmp_path)


@pytest.mark.parametrize(
    ("d", "expected"),
    [
        ("M1 2L3 4H5V6L7 8Z", "1 2 m 3 4 l 5 4 l 5 6 l 7 8 l h"),
        ("m1 2l3 4h5v6l7 8z", "1 2 m 4 6 l 9 6 l 9 12 l 16 20 l h"),
        ("M1 2 3 4 5 6", "1 2 m 3 4 l 5 6 l"),  # further pairs of a moveto are linetos,
        ("m1 2 3 4 5 6", "1 2 m 4 6 l 9 12 l"),  # relative ones after a relative moveto
        ("M1 1h1 2 3v-1-2", "1 1 m 2 1 l 4 1 l 7 1 l 7 0 l 7 -2 l"),
        ("M1.5-3L.5.5-.5-.25", "1.5 -3 m .5 .5 l -0.5 -0.25 l"),
        ("M1e1-2E-1L+3,4\n5\t6", "10 -0.2 m 3 4 l 5 6 l"),
        ("M0 0C1 2 3 4 5 6 7 8 9 10 11 12", "0 0 m 1 2 3 4 5 6 c 7 8 9 10 11 12 c"),
        ("M10 20c1 2 3 4 5 6-1-2-3-4-5-6", "10 20 m 11 22 13 24 15 26 c 14 24 12 22 10 20 c"),
        ("M0 0C1 2 3 4 5 6S9 9 8 7", "0 0 m 1 2 3 4 5 6 c 7 8 9 9 8 7 c"),
        ("M0 0c1 2 3 4 5 6s4 3 3 1 1 1 2 2", "0 0 m 1 2 3 4 5 6 c 7 8 9 9 8 7 c 7 5 9 8 10 9 c"),
        ("M1 1L4 5S6 7 8 9", "1 1 m 4 5 l 4 5 6 7 8 9 c"),  # nothing to reflect after anything but a curve
        ("M0 0C1 2 3 4 5 6L7 7s1 0 2 1", "0 0 m 1 2 3 4 5 6 c 7 7 l 7 7 8 7 9 8 c"),
        ("M1 1h2v2zm5 5h1v1z", "1 1 m 3 1 l 3 3 l h 6 6 m 7 6 l 7 7 l h"),  # relative to where the closed one began
        ("M1 1h2v2zl0 3h1z", "1 1 m 3 1 l 3 3 l h 1 4 l 2 4 l h"),  # goes on from there without a moveto
        ("M1 1h2v2zM8 8c1 1 2 1 3 0z", "1 1 m 3 1 l 3 3 l h 8 8 m 9 9 10 9 11 8 c h"),
    ],
)
def test_path_data(d: str, expected: str) -> None:
    """Against the operators of PDF 32000-1, 8.5.2: m, l and c are absolute, h closes and leaves the point where the subpath began."""
    svg = f'{HEAD}<path d="{d}"/></svg>'
    path, painting = operators(pdf_from_svg(svg.encode())).partition(" n ")[2].rsplit(" ", 1)
    assert (path, painting) == (expected, "f")


def test_stroke_width_is_in_units(tmp_path) -> None:
    svg = f'{HEAD}<path d="M150 200H450" fill="none" stroke="#000000" stroke-width="20" vector-effect="non-scaling-stroke"/></svg>'
    column = rendered_pdf(pdf_from_svg(svg.encode()), tmp_path)[:, 200, 0]
    assert 19 <= (column < 128).sum() <= 21


def test_vectors_exact_colours_and_nothing_behind() -> None:
    data = pdf_from_svg(SCENE.encode())
    assert b"/MediaBox [ 0 0 300 225 ]" in data and b"/Subtype /Image" not in data and b"/Count 1 " in data
    painting = operators(data)
    assert set(re.findall(r"([\d.]+ [\d.]+ [\d.]+) rg", painting)) == {"1 0 0", "0 0 1", "0 .501961 0"}
    assert painting.count(" re") == 1  # the one rectangle of the SVG, none behind the drawing
    assert painting.count(" c ") == 2
    assert " 8 w " in painting


def operators(pdf: bytes) -> str:
    """What the page draws with, as text with single spaces."""
    packed = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S)
    streams = [zlib.decompress(base64.a85decode(part.strip().removesuffix(b"~>"))).decode() for part in packed]
    return " ".join(" ".join(streams).split())


def test_same_svg_same_bytes() -> None:
    assert pdf_from_svg(SCENE.encode()) == pdf_from_svg(SCENE.encode())


@pytest.mark.parametrize(
    "inside",
    [
        "<circle r='3'/>",
        "<use href='#a'/>",
        "<path d='M0 0A1 1 0 0 0 5 5'/>",
        "<path d='M0 0L1'/>",
        "<path d='M0 0L1 #'/>",
        "<path d='M0 0L1 1' transform='scale(2)'/>",
        "<path d='M0 0L1 1' style='fill:red'/>",
        "<path d='M0 0L1 1' fill-opacity='0.5'/>",
        "<path d='M0 0L1 1' stroke-dasharray='2'/>",
        "<g display='none'/>",
        "<rect width='3' height='3' rx='1'/>",
        "<path d='L1 1'/>",
        "<path d='Z'/>",
        "<path d='M0 0L1 1' fill='red'/>",
    ],
)
def test_what_the_project_never_writes_is_refused(inside: str) -> None:
    with pytest.raises(ValueError, match=r"not in the project's SVG|lacks a|other than"):
        pdf_from_svg(f"{HEAD}{inside}</svg>".encode())
