"""The measures themselves, on made-up cases whose answers are known."""

import math

import numpy as np
import pytest

from tests.support import svg_geometry as geometry
from tests.support import svg_raster as raster

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{0}" viewBox="0 0 {0} {0}">'
PALETTE = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)


def document(fills, lines=(), side=64):
    body = "".join(f'<path d="{d}" fill="{color}"/>' for color, d in fills)
    strokes = "".join(f'<path d="{d}"/>' for d in lines)
    return f'{HEAD.format(side)}<g id="fills">{body}</g><g id="lines" fill="none" stroke="#000000">{strokes}</g></svg>'


def circle(cx, cy, r):
    k = r * 4 / 3 * math.tan(math.pi / 8)
    arcs = [
        f"C{cx + r * c - k * s} {cy + r * s + k * c} {cx - r * s + k * c} {cy + r * c + k * s} {cx - r * s} {cy + r * c}"
        for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))
    ]
    return f"M{cx + r} {cy}{''.join(arcs)}Z"


@pytest.mark.parametrize(
    ("data", "curves", "lines", "end"),
    [
        ("M0 0L10 0 10 10H0Z", 0, 3, (0, 0)),
        ("m1 1 l2 0 0 2 -2 0z", 0, 3, (1, 1)),
        ("M0,0C1 2 3 4 5,6S7 8 9 10", 2, 0, (9, 10)),
        ("M0 0c1 2 3 4 5 6-1-1-2-2-3-3", 2, 0, (2, 3)),
        ("M0 0Q5 5 10 0t10 0", 2, 0, (20, 0)),
        ("M1 1v3h-2V0zm4 4l1 1", 0, 4, (6, 6)),
        ("M1e1 0L.5-.5", 0, 1, (0.5, -0.5)),
    ],
)
def test_path_data_is_read(data, curves, lines, end):
    shape = geometry.shape(data)
    assert geometry.segments([shape]) == (curves, lines)
    assert tuple(shape.curves[-1, 6:]) == pytest.approx(end)


def test_an_arc_is_refused():
    with pytest.raises(ValueError, match="'A'"):
        geometry.shape("M0 0A1 1 0 0 0 2 2")


def test_the_line_that_closes_is_geometry_but_not_written():
    shape = geometry.shape("M0 0L4 0L4 3Z")
    assert geometry.segments([shape]) == (0, 2)
    assert geometry.length([shape]) == pytest.approx(12)


def test_transforms_are_applied_in_order():
    svg = f'{HEAD.format(64)}<g transform="translate(0,64) scale(0.1,-0.1)"><path d="M100 390l0-150"/></g></svg>'
    (shape,) = geometry.read_svg(svg)
    assert shape.curves[0, [0, 1, 6, 7]] == pytest.approx([10, 25, 10, 40])


def test_layers_and_colours():
    shapes = geometry.read_svg(document([("#ff0000", "M0 0h9v9z"), ("rgb(0,0,255)", "M0 0h9v9h-9z")], ["M0 0h9"]))
    fills, strokes = geometry.in_layer(shapes, lines=False), geometry.in_layer(shapes, lines=True)
    assert (len(fills), len(strokes)) == (2, 1)
    assert geometry.colors(fills) == {"#FF0000", "#0000FF"}
    assert strokes[0].stroke == "#000000"


@pytest.mark.parametrize(
    ("data", "doubles"),
    [
        ("M0 0L10 0L10 5Z", 1),
        ("m 0,0 l 10,0 0,5 z", 1),
        ("M10 5L10 0L0 0Z", 1),  # the other way round
        ("M10 0L10 5L0 0Z", 1),  # from another point
        ("M0.02 0L10 0L10 5.04Z", 1),  # within rounding
        ("M0 0L10 0L10 5.2Z", 0),
        ("M0 0L10 0L10 5", 0),
    ],
)
def test_the_same_geometry_is_found_however_it_is_written(data, doubles):
    assert geometry.duplicates([geometry.shape("M0 0L10 0L10 5Z"), geometry.shape(data)]) == doubles


@pytest.mark.parametrize(
    ("data", "inflections"),
    [
        (circle(50, 50, 30), 0),
        ("M0 0C0 40 40 40 40 0", 0),
        ("M0 0C0 40 40 -40 40 0", 1),  # inside a cubic
        ("M0 0C0 20 20 20 20 0C20 -20 40 -20 40 0", 1),  # across a smooth joint
        ("M0 0C0 20 20 20 20 0C20 20 40 20 40 0", 0),  # a corner begins anew
        ("M0 0C0 20 10 20 20 20L60 20C70 20 80 20 80 40", 1),  # over a straight run
        ("M0 0L10 0L20 .9L30 .9L40 0", 1),  # bent lines: left, right, right
        ("M0 0L10 0L20 0.05L30 0", 0),  # bends too small to see
        ("M0 0C33 1e-4 66 -1e-4 100 0", 0),  # flatter than counts
        ("M0 0C0 20 20 20 20 0C20 -20 0 -20 0 0Z", 0),
        ("M0 0C0 20 20 20 20 0C20 -20 40 -20 40 0C40 30 20 40 0 40C-20 40 -20 60 -20 60C-20 0 0 -20 0 0Z", 3),
    ],
)
def test_inflections(data, inflections):
    assert geometry.inflections([geometry.shape(data)]) == inflections


