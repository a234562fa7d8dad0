import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phase4_vectorize.chains import Chains, crack_graph, trace
from pipeline.phase4_vectorize.curves import fit
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
