"""The bench's true outlines: known shapes, and the sample scene's own mask."""

import numpy as np
import pytest

from bench.vectorize import truth
from pipeline.sample import scene

SIDE = 200


def rasterised(at):
    y, x = np.mgrid[:SIDE, :SIDE]
    return at(np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1)).reshape(SIDE, SIDE)


def disc(points):
    return (np.hypot(points[:, 0] - 100.3, points[:, 1] - 99.1) < 60.7).astype(np.uint8)


def tilted_square(points):
    c, s = np.cos(0.3), np.sin(0.3)
    u, v = c * (points[:, 0] - 100) + s * (points[:, 1] - 100), c * (points[:, 1] - 100) - s * (points[:, 0] - 100)
    return (np.maximum(np.abs(u), np.abs(v)) < 50).astype(np.uint8)


def test_the_outline_of_a_disc_lies_on_its_circle():
    o = truth.outline(rasterised(disc), disc)
    assert o.loops == [True]
    (line,) = o.lines
    assert np.array_equal(line[0], line[-1])
    assert np.abs(np.hypot(*(line - [100.3, 99.1]).T) - 60.7).max() < 0.01
    assert len(o.nodes) == len(o.unsure) == 0
    assert len(truth.true_corners(o)) == 0


def test_distances_from_the_outline():
    o = truth.outline(rasterised(disc), disc)
    angle = np.linspace(0, 7, 500)
    ring = np.stack([100.3 + 61.2 * np.cos(angle), 99.1 + 61.2 * np.sin(angle)], 1)
    assert truth.distances(ring, o.lines) == pytest.approx(0.5, abs=0.02)
    stairs = truth.distances(truth.resampled(o.cracks, 0.25), o.lines)
    assert 0.2 < stairs.mean() < 0.3
    assert stairs.max() < 0.75


def test_the_corners_of_a_square_are_found_where_they_are():
    found = truth.true_corners(truth.outline(rasterised(tilted_square), tilted_square))
    c, s = np.cos(0.3), np.sin(0.3)
    known = [(100 + 50 * (a * c - b * s), 100 + 50 * (a * s + b * c)) for a in (-1, 1) for b in (-1, 1)]
    assert len(found) == 4
    assert max(min(np.hypot(x - u, y - v) for u, v in found) for x, y in known) < 0.3


def rounded_square(points):
    u, v = np.abs(points - 100.2).T
    return (np.hypot(np.maximum(u - 44, 0), np.maximum(v - 44, 0)) < 6).astype(np.uint8)


def narrow_bar(points):
    u, v = np.abs(points - 100.2).T
    return ((u < 70) & (v < 4)).astype(np.uint8)


@pytest.mark.parametrize("shape", [rounded_square, narrow_bar])
def test_bows_and_corners_beside_each_other_do_not_count(shape):
    assert len(truth.true_corners(truth.outline(rasterised(shape), shape))) == 0


def test_nodes_end_the_lines_and_corners_beside_them_do_not_count():
    def halves(points):
        return np.where(tilted_square(points) == 0, 0, np.where(points[:, 0] < 100, 1, 2)).astype(np.uint8)

    o = truth.outline(rasterised(halves), halves)
    assert len(o.nodes) == 2
    assert o.loops == [False] * 3
    ends = np.array([line[k] for line in o.lines for k in (0, -1)])
    assert np.hypot(*(ends[:, None] - o.nodes[None]).transpose(2, 0, 1)).min(1).max() < 1


def test_labels_that_are_not_the_truth_are_unsure():
    labels = rasterised(disc)
    labels[99, 99] = 0
    assert len(truth.outline(labels, disc).unsure) == 4


def test_the_scene_covers_what_the_sample_says():
    known = truth.scene(400)
    image = truth.rasterise(known, 400)
    mask = scene(42, 400, 266).mask[:, :: -1 if known.look.mirrored else 1]
    top = int(image.frame.y0)
    drawn = image.inside[top : top + 266]
    assert np.count_nonzero(drawn & mask) / np.count_nonzero(drawn | mask) > 0.98
    assert set(np.unique(image.labels)) >= {truth.NOTHING, truth.RED, truth.CYAN, truth.GREY, truth.WHITE, truth.YELLOW, truth.BLACK}
