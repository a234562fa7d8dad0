"""The canny control picture of a plain car: outline and gaps there, shine and specks not."""

import cv2
import numpy as np
import pytest

from pipeline.phase2_illustrate.diffusion.edges import control_edges, deshined


def car(side, seed=0, paint=150, deep=90):
    """A body on white with a gap of three pixels, `deep` levels darker, a soft reflection and drops, at `side`; lengths as for 1024."""
    k = side / 1024
    rng = np.random.default_rng(seed)
    inside = np.zeros((side, side), np.uint8)
    cv2.rectangle(inside, (int(150 * k), int(300 * k)), (int(850 * k), int(700 * k)), 1, -1)
    light = np.full((side, side), float(paint))
    y, x = np.mgrid[:side, :side] / k
    light += 60 * np.exp(-(((x - 300) / 70) ** 2) - ((y - 420) / 40) ** 2)  # the sky's soft reflection
    for cx, cy in rng.uniform((600, 350), (800, 450), (60, 2)):  # drops
        cv2.circle(light, (int(cx * k), int(cy * k)), max(1, round(2 * k)), float(paint + 40), -1)
    cv2.line(light, (int(500 * k), int(320 * k)), (int(500 * k), int(680 * k)), float(paint - deep), max(1, round(3 * k)))
    light += rng.normal(0, 4, light.shape)
    rgb = np.where(inside[..., None] > 0, light[..., None], 255).clip(0, 255).astype(np.uint8)
    return np.repeat(rgb, 3, axis=2), inside > 0


def part(picture, x0, y0, x1, y1):
    k = len(picture) / 1024
    return picture[int(y0 * k) : int(y1 * k), int(x0 * k) : int(x1 * k)] > 0


@pytest.mark.parametrize("side", [512, 1024, 1536])
def test_gap_and_outline_stay_while_shine_and_drops_go(side):
    rgb, inside = car(side)
    edges = control_edges(rgb, inside)
    assert edges.shape == (side, side)
    assert edges.dtype == np.uint8
    assert set(np.unique(edges)) == {0, 255}
    gap = part(edges, 492, 340, 508, 660)
    assert gap.any(1).mean() > 0.95
    assert not part(edges, 200, 350, 420, 500).any()
    drops = part(edges, 590, 340, 810, 460)
    before = part(cv2.Canny(np.ascontiguousarray(rgb[..., 1]), 100, 200), 590, 340, 810, 460)
    assert drops.sum() < 0.1 * before.sum()


@pytest.mark.parametrize("side", [512, 1024, 1536])
def test_a_shallow_gap_in_the_vehicle_s_own_square_is_whole(side):
    """A sill, a wheel's arch, the lower end of a door: some sixty levels darker than the paint."""
    rgb, inside = car(side, deep=60)
    assert part(control_edges(rgb, inside), 492, 340, 508, 660).any(1).mean() > 0.95


def test_curls_are_shorter_than_gaps():
    rgb = np.full((1024, 1024, 3), 200, np.uint8)
    for k in range(12):  # reflectors of a lamp, mirrored leaves
        cv2.line(rgb, (100 + 30 * k, 100), (106 + 30 * k, 100 + k % 3), (60, 60, 60), 3)
    cv2.line(rgb, (100, 300), (100, 340), (60, 60, 60), 2)
    edges = control_edges(rgb) > 0
    assert not edges[:200].any()
    assert edges[290:350].any(1).sum() >= 40


def test_neither_black_nor_constant_and_mostly_black():
    edges = control_edges(car(1024)[0])
    assert 0.001 < (edges > 0).mean() < 0.1


def test_a_white_vehicle_on_white_still_has_its_outline():
    rgb, inside = car(512, paint=252)
    assert not part(control_edges(rgb), 140, 300, 160, 700).any()
    outlined = part(control_edges(rgb, inside), 140, 310, 160, 690)
    assert (outlined.sum(1) == 1).all()


def test_the_outline_is_drawn_once():
    rgb, inside = car(1024)
    assert (part(control_edges(rgb, inside), 140, 310, 160, 690).sum(1) == 1).all()


@pytest.mark.parametrize("side", [512, 1024])
def test_specks_go_by_their_length_and_not_by_their_contrast(side):
    k = side // 512
    rgb = np.full((side, side, 3), 200, np.uint8)
    cv2.circle(rgb, (128 * k, 256 * k), k, (20, 20, 20), -1)  # a drop
    cv2.rectangle(rgb, (380 * k, 254 * k), (385 * k, 257 * k), (20, 20, 20), -1)  # a small lamp
    edges = control_edges(rgb) > 0
    assert not edges[:, : side // 2].any()
    assert edges[:, side // 2 :].any()


def test_grain_is_smoothed_away_before_the_edges():
    rgb, _ = car(1024)
    flat = np.s_[540:660, 600:800]
    before, after = (np.abs(np.diff(picture[flat].astype(int), axis=1)).mean() for picture in (rgb[..., 0], deshined(rgb)))
    assert after < 0.3 * before


def test_an_empty_picture_has_no_edges():
    assert not control_edges(np.full((128, 128, 3), 255, np.uint8), np.zeros((128, 128), bool)).any()


def test_same_bytes_every_time():
    rgb, inside = car(512)
    assert (control_edges(rgb, inside) == control_edges(rgb.copy(), inside.copy())).all()
