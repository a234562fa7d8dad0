from itertools import pairwise

import cv2
import numpy as np
import pytest

from pipeline.phase4_vectorize.cover import (
    ACROSS,
    BENEATH,
    _above,
    _around,
    _crossings,
    _depth,
    _free,
    _lost,
    _room,
    _surrounds,
    _thinned,
    cover,
)

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


# --- the kernels, by tables. x goes to the right, y down; a run has its face on its right and the later one on its left.

LATER, OWN, EARLIER = 2, 1, 0


def lost(p, q=None):
    """The pixels of which a sample lies in the loop p, which goes clockwise, and not in the links q."""
    p = np.array([*p, p[0]], float)
    q = np.array(p[:1] if q is None else q, float)  # without links: shrunk to a point
    crossings = _crossings(p, np.vstack([q, q[:1]]), len(q), True)
    return {(x, y) for x in range(-3, 8) for y in range(-3, 8) if _lost(x + 0.5, y + 0.5, *crossings)}


def box(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        # samples lie at 0.1, 0.5 and 0.9 of a pixel, in both directions
        pytest.param(box(0, 0, 1, 1), None, {(0, 0)}, id="a pixel"),
        pytest.param(box(1, 2, 3, 4), None, {(1, 2), (2, 2), (1, 3), (2, 3)}, id="four pixels"),
        pytest.param(box(0, 0, 0.5, 1), None, {(0, 0)}, id="half a pixel: its samples at 0.1"),
        pytest.param(box(0.5, 0, 1, 1), None, {(0, 0)}, id="the other half: those at 0.9"),
        pytest.param(box(0.15, 0, 0.45, 1), None, set(), id="a third between the samples"),
        pytest.param(box(0, 0.55, 1, 0.85), None, set(), id="a third across, between them"),
        pytest.param(box(0.5, 0.5, 1.5, 1.5), None, {(0, 0), (1, 0), (0, 1), (1, 1)}, id="a quarter of four pixels"),
        pytest.param(box(0.95, 0.95, 2.05, 2.05), None, {(1, 1)}, id="a pixel and a twentieth around it"),
        # of the pixels x + y = 2 the samples (0.1, 0.1) and (0.1, 0.5) lie before the long side x + y = 3, of x + y = 3 none
        pytest.param([(0, 0), (3, 0), (0, 3)], None, {(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2)}, id="a triangle"),
        pytest.param([(0, 0), (0.9, 0), (0, 0.9)], None, {(0, 0)}, id="a triangle in one pixel"),
        pytest.param([(0, 0), (0.15, 0), (0, 0.15)], None, set(), id="one in its corner: 0.1 + 0.1 is beyond its long side"),
        pytest.param(box(-2, -1, 1, 1), None, {(-2, -1), (-1, -1), (0, -1), (-2, 0), (-1, 0), (0, 0)}, id="beyond the raster's corner"),
        pytest.param(box(0, 0, 3, 3), box(1, 1, 2, 2), set(np.ndindex(3, 3)) - {(1, 1)}, id="links leave the middle"),
        pytest.param(box(0, 0, 3, 3), box(0, 0, 3, 2), {(0, 2), (1, 2), (2, 2)}, id="links leave a row out"),
        pytest.param(box(0, 0, 3, 3), box(0, 0, 3, 3), set(), id="links along the run"),
        pytest.param(box(0, 0, 3, 3), box(-1, -1, 4, 4), set(), id="links around it"),
        pytest.param(box(0, 0, 3, 3), box(0, 0, 3, 3)[::-1], set(np.ndindex(3, 3)), id="links the wrong way round"),
        pytest.param([(1, 1)], None, set(), id="a point"),
        pytest.param([(0, 0.3), (3, 3.3)], None, set(), id="a line there and back, through no sample"),
    ],
)
def test_a_pixel_is_lost_with_any_of_its_samples(p, q, expected):
    assert lost(p, q) == expected


@pytest.mark.parametrize(
    ("x", "y", "rank", "expected"),
    [
        (0.5, 0.5, 0, False),  # its own rank is not later
        (0.5, 0.5, -1, True),
        (1.0, 0.0, 0, True),  # a pixel begins at its left and upper side
        (0.999, 0.0, 0, False),
        (0.5, 1.0, 1, True),
        (1.5, 1.5, -1, False),  # nothing is painted there
        (2.0, 0.5, -1, False),  # beyond each side of the raster
        (-0.001, 0.5, -1, False),
        (0.5, 2.0, -1, False),
        (0.5, -0.001, -1, False),
    ],
)
def test_what_is_painted_later(x, y, rank, expected):
    assert _above(x, y, rank, np.array([[0, 1], [2, -1]], np.int32)) is expected
    assert not _above(x, y, rank, np.zeros((0, 0), np.int32))


