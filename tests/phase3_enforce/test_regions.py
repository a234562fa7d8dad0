import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from pipeline.phase3_enforce.label_runs import regions_of
from pipeline.phase3_enforce.regions import merge

KEYS = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 3))
FLAT = np.zeros((8, 8))
ONE = np.zeros(8, np.uint8)


def areas(key):
    """The 4-connected areas by scipy, one value at a time: (H, W) numbered from 0, count."""
    found, count = np.zeros(key.shape, int), 0
    for value in np.unique(key):
        part, n = label(key == value)
        found[part > 0] = part[part > 0] - 1 + count
        count += n
    return found, count


@settings(max_examples=200, deadline=None)
@given(KEYS)
def test_regions_are_the_4_connected_areas_of_one_key(key):
    regions, (truth, count) = regions_of(key), areas(key)
    assert len(regions) == count
    number = regions.paint(np.arange(count, dtype=np.uint8)) if count < 256 else None
    if number is not None:
        assert len({*zip(number.ravel().tolist(), truth.ravel().tolist(), strict=True)}) == count
        firsts = [int(np.flatnonzero(number.ravel() == i)[0]) for i in range(count)]
        assert firsts == sorted(firsts)
        assert regions.area.tolist() == np.bincount(number.ravel()).tolist()
    assert (regions.paint(regions.key) == key).all()


@settings(max_examples=200, deadline=None)
@given(KEYS)
def test_shared_boundaries_are_counted_pixel_by_pixel(key):
    truth, _ = areas(key)
    pairs = [(truth[:, :-1], truth[:, 1:]), (truth[:-1], truth[1:])]
    expected = {}
    for a, b in (p for first, second in pairs for p in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)):
        if a != b:
            expected[frozenset((a, b))] = expected.get(frozenset((a, b)), 0) + 1
    regions = regions_of(key)
    assert sorted(regions.length.tolist()) == sorted(expected.values())
    assert all(a < b for a, b in regions.pairs.tolist())
    degree = np.bincount(regions.pairs.ravel(), weights=np.repeat(regions.length, 2), minlength=len(regions))
    assert sorted(degree) == sorted(sum(v for k, v in expected.items() if i in k) for i in range(len(regions)))


def test_the_answer_does_not_depend_on_the_number_of_threads():
    key = np.random.default_rng(0).integers(0, 4, (300, 200)).astype(np.uint8).repeat(3, 0)
    before = numba.get_num_threads()
    answers = []
    for threads in (1, max(1, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        answers.append(merge(key, 50, 0.2, ONE, None, FLAT))
    numba.set_num_threads(before)
    assert answers[0].key.tobytes() == answers[1].key.tobytes()
    assert answers[0].changed == answers[1].changed


@settings(max_examples=200, deadline=None)
@given(KEYS, st.integers(0, 40))
def test_without_a_limit_no_small_region_is_left(key, least):
    merged = merge(key, least, 1.0, ONE, None, FLAT)
    region, count = areas(merged.key)
    assert merged.regions == count
    assert count == 1 or np.bincount(region.ravel()).min() >= least


@settings(max_examples=200, deadline=None)
@given(KEYS, st.integers(0, 40), st.floats(0, 1))
def test_the_budget_wins_over_the_size_and_the_fraction_is_exact(key, least, budget):
    merged = merge(key, least, budget, ONE, None, FLAT)
    changed = np.count_nonzero(merged.key != key)
    assert changed <= budget * key.size
    assert merged.changed[0] == pytest.approx(changed / key.size)


@settings(max_examples=100, deadline=None)
@given(KEYS, st.integers(1, 40))
def test_the_frozen_key_neither_grows_nor_shrinks_and_layers_do_not_mix(key, least):
    layer = np.array([0, 0, 1, 1, 0, 0, 0, 0], np.uint8)
    merged = merge(key, least, 1.0, layer, 3, FLAT)
    assert ((merged.key == 3) == (key == 3)).all()
    assert (layer[merged.key] == layer[key]).all()


def test_a_speck_goes_to_the_neighbour_with_the_longest_boundary():
    key = np.zeros((10, 10), np.uint8)
    key[:, 5:] = 1
    key[4:6, 4:7] = 2  # more of its boundary lies in the right half
    merged = merge(key, 10, 1.0, ONE, None, FLAT)
    assert (merged.key[4:6, 4:7] == 1).all()


def test_on_equal_length_the_nearest_colour_wins():
    key = np.zeros((4, 6), np.uint8)
    key[:, 3:] = 1
    key[1:3, 2:4] = 2
    distance = np.zeros((8, 8))
    distance[2, 0], distance[2, 1] = 9.0, 1.0
    assert (merge(key, 5, 1.0, ONE, None, distance).key[1:3, 2:4] == 1).all()


def test_on_equal_length_and_colour_the_earlier_in_reading_order_wins():
    key = np.zeros((4, 6), np.uint8)
    key[:, 3:] = 1
    key[1:3, 2:4] = 2
    assert (merge(key, 5, 1.0, ONE, None, FLAT).key[1:3, 2:4] == 0).all()
    assert (merge(key[:, ::-1].copy(), 5, 1.0, ONE, None, FLAT).key[1:3, 2:4] == 1).all()


def test_neighbours_that_come_to_have_one_colour_become_one_region():
    """Two halves too small for themselves are one large region once the line between them has gone to them."""
    key = np.zeros((12, 13), np.uint8)
    key[:, 6] = 1
    merged = merge(key, 100, 1.0, ONE, None, FLAT)
    assert merged.regions == 1
    assert (merged.key == 0).all()
    assert merged.changed == (12 / key.size,)


def test_doomed_colours_do_not_survive_by_voting():
    """Two specks side by side must both end in what surrounds them, not in each other."""
    key = np.zeros((12, 12), np.uint8)
    key[5, 5], key[5, 6] = 1, 2
    assert (merge(key, 10, 1.0, ONE, None, FLAT).key == 0).all()
