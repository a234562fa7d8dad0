"""Boundaries in gradients become smooth; those on edges of the picture stay, and nothing else changes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.phase2_illustrate.soft_edges import GRID, GUARD, REACH, softened

WIDTH, HEIGHT, UNIT = 240, 160, 1.0
DARK, LIGHT, OTHER, NOTHING = 0, 1, 2, 3
Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def picture(lightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """A grey picture (H, W, 3) CIELAB."""
    return np.dstack([lightness, np.zeros((HEIGHT, WIDTH, 2), np.float32)]).astype(np.float32)


def soften(labels: NDArray[np.uint8], lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    return softened(labels, lab, NOTHING, UNIT)


#: Light falls off from the top to the bottom: 55 in the middle, an L* in three rows.
GRADIENT = picture(55 + (HEIGHT / 2 - Y) / 3)


def heights(labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Rows from the top that are light, in every column."""
    return (labels == LIGHT).sum(0).astype(float)


@pytest.mark.parametrize("period", [24, 40, 64])
def test_a_wiggly_boundary_in_a_gradient_becomes_smooth(period: int) -> None:
    labels = np.where(HEIGHT / 2 + 5 * np.sin(2 * np.pi * X / period) > Y, LIGHT, DARK).astype(np.uint8)
    inner = heights(soften(labels, GRADIENT))[20:-20]
    assert np.ptp(heights(labels)) >= 9
    assert np.ptp(inner) <= 4
    assert abs(inner.mean() - HEIGHT / 2) < 1


@given(st.floats(-0.4, 0.4), st.floats(70, 90))
@settings(max_examples=25, deadline=None)
def test_a_straight_boundary_stays(slope: float, height: float) -> None:
    line = height + slope * (X - WIDTH / 2)
    labels = np.where(line > Y, LIGHT, DARK).astype(np.uint8)
    labels[:, :10] = labels[:, -10:] = NOTHING
    changed = soften(labels, picture(np.clip(55 + (line - Y) / 3, 0, 100))) != labels
    assert (np.abs(line - Y)[changed] <= GRID + 0.5).all()


def test_a_boundary_on_an_edge_stays_as_it_is() -> None:
    labels = np.where(HEIGHT / 2 + 5 * np.sin(X / 6) > Y, LIGHT, DARK).astype(np.uint8)
    for dark, light in ((40, 70), (50, 60)):
        lab = picture(np.where(labels == LIGHT, light, dark).astype(np.float32))
        np.testing.assert_array_equal(soften(labels, lab), labels)


def test_half_a_boundary_on_an_edge_stays_there() -> None:
    labels = np.where(HEIGHT / 2 + 5 * np.sin(X / 6) > Y, LIGHT, DARK).astype(np.uint8)
    sharp = np.where(labels == LIGHT, 70, 40)
    lab = picture(np.where(X < WIDTH / 2, sharp, GRADIENT[..., 0]).astype(np.float32))
    changed = soften(labels, lab) != labels
    assert not changed[:, : WIDTH // 2 - 12].any()
    assert changed[:, WIDTH // 2 + 12 :].sum() > 100


def spotted(radius: float) -> NDArray[np.uint8]:
    """A dark ground with a light island."""
    return np.where(np.hypot(X - WIDTH / 2, Y - HEIGHT / 2) < radius, LIGHT, DARK).astype(np.uint8)


def test_a_small_island_goes_where_the_picture_has_no_edge_and_stays_where_it_has_one() -> None:
    labels = spotted(8)
    assert (soften(labels, picture(np.full((HEIGHT, WIDTH), 55, np.float32))) == DARK).all()
    np.testing.assert_array_equal(soften(labels, picture(np.where(labels == LIGHT, 70, 40).astype(np.float32))), labels)


def test_a_large_island_keeps_most_of_its_area() -> None:
    labels = spotted(60)
    kept = soften(labels, picture(np.full((HEIGHT, WIDTH), 55, np.float32)))
    assert (kept == LIGHT).sum() > 0.8 * (labels == LIGHT).sum()


def test_a_thin_peninsula_goes() -> None:
    labels = np.where(Y < HEIGHT / 2, LIGHT, DARK).astype(np.uint8)
    labels[HEIGHT // 2 : HEIGHT // 2 + 30, 100:106] = LIGHT
    after = soften(labels, picture(np.full((HEIGHT, WIDTH), 55, np.float32)))
    assert (after[HEIGHT // 2 + 6 :] == DARK).all()


def test_a_long_stripe_stays() -> None:
    labels = np.where((np.abs(Y - HEIGHT / 2) < 4) & (np.abs(X - WIDTH / 2) < 80), LIGHT, DARK).astype(np.uint8)
    np.testing.assert_array_equal(soften(labels, picture(np.full((HEIGHT, WIDTH), 55, np.float32))), labels)


def test_smoothing_again_changes_little() -> None:
    random = np.random.default_rng(7)
    noise = cv2.GaussianBlur(random.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), 5)
    labels = np.where(GRADIENT[..., 0] + 40 * noise > 55, LIGHT, DARK).astype(np.uint8)
    once = soften(labels, GRADIENT)
    assert (soften(once, GRADIENT) != once).sum() < (once != labels).sum() / 3


@given(st.integers(0, 2**32 - 1), st.floats(6, 20))
@settings(max_examples=25, deadline=None)
def test_only_pixels_near_a_boundary_change_and_nothing_stays_nothing(seed: int, grain: float) -> None:
    random = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(random.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), grain) for _ in range(4)]
    labels = np.argmax(fields, axis=0).astype(np.uint8)
    lab = picture(np.clip(70 + 200 * fields[0], 0, 100))
    after = soften(labels, lab)
    np.testing.assert_array_equal(after == NOTHING, labels == NOTHING)
    level = cv2.dilate(labels, np.ones((3, 3), np.uint8)) == cv2.erode(labels, np.ones((3, 3), np.uint8))
    away = cv2.distanceTransform(level.astype(np.uint8), cv2.DIST_L2, 5)
    assert (away[after != labels] <= 2 * REACH + 4).all()  # where three labels meet, two boundaries may move one after the other


def test_a_third_label_is_left_alone() -> None:
    labels = np.where(HEIGHT / 2 + 5 * np.sin(X / 6) > Y, LIGHT, DARK).astype(np.uint8)
    band = np.abs(X - WIDTH / 2) < 20
    labels[band] = OTHER
    lab = GRADIENT.copy()
    lab[band, 0] = 100
    after = soften(labels, lab)
    np.testing.assert_array_equal(after == OTHER, labels == OTHER)
    assert not (after != labels)[np.abs(X - WIDTH / 2) < 20 + GUARD - 2].any()
    assert (after != labels).any()


def test_an_empty_picture_and_one_label_stay() -> None:
    for label in (NOTHING, LIGHT):
        labels = np.full((HEIGHT, WIDTH), label, np.uint8)
        np.testing.assert_array_equal(soften(labels, GRADIENT), labels)
