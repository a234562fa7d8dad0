"""No gap between neighbours: whatever the label image, once its boundaries are fitted."""

import cv2
import numpy as np
import pytest
import resvg_py
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline.phase3_enforce import regions
from pipeline.phase4_vectorize.patches import gaps, patches
from pipeline.phase4_vectorize.planar import trace_planar
from pipeline.phase4_vectorize.svg import BLACK, write
from tests.phase4_vectorize.test_planar import PALETTE, N, label_image

LEFT, TOP = "M0 0l20 0l0 40l-20 0z", "M20 0l20 0l0 20l-20 0z"
WINDOW = (0, 0, 40, 40)


def blobs(rng, side):
    fields = [sigma * gaussian_filter(rng.standard_normal((side, side)), sigma) for sigma in rng.uniform(1, 18, rng.integers(2, 8))]
    labels = np.argmax(fields, 0).astype(np.uint8)
    if rng.random() < 0.5:
        labels[labels == len(fields) - 1] = N
    return labels


def shapes(rng, side):
    """Thin lines and polygons with sharp tips, one over the other."""
    labels = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(3, 25)):
        corners, label = rng.integers(-10, side + 10, (rng.integers(2, 6), 2)).astype(np.int32), int(rng.integers(0, N))
        if rng.random() < 0.5:
            cv2.polylines(labels, [corners], bool(rng.random() < 0.3), label, int(rng.integers(1, 7)))
        else:
            cv2.fillPoly(labels, [corners], label)
    return labels


def open_pixels(labels, scale):
    """How many pixels of a render at `scale` the fills leave open, more than four of the picture's away from nothing."""
    side = len(labels)
    svg = write(trace_planar(label_image(labels), PALETTE, 2.5).faces, [], PALETTE, BLACK, (0, 0, side, side), side, None, {}).decode()
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side * scale, height=side * scale, skip_system_fonts=True))
    alpha = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)[..., 3]
    clear = cv2.distanceTransform(np.pad(labels != N, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] > 4
    return int(((alpha < 253) & np.kron(clear, np.ones((scale, scale), bool))).sum())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([blobs, shapes]), st.integers(24, 200), st.booleans(), st.integers(0, 2**32 - 1))
def test_fitted_fills_leave_no_gap_at_two_scales(kind, side, merged, seed):
    labels = kind(np.random.default_rng(seed), side)
    if merged:  # as the product's own label images, in which no area is smaller than what is worth drawing
        layers, distance = np.repeat(np.array([0, 1], np.uint8), [N, 1]), np.ones((N + 1, N + 1))
        labels = regions.merge(labels, 24, 1.0, layers, N, distance).key
    assert open_pixels(labels, 1) == 0
    assert open_pixels(labels, 2) == 0


def test_what_is_open_is_found_at_either_scale():
    expected = np.zeros((40, 40), bool)
    expected[20:, 20:] = True
    for scale in (0.5, 1.0, 2.0):
        assert (gaps([LEFT, TOP], WINDOW, np.ones((40, 40), bool), scale) == expected).all()
        assert not gaps([LEFT, TOP], WINDOW, ~expected, scale).any()


@pytest.mark.parametrize(("rank", "place"), [(0, 0), (1, 1)])
def test_a_gap_is_painted_by_the_earliest_face_near_it(rank, place):
    ranks = np.full((40, 40), 1, np.int32)
    ranks[:, :20] = 0
    x = 20 if rank == 0 else 30
    paths = {0: LEFT, 1: f"M{x + 1} 0l{39 - x} 0l0 40l{x - 39} 0z" + (f"M20 0l{x - 20} 0l0 40l{20 - x} 0z" if x > 20 else "")}
    more = patches(paths, ranks, 0, 0)
    assert set(more) == {place}
    mended = [path for number in paths for path in (paths[number], more.get(number, ""))]
    inner = np.zeros((40, 40), bool)
    inner[6:35, 6:35] = True
    assert not gaps(mended, WINDOW, inner, 1.0).any()


def test_where_nothing_is_near_the_outline_is_left_as_it_is():
    ranks = np.full((40, 40), -1, np.int32)
    ranks[:24, :24] = 0
    assert patches({0: "M0 0l20 0l0 20l-20 0z"}, ranks, 0, 0) == {}
