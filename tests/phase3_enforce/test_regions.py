import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from pipeline.phase3_enforce.regions import connected, merge

KEYS = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 3))
FLAT = np.zeros((8, 8))
ONE = np.zeros(8, np.uint8)


@settings(max_examples=200, deadline=None)
@given(KEYS)
def test_regions_are_the_4_connected_areas_of_one_key(key):
    found, count = connected(key)
    truth = sum(label(key == value)[1] for value in np.unique(key))  # scipy's own labelling, one value at a time
    assert count == truth == found.max() + 1
    pairs = {(a, b) for a, b in zip(found.ravel().tolist(), key.ravel().tolist(), strict=True)}
    assert len(pairs) == count


@settings(max_examples=200, deadline=None)
@given(KEYS, st.integers(0, 40))
def test_without_a_limit_no_small_region_is_left(key, least):
    merged = merge(key, least, [key.size], ONE, None, FLAT)
    region, count = connected(merged.key)
    assert merged.regions == count
    assert count == 1 or np.bincount(region.ravel()).min() >= least


@settings(max_examples=200, deadline=None)
@given(KEYS, st.integers(0, 40), st.integers(0, 100))
def test_the_budget_wins_over_the_size(key, least, budget):
    merged = merge(key, least, [budget], ONE, None, FLAT)
    assert np.count_nonzero(merged.key != key) <= budget


@settings(max_examples=100, deadline=None)
@given(KEYS, st.integers(1, 40))
def test_the_frozen_key_neither_grows_nor_shrinks_and_layers_do_not_mix(key, least):
    layer = np.array([0, 0, 1, 1, 0, 0, 0, 0], np.uint8)
    merged = merge(key, least, [key.size] * 2, layer, 3, FLAT)
    assert ((merged.key == 3) == (key == 3)).all()
    assert (layer[merged.key] == layer[key]).all()


def test_a_speck_goes_to_the_neighbour_with_the_longest_boundary():
    key = np.zeros((10, 10), np.uint8)
    key[:, 5:] = 1
    key[4:6, 4:7] = 2  # more of its boundary lies in the right half
    merged = merge(key, 10, [100], ONE, None, FLAT)
    assert (merged.key[4:6, 4:7] == 1).all()


def test_on_equal_length_the_nearest_colour_wins():
    key = np.zeros((4, 6), np.uint8)
    key[:, 3:] = 1
    key[1:3, 2:4] = 2
    distance = np.zeros((8, 8))
    distance[2, 0], distance[2, 1] = 9.0, 1.0
    assert (merge(key, 5, [100], ONE, None, distance).key[1:3, 2:4] == 1).all()


def test_doomed_colours_do_not_survive_by_voting():
    """Two specks side by side must both end in what surrounds them, not in each other."""
    key = np.zeros((12, 12), np.uint8)
    key[5, 5], key[5, 6] = 1, 2
    assert (merge(key, 10, [100], ONE, None, FLAT).key == 0).all()
