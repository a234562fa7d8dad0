import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phase4_vectorize.chains import Chains, crack_graph, trace
from pipeline.phase4_vectorize.curves import (
    SEEN,
    WAVER,
    _fit,
    _Joined,
    _meeting,
    _side,
    _tangents,
    _wavering,
    _width,
    _wrapped,
    fit,
)
from pipeline.phase4_vectorize.fair_curves import SHARP, STEP, SUDDEN, WAVELENGTH, WINDOW, fair, find_corners, resampled


def chain(points):
    p = np.asarray(points, float)
    return Chains(p, np.array([0, len(p)]))


def fitted(chains, tolerance=2.0):
    ends = chains.points[chains.starts[:-1]], chains.points[chains.starts[1:] - 1]
    return fit(chains, tolerance, (ends[0] == ends[1]).all(1))


def sampled(curves, n=60):
    t = np.linspace(0, 1, n)[:, None, None]
    c = curves.reshape(-1, 4, 2)
    return ((1 - t) ** 3 * c[:, 0] + 3 * (1 - t) ** 2 * t * c[:, 1] + 3 * (1 - t) * t**2 * c[:, 2] + t**3 * c[:, 3]).reshape(-1, 2)


def apart(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1).min(1).max()


def shape(mask):
    return trace(crack_graph(mask.astype(np.uint8)))


@pytest.mark.parametrize(("radius", "most"), [(12, 4), (40, 4), (150, 6)])
def test_a_disc_needs_few_curves_and_keeps_its_place(radius, most):
    y, x = np.mgrid[:400, :400] + 0.5
    (curves,) = fitted(shape(np.hypot(x - 200, y - 200) < radius))
    assert len(curves) <= most
    off = np.hypot(*(sampled(curves) - 200).T) - radius
    assert np.abs(off).max() < 0.6
    assert abs(off.mean()) < 0.15  # nearer than the pixels' own quarter: no shrinking
    assert (curves[0, :2] == curves[-1, 6:]).all()


@pytest.mark.parametrize("degrees", [0, 7, 30])
def test_a_rectangle_keeps_its_four_corners_and_straight_sides(degrees):
    y, x = np.mgrid[:400, :400] + 0.5
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u, v = (x - 200) * c + (y - 200) * s, (y - 200) * c - (x - 200) * s
    (curves,) = fitted(shape((np.abs(u) < 120) & (np.abs(v) < 60)))
    corners = np.array([[200 + a * c - b * s, 200 + a * s + b * c] for a, b in ((120, 60), (-120, 60), (-120, -60), (120, -60))])
    assert len(curves) == 4
    assert apart(corners, curves[:, :2]) < 1.0
    inward = np.minimum(120 - np.abs((sampled(curves) - 200) @ [c, s]), 60 - np.abs((sampled(curves) - 200) @ [-s, c]))
    assert np.abs(inward).max() < 0.8


def test_a_straight_edge_with_wobble_becomes_one_stroke():
    x = np.arange(0.0, 600.0)
    p = np.c_[x, 100 + 0.05 * x + 0.4 * np.sin(x / 5)]
    (curves,) = fitted(chain(p))
    assert len(curves) <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1, 4))
def test_the_fit_stays_within_its_tolerance_of_the_points(seed, tolerance):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 2 * math.pi, 500)
    radius = 80 + sum(rng.normal() * 12 / k * np.sin(k * t + rng.uniform(0, 6)) for k in range(2, 6))
    p = np.c_[120 + radius * np.cos(t), 120 + radius * np.sin(t)]
    p[-1] = p[0]
    (curves,) = fitted(chain(p), tolerance)
    assert apart(p, sampled(curves, 200)) < tolerance * 1.25 + 0.5
    assert np.array_equal(curves[1:, :2], curves[:-1, 6:])  # connected
    assert np.array_equal(curves[0, :2], curves[-1, 6:])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=30), st.booleans())
