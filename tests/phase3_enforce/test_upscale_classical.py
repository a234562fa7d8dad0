import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt, label

from pipeline.phase3_enforce.fair_arcs import REACH, fair_arcs
from pipeline.phase3_enforce.fill import fill
from pipeline.phase3_enforce.outlines import arcs_of
from pipeline.phase3_enforce.upscale_classical import upscale_labels, upscale_mask

LABELS = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([0, 1, 2, 255]))
SHAPES = [
    np.zeros((1, 1), np.uint8),
    np.indices((9, 9)).sum(0).astype(np.uint8) % 2,  # a checkerboard
    np.pad(np.ones((3, 3), np.uint8), 3),
    np.eye(12, dtype=np.uint8),  # a line that hangs together by corners only
    np.maximum(*np.abs(np.indices((15, 15)) - 7)).astype(np.uint8) % 2,  # rings in rings
]


def drawn(inside, side=128, factor=1):
    at = (np.arange(side * factor) + 0.5) / factor
    return inside(at[None], at[:, None]).astype(np.uint8)


def edges(picture):
    out = np.zeros(picture.shape, bool)
    out[:, :-1] = picture[:, :-1] != picture[:, 1:]
    out[:-1] |= picture[:-1] != picture[1:]
    return out


def furthest(found, truth):
    """The greatest distance of one boundary from the other, both ways, pixels."""
    a, b = edges(found), edges(truth)
    return max(distance_transform_edt(~b)[a].max(), distance_transform_edt(~a)[b].max())


def exactly_as_it_was(labels):
    arcs = arcs_of(labels)
    points, ends = fair_arcs(arcs, labels.shape[1], stiff=0.0)
    assert (points == arcs.points).all()
    return (fill(arcs, points, ends, 1.0, labels.shape[1], labels.shape[0]) == labels).all()


@settings(max_examples=150, deadline=None)
@given(LABELS)
def test_without_fairing_every_pixel_centre_lies_in_its_own_label(labels):
    assert exactly_as_it_was(labels)


@pytest.mark.parametrize("labels", SHAPES)
def test_awkward_pictures_without_fairing(labels):
    assert exactly_as_it_was(labels)


@settings(max_examples=100, deadline=None)
@given(LABELS)
def test_every_crack_lies_in_one_arc_between_two_labels(labels):
    arcs = arcs_of(labels)
    framed = np.pad(labels.astype(int), 1, constant_values=256)
    cracks = np.count_nonzero(np.diff(framed, axis=0)) + np.count_nonzero(np.diff(framed, axis=1))
    assert len(arcs.points) == cracks == arcs.begin[-1]
    assert len({tuple(p) for p in arcs.points.tolist()}) == cracks
    assert (arcs.sides[:, 0] != arcs.sides[:, 1]).all()


@settings(max_examples=100, deadline=None)
@given(LABELS)
def test_no_sample_moves_far_and_the_frame_stays(labels):
    arcs = arcs_of(labels)
    points, _ = fair_arcs(arcs, labels.shape[1])
    moved = np.hypot(*(points - arcs.points).T)
    assert moved.max() <= REACH + 1e-9
    for i in np.flatnonzero((arcs.sides == 256).any(1)):
        assert moved[arcs.begin[i] : arcs.begin[i + 1]].max() == 0


@settings(max_examples=50, deadline=None)
@given(LABELS, st.sampled_from([1.0, 1.5625, 2.6, 4.0]))
def test_enlarging_random_pixels_makes_no_new_label(labels, factor):
    grown = upscale_labels(labels, factor)
    assert grown.shape == (round(labels.shape[0] * factor), round(labels.shape[1] * factor))
    assert set(np.unique(grown)) <= set(np.unique(labels))


def test_a_line_of_small_slope_has_no_stairs():
    half_plane = lambda x, y: y > 40.3 + x / 28  # noqa: E731
    grown = upscale_mask(drawn(half_plane) > 0, 4.0)
    assert furthest(grown[:, 60:-60], drawn(half_plane, factor=4)[:, 60:-60]) <= 1  # stairs: 2


@pytest.mark.parametrize("radius", [9.3, 25.6, 50.1])
def test_a_circle_stays_a_circle(radius):
    circle = lambda x, y: np.hypot(x - 63.7, y - 64.2) < radius  # noqa: E731
    assert furthest(upscale_labels(drawn(circle), 4.0), drawn(circle, factor=4)) <= 3


@pytest.mark.parametrize("turn", [0.0, 0.3, 0.7])
def test_a_corner_stays_sharp(turn):
    """A blur by 1.6 pixels takes 4.9 of 4 · 1 pixels from the tip of a right angle."""
    c, s = np.cos(turn), np.sin(turn)
    square = lambda x, y: np.maximum(np.abs((x - 64) * c + (y - 64) * s), np.abs((y - 64) * c - (x - 64) * s)) < 30.2  # noqa: E731
    grown = upscale_labels(drawn(square), 4.0)
    for u, v in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        tip = 4 * np.array([64 + 30.2 * (u * c - v * s), 64 + 30.2 * (u * s + v * c)])
        y, x = np.nonzero(edges(grown))
        assert np.hypot(x + 1 - tip[0], y + 1 - tip[1]).min() < 3.5


def test_a_thin_ring_stays_whole():
    ring = lambda x, y: np.abs(np.hypot(x - 64, y - 64) - 40) < 1.1  # noqa: E731
    grown = upscale_labels(drawn(ring), 4.0)
    assert label(grown, np.ones((3, 3)))[1] == 1
    assert label(grown == 0)[1] == 2
    truth = drawn(ring, factor=4)
    assert np.count_nonzero((grown == 1) & (truth == 1)) > 0.9 * np.count_nonzero(truth)


def test_wobble_goes():
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.standard_normal(1000), np.hanning(13), "same")[100 : 100 + 128]
    noise *= 0.6 / noise.std()
    line = lambda x, y: y > 64.3 + x / 50  # noqa: E731
    wobbly = (np.arange(128)[:, None] + 0.5 > 64.3 + (np.arange(128)[None] + 0.5) / 50 + noise).astype(np.uint8)
    truth = drawn(line, factor=4)
    pixels = wobbly.repeat(4, 0).repeat(4, 1)
    grown = upscale_labels(wobbly, 4.0)
    assert np.count_nonzero(grown != truth) < 0.8 * np.count_nonzero(pixels != truth)
    assert np.abs(np.diff(grown.sum(0, dtype=int), 2)).sum() < 0.5 * np.abs(np.diff(pixels.sum(0, dtype=int), 2)).sum()


def test_the_answer_does_not_depend_on_the_number_of_threads():
    labels = np.random.default_rng(1).integers(0, 5, (60, 80)).astype(np.uint8).repeat(3, 0).repeat(2, 1)
    before = numba.get_num_threads()
    answers = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        answers.append(upscale_labels(labels, 4.0).tobytes())
    numba.set_num_threads(before)
    assert answers[0] == answers[1]
