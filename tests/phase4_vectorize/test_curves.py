import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phase4_vectorize.chains import Chains, crack_graph, trace
from pipeline.phase4_vectorize.curves import find_corners, fit


def chain(points):
    p = np.asarray(points, float)
    return Chains(p, np.array([0, len(p)]))


def sampled(curves, n=60):
    t = np.linspace(0, 1, n)[:, None, None]
    c = curves.reshape(-1, 4, 2)
    return ((1 - t) ** 3 * c[:, 0] + 3 * (1 - t) ** 2 * t * c[:, 1] + 3 * (1 - t) * t**2 * c[:, 2] + t**3 * c[:, 3]).reshape(-1, 2)


def apart(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1).min(1).max()


def shape(mask):
    return trace(crack_graph(mask.astype(np.uint8)))


def test_a_disc_needs_few_curves_and_keeps_its_place():
    y, x = np.mgrid[:400, :400] + 0.5
    chains = shape(np.hypot(x - 200, y - 200) < 150)
    (curves,) = fit(chains, 1.5)
    assert len(curves) <= 12
    assert np.abs(np.hypot(*(sampled(curves) - 200).T) - 150).max() < 1.8
    assert (curves[0, :2] == curves[-1, 6:]).all()


def test_a_square_keeps_its_four_corners():
    chains = shape(np.pad(np.ones((200, 200), bool), 40))
    (curves,) = fit(chains, 1.5)
    corners = np.array([[40, 40], [240, 40], [240, 240], [40, 240]], float)
    assert apart(corners, curves[:, :2]) == 0
    assert len(curves) == 4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4))
def test_the_fit_stays_within_its_tolerance_of_the_points(seed, tolerance):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 2 * math.pi, 500)
    radius = 80 + sum(rng.normal() * 12 / k * np.sin(k * t + rng.uniform(0, 6)) for k in range(2, 6))
    p = np.c_[120 + radius * np.cos(t), 120 + radius * np.sin(t)]
    (curves,) = fit(chain(p), tolerance)
    assert apart(p, sampled(curves, 200)) < tolerance * 1.25 + 0.5
    assert np.array_equal(curves[1:, :2], curves[:-1, 6:])  # connected
    assert np.array_equal(curves[0, :2], p[0])
    assert np.array_equal(curves[-1, 6:], p[-1])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=30))
def test_any_polyline_gives_finite_connected_curves(points):
    p = [a for a, b in zip(points, [None, *points], strict=False) if a != b]
    if len(p) < 2:
        return
    (curves,) = fit(chain(p), 1.0)
    assert np.isfinite(curves).all()
    assert np.array_equal(curves[1:, :2], curves[:-1, 6:])


@pytest.mark.parametrize("angle", [60, 90, 120])
def test_corners_are_found_where_they_are(angle):
    a = np.c_[np.linspace(0, 60, 61), np.zeros(61)]
    d = math.radians(angle)
    b = np.c_[60 + np.cos(d) * np.arange(1, 61), np.sin(d) * np.arange(1, 61)]
    corner = find_corners(np.r_[a, b], False, 8, math.radians(48))
    assert np.flatnonzero(corner).tolist() == [60]


def test_nothing_gives_nothing():
    assert fit(Chains(np.empty((0, 2)), np.zeros(1, np.int64)), 1.0) == []