def test_any_polyline_gives_finite_connected_curves(points, fixed):
    p = [a for a, b in zip(points, [None, *points], strict=False) if a != b]
    if len(p) < 2:
        return
    closed = len(p) > 2 and p[0] == p[-1]
    (curves,) = fit(chain(p), 1.0, np.array([closed]), fixed)
    assert len(curves)
    assert np.isfinite(curves).all()
    assert np.array_equal(curves[1:, :2], curves[:-1, 6:])
    if fixed and not closed:
        assert (curves[0, :2] == p[0]).all()
        assert (curves[-1, 6:] == p[-1]).all()


@pytest.mark.parametrize("angle", [60, 90, 120])
def test_corners_are_found_where_they_are(angle):
    a = np.c_[np.linspace(0, 60, 61), np.zeros(61)]
    d = math.radians(angle)
    b = np.c_[60 + np.cos(d) * np.arange(1, 61), np.sin(d) * np.arange(1, 61)]
    corner = find_corners(np.r_[a, b], False, WINDOW, SHARP, SUDDEN)
    assert np.flatnonzero(corner).tolist() == [60]


def test_a_round_turn_is_no_corner():
    t = np.linspace(0, math.pi, 60)
    p = np.r_[
        np.c_[np.arange(-100.0, 0, 2), np.full(50, -20)],
        np.c_[20 * np.sin(t), -20 * np.cos(t)],
        np.c_[np.arange(-2.0, -100, -2), np.full(49, 20)],
    ]
    assert not find_corners(resampled(p, STEP), False, WINDOW, SHARP, SUDDEN).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 400), st.floats(0.3, 3))
def test_a_fair_chain_stays_near_its_samples(seed, n, limit):
    rng = np.random.default_rng(seed)
    way = np.cumsum(rng.normal(0, 0.02, n))
    x = np.cumsum(2 * np.c_[np.cos(way), np.sin(way)], axis=0) + rng.uniform(-0.4, 0.4, (n, 2)) * limit
    z = fair(x, np.full(n, limit), WAVELENGTH)
    assert np.isfinite(z).all()
    assert np.linalg.norm(z - x, axis=1).max() < 1.5 * limit


def test_fairing_leaves_a_parabola_alone():
    s = np.arange(200.0)
    p = np.c_[2 * s, 0.003 * s**2]
    assert np.abs(fair(p, np.full(200, 1.0), WAVELENGTH) - p).max() < 0.001


def test_nothing_gives_nothing():
    assert fit(Chains(np.empty((0, 2)), np.zeros(1, np.int64)), 1.0, np.zeros(0, bool)) == []


# --- the kernels, by tables

DIAGONAL = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("z", "looped", "expected"),
    [
        pytest.param([(3, 4)], False, [(1, 0)], id="one point has no direction: to the right"),
        pytest.param([(3, 4), (3, 4), (3, 4)], False, [(1, 0)] * 3, id="nor has the same one again"),
        pytest.param([(0, 0), (3, 4)], False, [(0.6, 0.8)] * 2, id="two points"),
        pytest.param([(0, 0), (2, 0), (4, 0)], False, [(1, 0)] * 3, id="a line"),
        pytest.param([(4, 1), (2, 1), (0, 1)], False, [(-1, 0)] * 3, id="back"),
        # y = x²: the slope 2x is 0, 2 and 4, at the ends as well
        pytest.param([(0, 0), (1, 1), (2, 4)], False, [(1, 0), (5**-0.5, 2 * 5**-0.5), (17**-0.5, 4 * 17**-0.5)], id="a parabola"),
        pytest.param([(4, 2), (1, 1), (0, 0)], False, [(-4 * 17**-0.5, -(17**-0.5)), None, (0, -1)], id="x = y², backwards"),
        pytest.param([(0, 0), (1, 1), (4, 2)], False, [(0, 1), None, (4 * 17**-0.5, 17**-0.5)], id="x = y²"),
        pytest.param([(0, 0), (2, 0), (2, 2)], False, [None, (DIAGONAL, DIAGONAL), None], id="a right angle's middle"),
        pytest.param(
            [(0, 0), (2, 0), (2, 2), (0, 2), (0, 0)],
            True,
            [(DIAGONAL, -DIAGONAL), (DIAGONAL, DIAGONAL), (-DIAGONAL, DIAGONAL), (-DIAGONAL, -DIAGONAL), (DIAGONAL, -DIAGONAL)],
            id="around a square, the same at both ends",
        ),
        pytest.param(
            [(2, 0), (2, 2), (0, 2), (0, 0), (2, 0)],
            True,
            [(DIAGONAL, DIAGONAL), None, None, None, (DIAGONAL, DIAGONAL)],
            id="from its next corner on",
        ),
    ],
)
def test_tangents(z, looped, expected):
    found = _tangents(np.array(z, float), looped)
    for tangent, wanted in zip(found.tolist(), expected, strict=True):
        assert wanted is None or tangent == pytest.approx(wanted, abs=1e-12)


