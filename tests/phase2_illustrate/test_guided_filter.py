"""The guided filter against its textbook definition, window by window."""

import numpy as np
import pytest

from pipeline.phase2_illustrate.guided_filter import GuidedFilter, box_mean


def textbook(guide, picture, inside, radius, epsilon):
    """He, Sun, Tang 2010: fit picture ≈ a·guide + b in every window, then average the fits of the windows over a pixel."""
    h, w = picture.shape
    fits = {}
    for y in range(h):
        for x in range(w):
            window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            here = inside[window]
            if not here.any():
                continue
            g, p = guide[window][here].astype(float), picture[window][here].astype(float)
            spread = np.cov(g.T, bias=True) + epsilon * np.eye(3)
            slope = np.linalg.solve(spread, ((g - g.mean(0)) * (p - p.mean())[:, None]).mean(0))
            fits[y, x] = (slope, p.mean() - slope @ g.mean(0))
    answer = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            around = [
                fits[v, u]
                for v in range(max(0, y - radius), min(h, y + radius + 1))
                for u in range(max(0, x - radius), min(w, x + radius + 1))
                if inside[v, u]
            ]
            if inside[y, x]:
                answer[y, x] = np.mean([s @ guide[y, x] + o for s, o in around])
    return answer


@pytest.mark.parametrize(("seed", "radius", "epsilon"), [(0, 1, 1.0), (1, 2, 25.0), (2, 3, 4.0)])
def test_equals_the_definition(seed, radius, epsilon):
    rng = np.random.default_rng(seed)
    guide = rng.uniform(0, 100, (15, 18, 3)).astype(np.float32)
    picture = rng.uniform(0, 60, (15, 18)).astype(np.float32)
    inside = np.ones((15, 18), bool)
    inside[:4, :5] = inside[9:, 14:] = False
    answer = GuidedFilter.of(guide, inside, radius, epsilon)(picture)
    assert np.abs(answer - textbook(guide, picture, inside, radius, epsilon))[inside].max() < 0.05


def test_nothing_bleeds_in_from_outside():
    rng = np.random.default_rng(3)
    guide = rng.uniform(0, 100, (20, 20, 3)).astype(np.float32)
    inside = np.zeros((20, 20), bool)
    inside[:, :10] = True
    picture = np.where(inside, 7, 1000).astype(np.float32)
    assert np.abs(GuidedFilter.of(guide, inside, 3, 4.0)(picture)[inside] - 7).max() < 0.01


def test_keeps_the_guides_edge_and_smooths_beside_it():
    rng = np.random.default_rng(4)
    guide = np.zeros((40, 40, 3), np.float32)
    guide[:, 20:] = 80
    clean = np.where(guide[..., 0] > 0, 50, 10).astype(np.float32)
    answer = GuidedFilter.of(guide, np.ones((40, 40), bool), 4, 16.0)(clean + rng.normal(0, 5, (40, 40)).astype(np.float32))
    assert np.abs(answer - clean)[5:-5, 5:-5].mean() < 1.0
    assert answer[:, 21].mean() - answer[:, 18].mean() > 36


def test_box_mean_counts_beyond_the_frame_as_zero():
    ones = np.ones((5, 5), np.float32)
    assert box_mean(ones, 1)[0, 0] == pytest.approx(4 / 9)
    assert box_mean(ones, 1)[2, 2] == pytest.approx(1)
