"""The PDF against renders of the same SVG: resvg draws the SVG, pdftoppm the PDF."""

import base64
import io
import re
import subprocess
import zlib

import numpy as np
import pytest
import resvg_py
from PIL import Image

from pipeline.pdf import pdf_from_svg

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


def rendered_pdf(data: bytes, tmp_path) -> np.ndarray:
    (tmp_path / "a.pdf").write_bytes(data)
    subprocess.run(["pdftoppm", "-png", "-r", "96", "-singlefile", str(tmp_path / "a.pdf"), str(tmp_path / "a")], check=True)
    return np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)


def rendered_svg(svg: str) -> np.ndarray:
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB")).astype(int)


@pytest.mark.parametrize("svg", [DRAWING, SCENE])
def test_looks_like_the_svg(svg: str, tmp_path) -> None:
    """At 96 dpi a unit is a pixel; the two renderers may differ on the outlines' antialiased pixels only."""
    pdf, expected = rendered_pdf(pdf_from_svg(svg.encode()), tmp_path), rendered_svg(svg)
    assert pdf.shape == expected.shape == (300, 400, 3)
    different = np.abs(pdf - expected).max(2) > 100
    assert different.mean() < 0.002
    assert (expected != 255).any(2).mean() > 0.15  # something is drawn at all


def test_stroke_width_is_in_units(tmp_path) -> None:
    svg = f'{HEAD}<path d="M150 200H450" fill="none" stroke="#000000" stroke-width="20" vector-effect="non-scaling-stroke"/></svg>'
    column = rendered_pdf(pdf_from_svg(svg.encode()), tmp_path)[:, 200, 0]
    assert 19 <= (column < 128).sum() <= 21


def test_vectors_exact_colours_and_nothing_behind() -> None:
    data = pdf_from_svg(SCENE.encode())
    assert b"/MediaBox [ 0 0 300 225 ]" in data and b"/Subtype /Image" not in data and b"/Count 1 " in data
    streams = [zlib.decompress(_ascii85(part)) for part in re.findall(rb"stream\r?\n(.*?)endstream", data, re.S)]
    drawn = b"\n".join(streams).decode()
    assert set(re.findall(r"([\d.]+ [\d.]+ [\d.]+) rg", drawn)) == {"1 0 0", "0 0 1", "0 .501961 0"}
    assert drawn.count(" re") == 1  # the one rectangle of the SVG, none behind the drawing
    assert drawn.count(" c\n") + drawn.count(" c ") == 2 and "8 w" in drawn


def _ascii85(part: bytes) -> bytes:
    return base64.a85decode(part.strip().removesuffix(b"~>"))


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
        "<path d='M0 0L1 1' fill='red'/>",
    ],
)
def test_what_the_project_never_writes_is_refused(inside: str) -> None:
    with pytest.raises(ValueError, match=r"not in the project's SVG|lacks a number|other than"):
        pdf_from_svg(f"{HEAD}{inside}</svg>".encode())
