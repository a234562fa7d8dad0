import re
from itertools import pairwise

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.palette import parse
from pipeline.phase4_vectorize.face_runs import EDGE, FRAME, HIDDEN, boundary_runs
from pipeline.phase4_vectorize.planar import OUTSIDE, key_image, paint_order, trace_planar
from pipeline.phase4_vectorize.planar_map import paint, planar_map
from pipeline.values import Frame, LabelImage

PALETTE = parse("000000,FFFFFF,FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF")
N = len(PALETTE)


def label_image(labels, inside=None, frame=None):
    """`labels` in a square, N where nothing is drawn."""
    side = max(labels.shape)
    square = np.full((side, side), N, np.uint8)
    square[: labels.shape[0], : labels.shape[1]] = labels
    behind = np.zeros_like(square, bool) if inside is None else (square < N) & ~inside
    return LabelImage(
        np.where(behind, square + np.uint8(N + 1), square),
        N,
        np.zeros((8, 8), bool),
        np.zeros((1, 1), np.uint8),
        frame or Frame.fit(side, side, side),
        1,
        0.0,
    )


@st.composite
def pictures(draw, most=64, colors=8):
    """Random label images: noise, blocks and blobs, with and without nothing, vehicle and background."""
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, colors))
    coarse = draw(st.integers(1, 6))
    small = rng.integers(0, count, (-(-height // coarse), -(-width // coarse)))
    labels = np.kron(small, np.ones((coarse, coarse), int))[:height, :width].astype(np.uint8)
    if draw(st.booleans()):
        labels[labels == count - 1] = N
    side = max(height, width)
    inside = rng.random((side, side)) < 0.5 if draw(st.booleans()) else None
    if inside is not None:
        inside &= label_image(labels).labels < N
    return label_image(labels, inside)


def outlines(path):
    """SVG path data of M, l and z alone as polygons."""
    out, at = [], np.zeros(2)
    for command, numbers in re.findall(r"([MlLz])([^MlLz]*)", path):
        values = np.array(re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers), float)
        if command == "M":
            at = values
            out.append([at])
        elif command in "lL":
            at = values if command == "L" else at + values
            out[-1].append(at)
    return [np.array(p) for p in out]


def shown(faces, side):
    """The colour at every pixel's centre, faces painted in order; N where none is."""
    y, x = np.mgrid[:side, :side] + 0.5
    out = np.full((side, side), N, np.uint8)
    for face in faces:
        winding = np.zeros((side, side), int)
        for p in outlines(face.path):
            for (ax, ay), (bx, by) in zip(p, np.roll(p, -1, 0), strict=True):
                if ay == by:
                    continue
                crosses = (ay > y) != (by > y)
                east = ax + (y - ay) * (bx - ax) / (by - ay) > x
                winding += (crosses & east) * (1 if by > ay else -1)
        out[winding != 0] = face.color
    return out


@settings(max_examples=300, deadline=None)
@given(pictures())
def test_every_pixel_centre_lies_in_the_fill_of_its_own_colour(image):
    traced = trace_planar(image, PALETTE, 0.0)
    assert np.array_equal(shown(traced.faces, image.labels.shape[0]), image.labels)


@settings(max_examples=300, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 64), st.integers(1, 64)), elements=st.integers(0, 7)))
def test_faces_cover_the_picture_once_and_every_arc_has_two_sides(key):
    padded = np.pad(key, 1, constant_values=9)
    plan = planar_map(padded)
    face = paint(plan, np.arange(len(plan.key), dtype=np.int32), padded.shape, -1)
    inner = face[1:-1, 1:-1]
    assert (inner >= 0).all()
    assert np.array_equal(plan.key[inner], key)
    regions = cc3d.connected_components(key + 1, connectivity=4)
    pairs = {(a, b) for a, b in zip(inner.ravel().tolist(), regions.ravel().tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert (plan.face[0::2] != plan.face[1::2]).all()
    assert np.array_equal(np.sort(plan.next), np.arange(len(plan.next)))  # each half-edge follows exactly one other
    spots = plan.spot
    assert np.array_equal(plan.key, padded[spots[:, 1], spots[:, 0]])


@settings(max_examples=200, deadline=None)
@given(pictures(most=24))
def test_every_arc_is_drawn_by_one_face(image):
    key, _, _ = key_image(image)
    plan = planar_map(key)
    rank = paint_order(plan, N)
    runs = boundary_runs(plan, rank, plan.key == OUTSIDE, paint(plan, rank, key.shape, -1))
    drawn = []
    for i in range(len(runs)):
        if runs.kind[i] in (EDGE, FRAME):
            p = runs.points[runs.starts[i] : runs.starts[i + 1]].tolist()
            drawn += [tuple(sorted((tuple(a), tuple(b)))) for a, b in pairwise(p)]
    there = {
        tuple(sorted(((x + dx, y + dy), (x + 1, y + 1))))
        for dx, dy, a, b in ((1, 0, key[:, :-1], key[:, 1:]), (0, 1, key[:-1], key[1:]))
        for y, x in np.argwhere((a != b) & ((a != N) & (a != OUTSIDE) | (b != N) & (b != OUTSIDE))).tolist()
    }
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == there
    assert set(np.unique(runs.kind)) <= {EDGE, FRAME, HIDDEN}


def test_nothing_drawn_gives_nothing():
    """The window of an empty picture lies beyond the photo's frame, where there is no crack at all."""
    image = label_image(np.full((64, 64), N, np.uint8), frame=Frame.fit(64, 16, 64))
    key, _, _ = key_image(image)
    plan = planar_map(key)
    assert (paint(plan, np.zeros(1, np.int32), key.shape, -1) == -1).all()
    traced = trace_planar(image, PALETTE, 2.5)
    assert (traced.faces, traced.boundaries, len(traced.cracks)) == ([], [], 0)


@pytest.mark.parametrize(
    "rows",
    [
        (".#####.", "#######", "#######", "#######", "#######", ".#####."),
        (".#####.", "######.", "#######", "#######", "######.", ".#####."),
        (".###.", "#####", "#####", "#####", ".####", "..##."),
    ],
)
def test_a_small_round_face_does_not_vanish(rows):
    """So few samples of its boundary may be fitted by one curve, from a point back to it, around nothing."""
    labels = np.zeros((40, 40), np.uint8)
    labels[16 : 16 + len(rows), 16 : 16 + len(rows[0])] = [[cell == "#" for cell in row] for row in rows]
    for clockwise in (labels, labels[::-1], labels.T):
        (path,) = [face.path for face in trace_planar(label_image(clockwise), PALETTE, 2.5).faces if face.color == 1]
        (outline,) = outlines(path)
        (ax, ay), (bx, by) = outline.T, np.roll(outline, -1, 0).T
        assert abs((ax * by - bx * ay).sum() / 2) == labels.sum()  # the pixels' own outline
