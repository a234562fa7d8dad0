import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import resvg_py
from PIL import Image

from pipeline.palette import parse
from pipeline.phase4_vectorize import lines
from pipeline.phase4_vectorize.svg import SVG, Stroke, audit, write
from pipeline.phase4_vectorize.tracer import Face, trace_with_vtracer
from pipeline.phase4_vectorize.vectorize import VectorSettings, canvas_box, vectorize
from pipeline.progress import Progress
from pipeline.values import Frame, LabelImage

PALETTE = parse("FFFFFF,000000,FF0000,0000FF")
N = 512
STROKE = Stroke(2.0, "#000000")


def label_image(background=4):
    """A red car body with a white window that touches its outline, two black wheels, and a hole through which nothing is seen."""
    y, x = np.mgrid[:N, :N]
    labels = np.full((N, N), background, np.uint8)
    inside = np.zeros((N, N), bool)
    inside[200:360, 60:460] = True
    for cx in (140, 380):
        inside |= (x - cx) ** 2 + (y - 360) ** 2 < 45**2
    labels[inside] = 2
    labels[220:280, 160:300] = 0
    labels[(x - 140) ** 2 + (y - 360) ** 2 < 40**2] = 1
    labels[(x - 380) ** 2 + (y - 360) ** 2 < 40**2] = 1
    hole = (x - 260) ** 2 + (y - 330) ** 2 < 15**2
    labels[hole], inside[hole] = background, False
    ink = np.zeros((128, 128), bool)
    ink[76, 50:110] = True  # a panel line through the door
    ink[50, 16:100] = True  # along the roof, where the outline is stroked already
    return LabelImage(labels, 4, inside, ink, Frame.fit(640, 400, N), 4, 0.0)


def draw(image=None, preview=False, **settings):
    return vectorize(image or label_image(), PALETTE, trace_with_vtracer, VectorSettings(**settings), {"seed": 42}, preview, Progress())


