"""The IoU of two outlines, and with what a drawing is tried again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.phase2_illustrate.diffusion.agreement import attempt_seed, attempt_weights
from pipeline.raster import mask_iou

masks = arrays(np.bool_, (5, 7))
seeds = st.integers(0, 2**32 - 1)
weights = st.floats(0, 2, allow_nan=False)


@given(masks, masks)
def test_iou_is_symmetric_and_between_nothing_and_one(first, second):
    assert 0 <= mask_iou(first, second) <= 1
    assert mask_iou(first, second) == mask_iou(second, first)


@given(masks)
def test_iou_with_itself_is_one_unless_empty(mask):
    assert mask_iou(mask, mask) == (1.0 if mask.any() else 0.0)


@given(masks, masks)
def test_iou_is_one_only_for_equal_masks(first, second):
    assert (mask_iou(first, second) == 1) == (first.any() and bool((first == second).all()))


def test_iou_of_known_rectangles():
    first, second = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    first[0:4, 0:5] = True
    second[2:6, 0:5] = True
    assert mask_iou(first, second) == 10 / 30


def test_iou_wants_masks_and_not_pictures():
    mask = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="one shape"):
        mask_iou(mask, np.ones((4, 5), bool))
    with pytest.raises(ValueError, match="uint8"):
        mask_iou(mask, np.full((4, 4), 255, np.uint8))


@given(seeds)
def test_the_first_attempt_has_the_jobs_own_seed(seed):
    assert attempt_seed(seed, 0) == seed


@given(seeds, st.integers(0, 5))
def test_every_attempt_has_another_seed_in_range(seed, attempt):
    assert 0 <= attempt_seed(seed, attempt) < 2**32
    assert attempt_seed(seed, attempt) != attempt_seed(seed, attempt + 1)


def test_seeds_stay_the_same_from_release_to_release():
    # First four bytes of sha256, `printf 42:1 | sha256sum`.
    assert [attempt_seed(42, k) for k in range(3)] == [42, 0x03DDF851, 0xCDF56F97]


def test_the_guides_weights_rise_to_their_caps_in_exact_tenths():
    assert [attempt_weights(0.6, 0.4, k) for k in range(5)] == [(0.6, 0.4), (0.7, 0.5), (0.8, 0.6), (0.9, 0.7), (0.9, 0.7)]


@given(weights, weights, st.integers(0, 6))
def test_no_attempt_lowers_a_weight(depth, canny, attempt):
    now, then = attempt_weights(depth, canny, attempt), attempt_weights(depth, canny, attempt + 1)
    assert then[0] >= now[0] >= depth
    assert then[1] >= now[1] >= canny


@given(weights, weights, st.integers(0, 6))
def test_only_the_caller_goes_beyond_the_caps(depth, canny, attempt):
    raised = attempt_weights(depth, canny, attempt)
    assert raised[0] <= max(depth, 0.9)
    assert raised[1] <= max(canny, 0.7)


@given(weights, weights)
def test_the_first_attempt_has_the_callers_own_weights(depth, canny):
    assert attempt_weights(depth, canny, 0) == (depth, canny)
