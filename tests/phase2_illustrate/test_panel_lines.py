"""Panel lines on drawings whose lines are known."""

import cv2
import numpy as np
import pytest

from pipeline.phase2_illustrate.panel_lines import hysteresis, panel_lines
from pipeline.phase2_illustrate.strokes import cut, drawn, joined, smoothed, traced

SIDE = 512


def scene(*, seam=True, noise=2.0, seed=0):
    """A panel with a gradient, and one seam: darker, two pixels wide, 300 long."""
    rng = np.random.default_rng(seed)
    light = np.tile(np.linspace(120, 210, SIDE), (SIDE, 1)).astype(np.float32)
    if seam:
        cv2.line(light, (100, 150), (390, 330), 70, 2, cv2.LINE_AA)
    rgb = np.repeat((light + rng.normal(0, noise, light.shape))[..., None], 3, -1)
    return np.clip(rgb, 0, 255).astype(np.uint8), np.ones((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), np.uint8)


def is_one_pixel_wide(ink):
    """No 2×2 block of the mask is full."""
    return not (ink[:-1, :-1] & ink[1:, :-1] & ink[:-1, 1:] & ink[1:, 1:]).any()


def test_a_seam_is_found_once_and_thin():
    ink, edges = panel_lines(*scene())
    assert is_one_pixel_wide(ink)
    count, _, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    assert count == 2
    assert stats[1, cv2.CC_STAT_WIDTH] > 270
    y, x = np.nonzero(ink)
    off = np.abs((x - 100) * 180 - (y - 150) * 290) / np.hypot(180, 290)
    assert off.max() < 2
    assert edges.dtype == np.uint8
    assert edges[ink].mean() > 5 * edges[400:480, 50:200].mean()


def test_an_even_panel_has_no_line():
    assert not panel_lines(*scene(seam=False))[0].any()


def test_a_texture_is_no_line():
    rgb, inside, labels = scene(seam=False)
    for k in range(100, 400, 6):
        cv2.line(rgb, (k, 100), (k, 400), (60, 60, 60), 2)
    ink, _ = panel_lines(rgb, inside, labels)
    assert not ink[130:370, 130:370].any()


def test_no_line_along_a_boundary():
    rgb, inside, labels = scene()
    y, x = np.mgrid[:SIDE, :SIDE]
    labels[(x - 100) * 180 > (y - 150) * 290] = 1
    assert not panel_lines(rgb, inside, labels)[0].any()


def test_a_line_crosses_a_boundary():
    rgb, inside, labels = scene()
    labels[:, 250:] = 1
    ink, _ = panel_lines(rgb, inside, labels)
    assert ink[:, 246:254].any(0).all()


def test_nothing_outside_the_vehicle():
    rgb, inside, labels = scene()
    inside[:, :256] = False
    ink, edges = panel_lines(rgb, inside, labels)
    assert not ink[~inside].any()
    assert not edges[~inside].any()
    assert not panel_lines(rgb, np.zeros_like(inside), labels)[0].any()


def test_same_picture_same_lines():
    first, second = panel_lines(*scene()), panel_lines(*scene())
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_larger_square_same_lines():
    """Lengths are told at a side of 1024: the same scene at twice the side has its seam at the same place."""
    rgb, inside, labels = (cv2.resize(p.astype(np.uint8), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC) for p in scene())
    small, large = panel_lines(*scene())[0], panel_lines(rgb, inside > 0, labels)[0]
    reach = cv2.dilate(cv2.resize(small.astype(np.uint8), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_NEAREST), np.ones((7, 7)))
    assert large.sum() > 1.5 * small.sum()
    assert reach[large].mean() > 0.95


def test_hysteresis_follows_what_hangs_together():
    row = np.array([[0, 2, 2, 5, 2, 0, 2, 2, 0]], np.float32)
    assert hysteresis(row, 1, 4)[0].tolist() == [False, True, True, True, True, False, False, False, False]


def line(x0, y0, x1, y1):
    n = int(max(abs(x1 - x0), abs(y1 - y0))) + 1
    return np.stack([np.linspace(x0, x1, n), np.linspace(y0, y1, n)], -1)


@pytest.mark.parametrize(
    ("second", "pieces"),
    [
        (line(26, 10, 50, 10), 1),  # goes on
        (line(50, 10, 26, 10), 1),  # goes on, told backwards
        (line(45, 10, 60, 10), 2),  # too far
        (line(26, 10, 26, 40), 2),  # turns away
        (line(20, 15, 0, 15), 2),  # runs back beside it
    ],
)
def test_joined(second, pieces):
    paths = joined([line(0, 10, 20, 10), second], gap=12, turn=35)
    assert len(paths) == pieces
    assert sum(len(p) for p in paths) == 21 + len(second)


def test_traced_finds_every_stroke_once():
    mask = np.zeros((40, 60), np.uint8)
    cv2.line(mask, (5, 5), (50, 5), 1)
    cv2.line(mask, (10, 15), (40, 35), 1)
    paths = traced(mask > 0)
    assert sorted(len(p) for p in paths) == [31, 46]


def test_smoothed_takes_stairs_out_and_keeps_ends():
    stairs = np.stack([np.arange(60.0), np.repeat(np.arange(15), 4)], -1)
    straight = smoothed(stairs, 4)
    assert np.abs(straight[0] - stairs[0]).max() < 0.5
    assert np.abs(straight[-1] - stairs[-1]).max() < 0.5
    fit = np.polyfit(straight[:, 0], straight[:, 1], 1)
    assert np.abs(np.polyval(fit, straight[:, 0]) - straight[:, 1]).max() < 0.8


def test_cut_drops_long_stretches_and_ends_only():
    clear = np.ones((5, 100), bool)
    clear[:, :5] = clear[:, 20:25] = clear[:, 50:80] = False
    parts = cut(line(0, 2, 99, 2), clear, 8)
    assert [(p[0, 0], p[-1, 0]) for p in parts] == [(5, 49), (80, 99)]


def test_drawn_is_one_pixel_wide():
    mask = drawn([line(0, 2, 50, 19), line(0, 3, 50, 18)], (20, 60))
    assert mask.any(0).sum() > 45
    assert is_one_pixel_wide(mask)


def test_a_short_dash_is_no_line():
    rgb, inside, labels = scene(seam=False)
    cv2.line(rgb, (100, 100), (103, 101), (60, 60, 60), 2)
    assert not panel_lines(rgb, inside, labels)[0].any()