RUN = np.array([[0.0, 3], [1, 3], [2, 3], [3, 3], [4, 3]])  # to the right: the later face above it


@pytest.mark.parametrize(
    ("u", "v", "x", "y", "count"),
    [
        ((0, 1), (4, 1), 2, 2, -1),  # links on the later side lead around it backwards
        ((0, 5), (4, 5), 2, 4, 1),  # on the face's side forwards
        ((0, 1), (4, 1), 2, 4, 0),
        ((0, 1), (4, 1), 5, 2, 0),
        ((0, 1), (4, 1), -1, 2, 0),
        ((0, 1), (4, 5), 1, 2.5, -1),  # across the run: one part on each side of it
        ((0, 1), (4, 5), 3, 3.5, 1),
        ((0, 3), (4, 3), 2, 2.9, 0),  # along the run itself
    ],
)
def test_how_often_links_lead_around_a_place(u, v, x, y, count):
    assert _around(RUN, 0, 3, *map(float, u), *map(float, v), float(x), float(y)) == count


def bands(*rows):
    """A raster, ten pixels wide, of the rank of each of its rows."""
    return np.repeat(np.array(rows, np.int32)[:, None], 10, 1)


@pytest.mark.parametrize(
    ("rows", "across", "deep"),
    [
        # by halves of a pixel, up from the run at y = 3
        ((LATER, LATER, LATER, OWN), False, 3.0),  # to the raster's end
        ((OWN, LATER, LATER, OWN), False, 2.0),
        ((OWN, LATER, LATER, OWN), True, 3.0),  # and over the face itself
        ((EARLIER, LATER, LATER, OWN), True, 2.0),  # never over an earlier one
        ((-1, LATER, LATER, OWN), True, 2.0),  # nor over nothing
        ((LATER, EARLIER, LATER, OWN), False, 1.0),  # what comes after a gap does not count
        ((LATER, LATER, EARLIER, OWN), False, 0.0),
        ((OWN, OWN, OWN, OWN), True, 0.0),  # there is no later face to go beneath
    ],
)
def test_how_deep_the_later_face_is(rows, across, deep):
    assert _depth(RUN, 2, across, OWN, bands(*rows)) == (0.0, -1.0, deep)


@pytest.mark.parametrize(
    ("x", "y", "most", "room"),
    [
        (5, 5, 4, 4.0),
        (5, 5, 5, 3.75),  # 5 reaches the far sides; a quarter less does not
        (1.6, 5, 3, 1.5),  # 3 and 2.25 leave the raster
        (1.4, 5, 3, -1.0),  # and so does half of it
        (11, 5, 4, -1.0),
    ],
)
def test_the_room_around_a_place(x, y, most, room):
    assert _room(float(x), float(y), float(most), OWN, np.full((10, 10), LATER, np.int32)) == room
    assert _room(float(x), float(y), float(most), LATER, np.full((10, 10), LATER, np.int32)) == -1.0


@pytest.mark.parametrize(
    ("spot", "other", "rooms", "clear", "way", "expected"),
    [
        # a link from (2, 10) to (18, 10); one pixel of the raster is no later face
        pytest.param((0, 0), EARLIER, (1, 1), 1, BENEATH, True, id="far away"),
        pytest.param((10, 10), EARLIER, (1, 1), 1, BENEATH, False, id="on the link"),
        pytest.param((10, 11), EARLIER, (1, 1), 0.8, BENEATH, True, id="beside it, just far enough"),
        pytest.param((10, 11), EARLIER, (1, 1), 1, BENEATH, False, id="beside it, too near"),
        pytest.param((10, 7), EARLIER, (2.5, 2.5), 2.5, BENEATH, False, id="on the other side"),
        pytest.param((4, 12), EARLIER, (0, 2.5), 2.5, BENEATH, True, id="near an end that has no room: by 3.1 there it is 1.5"),
        pytest.param((4, 12), EARLIER, (2.5, 0), 2.5, BENEATH, False, id="near an end that has"),
        pytest.param((10, 10), OWN, (1, 1), 1, BENEATH, False, id="over the face itself"),
        pytest.param((10, 10), OWN, (1, 1), 1, ACROSS, True, id="where that is allowed"),
        pytest.param((10, 10), EARLIER, (1, 1), 1, ACROSS, False, id="never over an earlier one"),
    ],
)
def test_where_a_link_may_lie(spot, other, rooms, clear, way, expected):
    ranks = np.full((20, 20), LATER, np.int32)
    ranks[spot[1], spot[0]] = other
    assert _free(2.0, 10.0, 18.0, 10.0, *map(float, rooms), float(clear), way, OWN, ranks) is expected
    assert _free(18.0, 10.0, 2.0, 10.0, *map(float, rooms[::-1]), float(clear), way, OWN, ranks) is expected