def arc(radius, degrees, n):
    """n samples of a circle around the origin, from (radius, 0) on, and their tangents."""
    a = np.radians(np.linspace(0, degrees, n))
    return radius * np.c_[np.cos(a), np.sin(a)], np.c_[-np.sin(a), np.cos(a)]


def one(z, head, tail, limit):
    """The one cubic along all of z, and its cost."""
    c, u, at = np.empty((4, 2)), np.empty(SEEN), np.empty(SEEN, np.int64)
    z = np.array(z, float)
    cost = _fit(z, 0, len(z) - 1, np.array([*z[0], *head], float), np.array([*z[-1], *tail], float), limit, c, u, at)
    return cost, c


LINE = [(2.0 * i, 0.0) for i in range(9)]


@pytest.mark.parametrize(
    ("z", "tangent", "handles"),
    [
        pytest.param(LINE, (1, 0), [(16 / 3, 0), (32 / 3, 0)], id="a line, in thirds"),
        pytest.param([(0, 0), (3, 0)], (1, 0), [(1, 0), (2, 0)], id="two samples: nothing between them to fit"),
        pytest.param([(0, 0), (6, 6)], (DIAGONAL, DIAGONAL), [(2, 2), (4, 4)], id="two samples aslant"),
        pytest.param([(1, 1), (1, 1)], (1, 0), [(1, 1), (1, 1)], id="the same sample twice"),
        pytest.param([(0, 0), (0, 0), (4, 0), (4, 0), (4, 0), (8, 0)], (1, 0), None, id="a line whose samples come twice"),
    ],
)
def test_one_cubic_along_a_line(z, tangent, handles):
    cost, c = one(z, tangent, tangent, 0.01)
    assert cost == pytest.approx(0, abs=1e-9)
    assert tuple(c[0]) == tuple(z[0]) and tuple(c[3]) == tuple(z[-1])
    assert handles is None or c[1:3].tolist() == [pytest.approx(handle, abs=1e-6) for handle in handles]
    assert np.abs(c @ [tangent[1], -tangent[0]] - np.dot(z[0], [tangent[1], -tangent[0]])).max() < 1e-9  # on the line, all four


@pytest.mark.parametrize("degrees", [30, 60, 90])
@pytest.mark.parametrize("radius", [10, 40, 300])
def test_one_cubic_along_a_part_of_a_circle(radius, degrees):
    """The handles of the textbook: 4/3 tan(a/4) of the radius, 0.5523 for a quarter; so near in a fit of all samples."""
    z, t = arc(radius, degrees, max(5, round(radius * math.radians(degrees) / STEP) + 1))
    cost, c = one(z, t[0], t[-1], 0.002 * radius)
    handle = 4 / 3 * math.tan(math.radians(degrees) / 4) * radius
    assert np.linalg.norm(c[1] - c[0]) == pytest.approx(handle, rel=0.02) == np.linalg.norm(c[2] - c[3])
    assert np.abs(np.hypot(*sampled(c.reshape(1, 8)).T) - radius).max() < 0.001 * radius
    assert cost < len(z) * (0.001 * radius) ** 2


