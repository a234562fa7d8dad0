from itertools import pairwise

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.phase4_vectorize.chains import Chains, crack_graph, skeleton_graph, trace

KEYS = arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 3))


def steps(chains: Chains):
    """Every edge of every chain, as an ordered pair of vertices in a fixed direction."""
    out = []
    for i in range(len(chains)):
        p = chains.points[chains.starts[i] : chains.starts[i + 1]].tolist()
        out += [tuple(sorted((tuple(a), tuple(b)))) for a, b in pairwise(p)]
    return out


@settings(max_examples=300, deadline=None)
@given(KEYS)
def test_every_crack_is_walked_exactly_once(key):
    found = steps(trace(crack_graph(key)))
    vertical = {((x + 1.0, y + 0.0), (x + 1.0, y + 1.0)) for y, x in np.argwhere(key[:, 1:] != key[:, :-1]).tolist()}
    level = {((x + 0.0, y + 1.0), (x + 1.0, y + 1.0)) for y, x in np.argwhere(key[1:] != key[:-1]).tolist()}
    assert len(found) == len(set(found))
    assert set(found) == vertical | level


@settings(max_examples=200, deadline=None)
@given(KEYS)
def test_chains_end_at_nodes_or_close(key):
    bits = crack_graph(key)
    chains = trace(bits)
    for i in range(len(chains)):
        p = chains.points[chains.starts[i] : chains.starts[i + 1]].astype(int)
        if (p[0] == p[-1]).all():
            continue
        assert all(bin(bits[y, x]).count("1") != 2 for x, y in (p[0], p[-1]))


@settings(max_examples=200, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_the_skeleton_graph_joins_what_touches(ink):
    chains = trace(skeleton_graph(ink))
    found = steps(chains)
    assert len(found) == len(set(found))
    parent = {tuple(p): tuple(p) for p in np.argwhere(ink)[:, ::-1].tolist()}

    def root(p):
        while parent[p] != p:
            p = parent[p]
        return p

    for a, b in found:
        parent[root((int(a[0]), int(a[1])))] = root((int(b[0]), int(b[1])))
    assert len({root(p) for p in parent}) == cc3d.connected_components(ink.astype(np.uint8), connectivity=8, return_N=True)[1]


@pytest.mark.parametrize(
    "key",
    [np.zeros((5, 5)), np.indices((6, 6)).sum(0) % 2, np.pad(np.ones((1, 1)), 3)],
    ids=["one colour", "checkerboard", "pixel"],
)
def test_special_pictures(key):
    chains = trace(crack_graph(key.astype(np.uint8)))
    edges = np.count_nonzero(np.diff(key, axis=0)) + np.count_nonzero(np.diff(key, axis=1))
    assert len(steps(chains)) == edges
