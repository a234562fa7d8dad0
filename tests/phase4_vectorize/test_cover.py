import numpy as np

from pipeline.phase4_vectorize.cover import _crossings, _lost

#: A pixel's own outline, the pixel on the right.
PIXEL = np.array([[10.0, 3.0], [11.0, 3.0], [11.0, 4.0], [10.0, 4.0], [10.0, 3.0]])


def test_a_sliver_through_a_pixels_centre_loses_the_pixel():
    """Links that go out and back a hair apart: both sides of the centre seem right."""
    first, crossings = np.array([0, 0, 2, 2]), np.array([[10.45, 1.0], [10.55, -1.0]])
    assert _lost(10.5, 3.5, 3, first, crossings)
    assert not _lost(10.5, 3.5, 3, first, crossings * [1, -1])


def test_a_link_along_a_pixels_middle_loses_the_pixel():
    for y in (3.2, 3.5, 3.8):
        lower, upper = PIXEL[:4].copy(), PIXEL[:4].copy()
        lower[:2, 1], upper[2:, 1] = y, y
        for half in (lower, upper):
            q = np.vstack([half, half[:1]])
            assert _lost(10.5, 3.5, *_crossings(PIXEL, q, 4, True))
    assert not _lost(10.5, 3.5, *_crossings(PIXEL, PIXEL, 4, True))
    around = PIXEL + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    assert not _lost(10.5, 3.5, *_crossings(PIXEL, around, 4, True))