@pytest.mark.parametrize(
    ("off", "limit", "possible"), [(0.0, 0.1, True), (1.0, 0.1, False), (1.0, 2.0, True), (1.0, 0.9, False), (0.5, 0.3, False)]
)
def test_a_sample_that_is_too_far_forbids_a_cubic(off, limit, possible):
    """Samples to both sides of a line in turn: no cubic follows them."""
    z = [(x, off * (-1) ** i * (0 < i < 8)) for i, (x, _) in enumerate(LINE)]
    cost, _ = one(z, (1, 0), (1, 0), limit)
    assert bool(cost < np.inf) is possible


@pytest.mark.parametrize(
    ("c", "sides"),
    [
        ([(0, 0), (1, 0), (2, 0), (3, 0)], (0, 0)),
        ([(0, 0), (1, 0), (2, 1), (2, 2)], (1, 1)),  # to the right on the screen, where y goes down
        ([(0, 0), (1, 0), (2, -1), (2, -2)], (-1, -1)),
        ([(0, 0), (1, 0), (2, 1), (3, 1)], (1, -1)),
        ([(0, 0), (1, 0), (2, math.tan(math.radians(0.4))), (3, 2 * math.tan(math.radians(0.4)))], (0, 0)),  # below half a degree: nowhere
        ([(0, 0), (1, 0), (2, math.tan(math.radians(0.6))), (3, 2 * math.tan(math.radians(0.6)))], (1, 0)),
        ([(0, 0), (0, 0), (0, 0), (0, 0)], (0, 0)),
    ],
)
def test_to_which_side_a_curve_bends(c, sides):
    assert (_side(np.array(c, float), 1), _side(np.array(c, float), 2)) == sides


@pytest.mark.parametrize(
    ("sides", "first", "last", "changes"),
    [
        ([(1, 1), (1, 1)], 0, 2, 0),
        ([(1, -1)], 0, 1, 1),
        ([(1, 1), (-1, -1)], 0, 2, 1),
        ([(1, 0), (0, 0), (0, -1)], 0, 3, 1),  # what is straight between two bends changes nothing
        ([(1, 0), (0, 0), (0, 1)], 0, 3, 0),
        ([(1, -1), (1, -1)], 0, 2, 3),
        ([(1, -1), (1, -1)], 1, 2, 1),  # of the second curve alone
        ([(1, -1), (1, -1)], 1, 1, 0),
        ([(0, 0)], 0, 1, 0),
    ],
)
def test_what_wavering_costs(sides, first, last, changes):
    none, few = np.empty((0, 2)), np.empty(0, np.int64)
    w = _Joined(none, np.empty(0), few, np.empty((0, 4)), np.array(sides, np.int64), none, np.empty(0), few)
    assert _wavering(w, first, last) == WAVER * changes


@pytest.mark.parametrize(
    ("x", "most", "wide"),
    [
        ([(0, 5), (2, 5), (4, 5)], 9, 3.0),  # looked for below: rows 6 and 7 are the face at 1 and 2, row 8 at 3 is not
        ([(0, 5), (2, 5), (4, 5)], 2, 2.0),
        ([(0, 7), (2, 7), (4, 7)], 9, 1.0),  # row 8 at 1 is not
        ([(4, 8), (2, 8), (0, 8)], 9, 4.0),  # the other way it lies above: rows 7, 6 and 5 are, row 4 at 4 is not
        ([(0, 2), (2, 2), (4, 2)], 9, 1.0),  # none of it: never below a pixel
        ([(9, 5), (9, 6), (9, 7)], 9, 9.0),  # downwards it lies to the left on the screen, all of ten columns
        ([(3, 5), (3, 5), (3, 5)], 9, 9.0),  # without a direction there is no side
    ],
)
def test_how_wide_a_face_is(x, most, wide):
    ranks = np.zeros((12, 10), np.int32)
    ranks[5:8] = 1
    assert _width(np.array(x, float), 1, float(most), 1, ranks) == wide


