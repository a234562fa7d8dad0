import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import resvg_py
from PIL import Image

from pipeline.palette import parse
from pipeline.phase4_vectorize.centerlines import centerlines
from pipeline.phase4_vectorize.planar import trace_planar
from pipeline.phase4_vectorize.svg import SVG, Stroke, audit, write
from pipeline.phase4_vectorize.tracer import Face
from pipeline.phase4_vectorize.vectorize import VectorSettings, canvas_box, vectorize
from pipeline.phase4_vectorize.vtracer_fills import trace_with_vtracer
from pipeline.progress import Progress
from pipeline.run import TRACERS
from pipeline.values import Frame, LabelImage
from tests.phase4_vectorize.label_images import SIDE, car
from tests.support.svg_geometry import shape

PALETTE = parse("FFFFFF,000000,FF0000,0000FF")
N = SIDE
STROKE = Stroke(2.0, "#000000")


def label_image(background=4):
    """The shared car, with a second line of ink along the roof, where the outline is stroked already."""
    image = car(background)
    image.ink[50, 16:100] = True
    return image


def points(paths):
    """(n, 2) the ends of every curve and line."""
    return np.vstack([shape(d).curves[:, [0, 1, 6, 7]].reshape(-1, 2) for d in paths])


def draw(image=None, preview=False, tracer="planar", **settings):
    return vectorize(image or label_image(), PALETTE, TRACERS[tracer], VectorSettings(**settings), {"seed": 42}, preview, Progress())


def rendered(svg, background):
    png = resvg_py.svg_to_bytes(svg_string=svg.decode(), background=background)
    return np.array(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.parametrize("tracer", sorted(TRACERS))
def test_the_svg_shows_the_label_image_without_gaps(tracer):
    image = label_image()
    svg = draw(image, mode="none", tracer=tracer).svg
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
    image.key[:, :80] = 2
    paths = trace_planar(image, PALETTE, 2.0).boundaries
    assert len(paths) == len(set(paths))
    x0, y0, x1, y1 = image.frame.content
    for d in paths:
        p = points([d])
        for axis, frame in ((0, x0), (1, y0), (0, x1), (1, y1)):
            assert not (np.abs(p[:, axis] - frame) < 0.5).all()


def test_the_outline_is_a_boundary_even_where_its_colour_is_the_backgrounds():
    hull = points(trace_planar(label_image(background=2), PALETTE, 2.0).boundaries)  # a red car in front of red
    assert np.isclose(hull[:, 1], 200, atol=2).any()


def test_centerlines_only_where_no_boundary_runs():
    image = label_image()
    cracks = trace_planar(image, PALETTE, 2.0).cracks
    apart, every = centerlines(image, 1.5, cracks), centerlines(image, 1.5, None)
    assert len(apart) == 1
    assert len(every) == 2
    assert np.allclose(points(apart)[:, 1], 76.5 * 4, atol=2)


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
    good = write([face], [], PALETTE, STROKE, (0, 0, 9, 9), 9, None, {})
    assert audit(good, PALETTE, STROKE).off_palette == ()
    bad = good.replace(b'fill="#FFFFFF"', b'fill="#FEFEFE"')
    assert audit(bad, PALETTE, STROKE).off_palette == ("#FEFEFE",)
    named = good.replace(b'fill="#FFFFFF"', b'fill="white"')
    assert audit(named, PALETTE, STROKE).off_palette == ("white",)
    unset = good.replace(b' fill="#FFFFFF"', b"")
    assert audit(unset, parse("FFFFFF,FF0000"), STROKE).off_palette == ("#000000",)  # SVG's initial fill is black
    path = b'<path d="M0 0 C1 1 2 2 3 3 Z"/>'
    assert audit(good.replace(path, 2 * path), PALETTE, STROKE).doubled == 1
    picture = good.replace(b"</svg>", b"<image/></svg>")
    assert audit(picture, PALETTE, STROKE).off_palette == ("<image>",)


def test_of_two_equal_faces_the_later_is_written_and_none_without_extent():
    path = "M0 0 C1 1 2 2 3 3 Z"
    faces = [Face(0, path), Face(1, "M5 5z"), Face(2, "M1 1l2 0l0 2z"), Face(1, path)]
    svg = write(faces, ["M0 0l5 5", "M3 3z", "M0 0l5 5"], PALETTE, STROKE, (0, 0, 9, 9), 9, None, {}).decode()
    assert re.findall(r' d="([^"]*)"', svg) == ["M1 1l2 0l0 2z", path, "M0 0l5 5"]
    assert svg.count('data-color="#000000"') == 1


def test_a_doubled_path_is_logged_and_not_a_lost_picture(monkeypatch):
    """Should the writer ever miss one: it looks the same."""
    found = []
    monkeypatch.setattr("pipeline.phase4_vectorize.vectorize.log.warning", lambda name, **more: found.append((name, more)))
    monkeypatch.setattr("pipeline.phase4_vectorize.svg.distinct", lambda faces: [*faces, faces[-1]])
    assert draw().svg
    assert found == [("svg_paths_doubled", {"count": 1})]


def test_specks_that_touch_at_a_corner_are_drawn():
    """Fitted, both had become one and the same point."""
    image = label_image()
    image.key[240, 200] = image.key[241, 201] = image.key[250, 250] = 3
    svg = draw(image).svg.decode()
    (blue,) = re.findall(r'<g data-color="#0000FF".*?</g>', svg, re.DOTALL)
    assert blue.count("<path") == 3
    seen = rendered(draw(image, mode="none").svg, "#FFFFFF")
    for y, x in ((240, 200), (241, 201), (250, 250)):
        assert (seen[y, x] == [0, 0, 255]).all()


def test_metadata_is_escaped():
    svg = write([], [], PALETTE, STROKE, (0, 0, 9, 9), 9, None, {"prompt": "</metadata><script>&"})
    assert ElementTree.fromstring(svg)[0].text == '{"prompt": "</metadata><script>&"}'


def test_vtracers_translation_is_applied():
    labels = np.full((64, 64), 4, np.uint8)
    labels[40:50, 20:30] = 2
    image = LabelImage(labels, 4, np.zeros((64, 64), bool), np.zeros((1, 1), np.uint8), Frame.fit(1, 1, 64), 1, 0.0)
    (face,) = trace_with_vtracer(image, PALETTE, 2.0).faces
    p = points([face.path])
    assert face.color == 2
    assert (p.min(0) == [20, 40]).all()
    assert (p.max(0) == [30, 50]).all()