def rendered(svg, background):
    png = resvg_py.svg_to_bytes(svg_string=svg.decode(), background=background)
    return np.array(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_the_svg_shows_the_label_image_without_gaps():
    image = label_image()
    svg = draw(image, mode="none").svg
    magenta, green = rendered(svg, "#FF00FF"), rendered(svg, "#00FF00")
    through = np.abs(magenta - green).sum(-1) > 60
    nothing = image.labels == 4
    assert np.count_nonzero(through ^ nothing) < 0.004 * N * N  # nothing but the antialiased outline
    table = np.vstack([PALETTE.rgb, [[255, 0, 255]]]).astype(int)
    shown = np.abs(magenta[:, :, None] - table).sum(-1).argmin(-1)
    assert np.mean(shown != image.labels) < 0.005


def test_layers_groups_and_attributes():
    root = ElementTree.fromstring(draw().svg)
    assert root.tag == f"{{{SVG}}}svg"
    assert root.get("viewBox") == f"0 0 {N} {N}"
    fills, lines_ = (g for g in root if g.tag == f"{{{SVG}}}g")
    assert (fills.get("id"), lines_.get("id")) == ("fills", "lines")
    assert all(g.get("data-color") == g.get("fill") for g in fills)
    assert all(p.get("vector-effect") == "non-scaling-stroke" for p in lines_)
    assert not any(p.get("vector-effect") for p in fills.iter(f"{{{SVG}}}path"))
    assert {e.tag.rpartition("}")[2] for e in root.iter()} <= {"svg", "metadata", "g", "path", "rect"}


def test_no_prefix_and_nothing_of_the_job_or_the_hour():
    svg = draw().svg
    assert b"ns0:" not in svg
    assert svg == draw().svg


def test_boundaries_are_stroked_once_and_never_on_the_frame():
    image = label_image()
    image.labels[:, :80] = 2
    image.inside[:, :80] = True
    paths = lines.boundaries(image, 1.5)
    assert len(paths) == len(set(paths))
    xs = [float(v) for d in paths for v in re.findall(r"-?[\d.]+", d)]
    assert min(xs) >= 0
    for d in paths:
        p = np.array(re.findall(r"-?[\d.]+", d), float).reshape(-1, 2)
        assert not (p[:, 0] < 0.5).all()
        assert not (p[:, 1] < 0.5).all()


def test_the_outline_is_a_boundary_even_where_its_colour_is_the_backgrounds():
    image = label_image(background=2)  # a red car in front of red
    assert lines.boundaries(image, 1.5)
    hull = " ".join(lines.boundaries(image, 1.5))
    y = np.array(re.findall(r"-?[\d.]+", hull), float).reshape(-1, 2)[:, 1]
    assert np.isclose(y, 200, atol=2).any()


def test_centerlines_only_where_no_boundary_runs():
    image = label_image()
    apart, every = lines.centerlines(image, 1.5, True), lines.centerlines(image, 1.5, False)
    assert len(apart) == 1
    assert len(every) == 2
    y = np.array(re.findall(r"-?[\d.]+", apart[0]), float).reshape(-1, 2)[:, 1]
    assert np.allclose(y, 76.5 * 4, atol=2)


@pytest.mark.parametrize("mode", ["boundaries", "centerlines", "both", "none"])
def test_modes(mode):
    svg = draw(mode=mode).svg.decode()
    strokes = svg.count("non-scaling-stroke")
    assert (strokes > 0) == (mode != "none")


def test_background_is_one_rectangle_behind_everything():
    svg = draw(background="#0000FF").svg
    assert svg.count(b"<rect") == 1
    assert (rendered(svg, "#00FF00")[5, 5] == [0, 0, 255]).all()
    assert (rendered(svg, "#00FF00")[330, 260] == [0, 0, 255]).all()


def test_canvas():
    image = label_image()
    assert canvas_box(image, "square") == (0, 0, N, N)
    assert canvas_box(image, "photo") == image.frame.content
    x0, y0, x1, y1 = canvas_box(image, "vehicle")
    assert (round(60 - x0), round(x1 - 460)) == (16, 16)
    assert y0 < 200
    assert y1 > 404


@pytest.mark.parametrize("canvas", ["square", "photo", "vehicle"])
def test_the_preview_is_a_render_of_the_svg(canvas):
    drawing = draw(preview=True, canvas=canvas)
    assert max(Image.open(io.BytesIO(drawing.png)).size) == 2048
    assert Image.open(io.BytesIO(drawing.png)).mode == "RGBA"


def test_the_audit_finds_what_is_wrong():
    face = Face(0, "M0 0 C1 1 2 2 3 3 Z")
    good = write([face], [], PALETTE, STROKE, (0, 0, 9, 9), None, {})
    assert audit(good, PALETTE, STROKE).off_palette == ()
    bad = good.replace(b'fill="#FFFFFF"', b'fill="#FEFEFE"')
    assert audit(bad, PALETTE, STROKE).off_palette == ("#FEFEFE",)
    named = good.replace(b'fill="#FFFFFF"', b'fill="white"')
    assert audit(named, PALETTE, STROKE).off_palette == ("white",)
    unset = good.replace(b' fill="#FFFFFF"', b"")
    assert audit(unset, parse("FFFFFF,FF0000"), STROKE).off_palette == ("#000000",)  # SVG's initial fill is black
    assert audit(write([face, face], [], PALETTE, STROKE, (0, 0, 9, 9), None, {}), PALETTE, STROKE).doubled == 1
    picture = good.replace(b"</svg>", b"<image/></svg>")
    assert audit(picture, PALETTE, STROKE).off_palette == ("<image>",)


def test_metadata_is_escaped():
    svg = write([], [], PALETTE, STROKE, (0, 0, 9, 9), None, {"prompt": "</metadata><script>&"})
    assert ElementTree.fromstring(svg)[0].text == '{"prompt": "</metadata><script>&"}'


def test_vtracers_translation_is_applied():
    labels = np.full((64, 64), 4, np.uint8)
    labels[40:50, 20:30] = 2
    image = LabelImage(labels, 4, labels < 4, np.zeros((64, 64), bool), Frame.fit(1, 1, 64), 1, 0.0)
    (face,) = trace_with_vtracer(image, PALETTE)
    points = np.array(re.findall(r"-?[\d.]+", face.path), float).reshape(-1, 2)
    assert face.color == 2
    assert (points.min(0) == [20, 40]).all()
    assert (points.max(0) == [30, 50]).all()