def test_a_loop_that_begins_on_an_inflection_counts_it():
    eight = "M0 0C20 20 40 20 40 0C40 -20 20 -20 0 0C-20 20 -40 20 -40 0C-40 -20 -20 -20 0 0Z"
    assert geometry.inflections([geometry.shape(eight)]) == 2


def test_length_of_a_circle():
    assert geometry.length([geometry.shape(circle(50, 50, 30))]) == pytest.approx(2 * math.pi * 30, rel=1e-3)


def test_corners_are_where_the_path_turns():
    found = geometry.corners([geometry.shape("M0 0L10 0L10 10C10 15 5 20 0 20")])
    assert sorted(map(tuple, found)) == [(0, 0), (0, 20), (10, 0)]
    assert not len(geometry.corners([geometry.shape(circle(0, 0, 9))]))


def test_points_along_a_path_are_close_together():
    points, ways = geometry.along(geometry.shape(circle(50, 50, 30)).curves, 0.5)
    steps = np.hypot(*np.diff(points, axis=0).T)
    assert steps.max() < 0.55
    assert np.hypot(*ways.T) == pytest.approx(1)
    assert np.abs(((points - 50) * ways).sum(1)).max() < 0.5  # a circle's direction is square to its radius


def fidelity(fills, labels, lines=()):
    return raster.fidelity(document(fills, lines, len(labels)), labels, PALETTE, 2)[0]


def halves(side=64):
    labels = np.full((side, side), 2, np.uint8)
    labels[8:-8, 8:32], labels[8:-8, 32:-8] = 0, 1
    return labels


def test_an_exact_drawing_has_no_faults():
    found = fidelity([("#FF0000", "M8 8H56V56H8Z"), ("#0000FF", "M32 8H56V56H32Z")], halves(), ["M0 0L64 64"])
    assert found == raster.Fidelity(0, 0.0, 0.0, 0.0, 0.0, 0)


def test_a_gap_of_one_pixel_is_found_and_the_outline_is_none():
    found = fidelity([("#FF0000", "M8.5 8.5H31V55.5H8.5Z"), ("#0000FF", "M32 8H56V56H32Z")], halves())
    assert found.gaps == 40  # 48 rows less 4 within reach of the outline at each end


def test_a_hairline_between_two_fills_that_meet_is_a_gap():
    found = fidelity([("#FF0000", "M8 8H31.5V56H8Z"), ("#0000FF", "M31.5 8H56V56H31.5Z")], halves())
    assert found.gaps == 40


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_a_moved_boundary_gives_its_shift(shift):
    found = fidelity([("#FF0000", "M8 8H56V56H8Z"), ("#0000FF", f"M{32 + shift} 8H56V56H{32 + shift}Z")], halves())
    assert found.largest == pytest.approx(shift)
    assert found.stray == pytest.approx(shift)
    assert found.off == pytest.approx(48 * shift / 64**2)
    assert found.gaps == 0


def test_a_lost_speck_counts_by_its_distance_from_any_boundary():
    labels = halves()
    labels[30:33, 20:23] = 1
    found = fidelity([("#FF0000", "M8 8H56V56H8Z"), ("#0000FF", "M32 8H56V56H32Z")], labels)
    assert found.largest == pytest.approx(12)  # its left corners from the outline, x 20 to 8; its right ones are 9 from the middle
    assert found.stray == pytest.approx(2)  # its centre from the red around it


def test_a_face_in_the_wrong_colour_is_a_stray_though_no_boundary_moved():
    found = fidelity([("#0000FF", "M8 8H32V56H8Z"), ("#FF0000", "M32 8H56V56H32Z")], halves())
    assert found.largest == 0
    assert found.stray == pytest.approx(24)
    assert found.strayed == 2 * 48 * (24 - 3)


def test_mixtures_at_an_edge_are_no_shift():
    palette = np.array([[255, 0, 0], [0, 0, 255], [128, 0, 128]], np.uint8)
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:] = 1
    svg = document([("#FF0000", "M0 0H64V64H0Z"), ("#0000FF", "M31.5 0H64V64H31.5Z")])
    found, _ = raster.fidelity(svg, labels, palette, 3)
    assert found.off == pytest.approx(1 / 64)
    assert found.largest <= 1
    assert found.stray <= 1


def test_faults_are_named_by_their_places():
    svg = document([("#FF0000", "M8 8H31.6V56H8Z"), ("#0000FF", "M31.8 8H56V56H31.8Z"), ("#0000FF", "M20 30h1v1h-1z")])
    _, where = raster.fidelity(svg, halves(), PALETTE, 2)
    assert set(where["gaps"][:, 0]) == {31}
    assert where["strays"].tolist() == [[20, 30]]
    assert [20, 30] in where["shifts"].tolist()