@pytest.mark.parametrize(
    ("by", "expected"),
    [(0, [0, 1, 2, 0]), (1, [2, 0, 1, 2, 0, 1]), (2, [1, 2, 0, 1, 2, 0, 1, 2]), (3, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])],
)
def test_a_loop_goes_on_at_both_ends(by, expected):
    x = np.array([(0, 10), (1, 11), (2, 12), (0, 10)], float)
    assert _wrapped(x, by).tolist() == [[v, v + 10] for v in expected]


@pytest.mark.parametrize(
    ("p", "t", "q", "s", "near", "tip"),
    [
        ((8, 0), (1, 0), (10, 2), (0, 1), (9, 0.5), (10, 0)),  # a right angle, its tip beyond both ends
        ((12, 0), (1, 0), (10, -2), (0, 1), (10, 0), (10, 0)),  # or before them
        ((0, 0), (0.6, 0.8), (6, 4), (1, 0), (3, 4), (3, 4)),
        ((8, 0), (1, 0), (10, 2), (0, 1), (10, 2.6), (10, 2.6)),  # 2.6 from the sample: it is not that corner's
        ((8, 0), (1, 0), (10, 2), (0, 1), (10, 2.4), (10, 0)),  # 2.4 may be
        ((0, 0), (1, 0), (4, 0.3), (0.995, 0.0999), (2, 0), (2, 0)),  # nearly the same direction: they meet anywhere
        ((0, 0), (1, 0), (4, 1), (1, 0), (2, 0.5), (2, 0.5)),  # the same: nowhere
    ],
)
def test_where_two_pieces_meet(p, t, q, s, near, tip):
    one_each = (np.array([v], float) for v in (p, t, q, s))
    assert _meeting(*one_each, np.array(near, float)) == pytest.approx(tip, abs=1e-9)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([(3, 4)], [[3, 4] * 4], id="one point"),
        pytest.param([(3, 4), (3, 4)], [[3, 4] * 4], id="the same twice"),
        pytest.param([(0, 0), (3, 6)], [[0, 0, 1, 2, 2, 4, 3, 6]], id="two points"),
        pytest.param([(x, 7) for x in range(61)], [[0, 7, 20, 7, 40, 7, 60, 7]], id="a line, in thirds"),
        pytest.param([(-y, y) for y in range(61)], [[0, 0, -20, 20, -40, 40, -60, 60]], id="a line aslant"),
        pytest.param([(0, 0), (0, 0), (5, 0), (5, 0), (5, 0), (30, 0)], [[0, 0, 10, 0, 20, 0, 30, 0]], id="a line whose points come twice"),
    ],
)
def test_what_is_straight_is_one_curve_with_its_handles_in_thirds(points, expected):
    (curves,) = fit(chain(points), 1.0, np.array([False]))
    assert curves.tolist() == [pytest.approx(curve, abs=1e-3) for curve in expected]


def test_a_right_angle_is_two_curves_and_a_quarter_of_a_circle_one():
    (corner,) = fit(chain([(x, 0) for x in range(61)] + [(60, y) for y in range(1, 61)]), 1.0, np.array([False]))
    assert len(corner) == 2
    assert corner[0, :2].tolist() == [0, 0] and corner[1, 6:].tolist() == [60, 60]
    assert corner[0, 6:].tolist() == corner[1, :2].tolist() == pytest.approx([60, 0], abs=0.2)
    assert np.abs(sampled(corner[:1])[:, 1]).max() < 0.2 and np.abs(sampled(corner[1:])[:, 0] - 60).max() < 0.2
    (quarter,) = fit(chain(arc(60, 90, 95)[0]), 1.0, np.array([False]))
    assert len(quarter) == 1
    assert quarter[0] == pytest.approx([60, 0, 60, 33.1, 33.1, 60, 0, 60], abs=1.0)  # 0.5523 * 60 = 33.1
    assert np.abs(np.hypot(*sampled(quarter).T) - 60).max() < 0.3