@pytest.mark.parametrize(
    ("corners", "slack", "kept"),
    [
        ([(1, 0), (2, 0), (3, 0)], 0.0, [(3, 0)]),  # the way from (0, 0) to the last goes through all
        ([(1, 1), (2, 0)], 0.9, [(1, 1), (2, 0)]),  # the first lies 1 beside that way
        ([(1, 1), (2, 0)], 1.0, [(2, 0)]),
        ([(2, 0), (2, 2)], 0.5, [(2, 0), (2, 2)]),
        ([(5, 0)], 9.0, [(5, 0)]),  # the last stays
        ([], 1.0, []),
    ],
)
def test_corners_that_are_not_needed_are_dropped(corners, slack, kept):
    """What came before them stays, too."""
    out = np.array([(-7, -7), *corners, (99, 99)], float)
    m = _thinned(0.0, 0.0, out, 1, 1 + len(corners), slack)
    assert [tuple(corner) for corner in out[:m].tolist()] == [(-7, -7), *kept]


@pytest.mark.parametrize(
    ("spot", "rank", "expected"),
    [
        ((2, 2), EARLIER, True),  # between the run at y = 3 and the links at y = 1
        ((2, 2), OWN, False),
        ((2, 2), LATER, False),
        ((2, 4), EARLIER, False),
        ((5, 2), EARLIER, False),
        ((2, 0.5), EARLIER, False),
    ],
)
def test_an_earlier_face_between_run_and_links(spot, rank, expected):
    links = np.array([(0.0, 1.0), (4.0, 1.0), (0.0, 0.0)])
    assert _surrounds(RUN, False, links, 2, OWN, np.array([spot], float), np.array([rank], np.int32)) is expected


def covered(corners, ranks, spots):
    """The corners that `cover` puts in place of the loop of those corners, as a list."""
    steps = [np.linspace(a, b, round(np.abs(np.subtract(b, a)).sum()), endpoint=False) for a, b in pairwise([*corners, corners[0]])]
    p = np.vstack([*steps, [corners[0]]]).astype(float)
    out = np.empty((3 * len(p) + 8, 2))
    places, order = np.array([spot for spot, _ in spots], float), np.array([rank for _, rank in spots], np.int32)
    return out[: cover(p, True, OWN, ranks, places, order, 0.7, out)]


def test_a_hole_of_later_faces_alone_vanishes():
    """The face is painted through it; with an earlier face in it, which would be hidden, it stays."""
    hole = box(10, 10, 30, 30)[::-1]  # the face lies around it
    ranks = np.full((40, 40), OWN, np.int32)
    ranks[10:30, 10:30] = LATER
    own = ((5.0, 5.0), OWN)
    assert len(covered(hole, ranks, [own, ((20.5, 20.5), LATER)])) == 0
    ranks[19:22, 19:22] = EARLIER
    corners = covered(hole, ranks, [own, ((12.5, 12.5), LATER), ((20.5, 20.5), EARLIER)])
    assert len(corners) >= 3
    assert all(_above(x, y, OWN, ranks) for x, y in corners)


def test_a_face_on_a_later_one_goes_on_beneath_it():
    """Around a square: few corners, all beneath the later face, and the square within them."""
    ranks = np.full((60, 60), LATER, np.int32)
    ranks[25:35, 25:35] = OWN
    corners = covered(box(25, 25, 35, 35), ranks, [((30.0, 30.0), OWN), ((1.5, 1.5), LATER)])
    assert 3 <= len(corners) <= 8
    assert all(_above(x, y, OWN, ranks) for x, y in corners)
    around = cv2.pointPolygonTest(corners.astype(np.float32), (30.0, 30.0), True)
    assert around > 0
    assert all(cv2.pointPolygonTest(corners.astype(np.float32), (float(x), float(y)), False) > 0 for x, y in box(25, 25, 35, 35))
