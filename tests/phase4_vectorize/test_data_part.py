"""Each path of the vehicle's fills says which part holds most of it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.outputs.pdf import pdf_from_svg
from pipeline.phase4_vectorize.vectorize import VectorSettings, vectorize
from pipeline.progress import Progress
from pipeline.run import TRACERS
from pipeline.values import PARTS
from tests.phase4_vectorize.label_images import PALETTE, SIDE, car

PATH = re.compile(r'<path(?: data-part="([a-z]*)")? d="[^"]*"/>')


def drawn(background: int = 4) -> bytes:
    image = car(background)
    parts = np.full((SIDE // 4, SIDE // 4), PARTS.index("body"), np.uint8)
    parts[55:70, 40:75] = PARTS.index("glass")
    parts[77:, :] = PARTS.index("wheel")
    return vectorize(replace(image, parts=parts), PALETTE, TRACERS["planar"], VectorSettings(), {}, False, Progress()).svg


def fills(svg: bytes) -> dict[str, list[str]]:
    """Colour → the parts of its paths, "" for a path that says none."""
    text = svg.decode().partition('<g id="lines"')[0]
    groups = re.findall(r'<g data-color="(#[0-9A-F]{6})"[^>]*>(.*?)</g>', text, re.DOTALL)
    found: dict[str, list[str]] = {}
    for color, body in groups:
        found.setdefault(color, []).extend(PATH.findall(body))
    return found


def test_the_window_is_glass_the_tyres_are_wheels_and_the_rest_is_body():
    assert fills(drawn()) == {"#FF0000": ["body"], "#FFFFFF": ["glass"], "#000000": ["wheel", "wheel"]}


def test_the_background_has_no_part():
    found = fills(drawn(background=3))
    assert set(found["#0000FF"]) == {""}
    assert found["#FFFFFF"] == ["glass"]


def test_lines_have_no_part_and_a_pdf_is_made():
    svg = drawn()
    assert b"data-part" not in svg.partition(b'<g id="lines"')[2]
    assert pdf_from_svg(svg).startswith(b"%PDF")


@pytest.mark.parametrize("side", [1, 7, SIDE])
def test_the_map_of_parts_may_have_any_size(side: int):
    image = replace(car(), parts=np.zeros((side, side), np.uint8))
    svg = vectorize(image, PALETTE, TRACERS["planar"], VectorSettings(), {}, False, Progress()).svg
    assert {part for parts in fills(svg).values() for part in parts} == {"body"}
