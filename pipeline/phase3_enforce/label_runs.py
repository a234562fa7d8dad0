"""A label image as runs: the maximal horizontal stretches of one key. Some hundred thousand runs stand for 16.8 million pixels.

Row y has the runs `first[y]` .. `first[y + 1] - 1`; run r begins at column `start[r]` and ends where the next one of its row begins.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Columns = NDArray[np.int32]
Keys = NDArray[np.uint8]


@njit(cache=True, parallel=True)
def _count(key: Keys) -> Ints:
    """(H,) the number of runs in each row."""
    height, width = key.shape
    out = np.empty(height, np.int64)
    for y in prange(height):
        n = 1
        for x in range(1, width):
            n += key[y, x] != key[y, x - 1]
        out[y] = n
    return out


@njit(cache=True, parallel=True)
def _starts(key: Keys, first: Ints) -> tuple[Columns, Keys]:
    """Where each run begins, and its key."""
    start, keys = np.empty(first[-1], np.int32), np.empty(first[-1], np.uint8)
    for y in prange(key.shape[0]):
        r = first[y]
        start[r], keys[r] = 0, key[y, 0]
        for x in range(1, key.shape[1]):
            if key[y, x] != key[y, x - 1]:
                r += 1
                start[r], keys[r] = x, key[y, x]
    return start, keys


@njit(cache=True)
def _root(parent: Columns, r: int) -> int:
    while parent[r] != r:
        parent[r] = parent[parent[r]]
        r = parent[r]
    return r


@njit(cache=True)
def _end(start: Columns, r: int, last: int, width: int) -> int:
    """The column after run r's last, where its row ends before run `last`."""
    return start[r + 1] if r + 1 < last else width


@njit(cache=True)
def _join(start: Columns, keys: Keys, first: Ints, width: int) -> tuple[Columns, int]:
    """The 4-connected region of every run, numbered in reading order of their first pixels, and how many there are."""
    parent = np.arange(len(start)).astype(np.int32)
    for y in range(1, len(first) - 1):
        a, b = first[y - 1], first[y]
        while a < first[y] and b < first[y + 1]:
            if keys[a] == keys[b]:
                low, high = _root(parent, a), _root(parent, b)
                if low > high:
                    low, high = high, low
                parent[high] = low
            ends_a, ends_b = _end(start, a, first[y], width), _end(start, b, first[y + 1], width)
            a += ends_a <= ends_b
            b += ends_b <= ends_a
    count = 0
    region = np.empty_like(parent)
    for r in range(len(parent)):
        root = _root(parent, r)
        if root == r:
            region[r] = count
            count += 1
        else:
            region[r] = region[root]
    return region, count


@njit(cache=True)
def _measure(start: Columns, keys: Keys, first: Ints, width: int, region: Columns, count: int) -> tuple[Ints, Keys]:
    """Each region's area and key."""
    area, key = np.zeros(count, np.int64), np.empty(count, np.uint8)
    for y in range(len(first) - 1):
        for r in range(first[y], first[y + 1]):
            area[region[r]] += _end(start, r, first[y + 1], width) - start[r]
            key[region[r]] = keys[r]
    return area, key


@njit(cache=True)
def _borders(start: Columns, first: Ints, width: int, region: Columns) -> tuple[Ints, Ints]:
    """Pieces of boundary: the pair of regions (smaller number << 32 | larger) and the length of each piece, pixels."""
    most = 3 * len(start)  # a row of a runs over one of b touches in fewer than a + b places
    code, length = np.empty(most, np.int64), np.empty(most, np.int64)
    n = 0
    for y in range(len(first) - 1):
        for r in range(first[y], first[y + 1] - 1):
            a, b = np.int64(region[r]), np.int64(region[r + 1])
            code[n], length[n] = (min(a, b) << 32) | max(a, b), 1
            n += 1
        if y == 0:
            continue
        above, below = first[y - 1], first[y]
        while above < first[y] and below < first[y + 1]:
            ends_a, ends_b = _end(start, above, first[y], width), _end(start, below, first[y + 1], width)
            a, b = np.int64(region[above]), np.int64(region[below])
            if a != b:
                code[n], length[n] = (min(a, b) << 32) | max(a, b), min(ends_a, ends_b) - max(start[above], start[below])
                n += 1
            above += ends_a <= ends_b
            below += ends_b <= ends_a
    return code[:n], length[:n]


@njit(cache=True, parallel=True)
def _paint(start: Columns, first: Ints, width: int, region: Columns, value: Keys) -> Keys:
    """(H, W) the value of each pixel's region."""
    out = np.empty((len(first) - 1, width), np.uint8)
    for y in prange(len(first) - 1):
        for r in range(first[y], first[y + 1]):
            out[y, start[r] : _end(start, r, first[y + 1], width)] = value[region[r]]
    return out


@dataclass(frozen=True, slots=True)
class Regions:
    """The 4-connected areas of one key of a (H, W) uint8 picture, numbered in reading order of their first pixels.

    `area` (n,) pixels; `key` (n,); `pairs` (m, 2) regions that touch, each pair once, and `length` (m,) of their shared boundary,
    pixels. `region` is the number of each run's region.
    """

    start: Columns
    first: Ints
    width: int
    region: Columns
    area: Ints
    key: Keys
    pairs: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.area)

    def paint(self, value: Keys) -> Keys:
        """(H, W) uint8 with the value of each region: `value` (n,)."""
        return np.asarray(_paint(self.start, self.first, self.width, self.region, value))


def regions_of(key: Keys) -> Regions:
    """The regions of a picture (H, W) uint8 of at least one pixel."""
    first = np.concatenate([[0], np.cumsum(_count(key))])
    start, keys = _starts(key, first)
    region, count = _join(start, keys, first, key.shape[1])
    area, key_of = _measure(start, keys, first, key.shape[1], region, count)
    code, piece = _borders(start, first, key.shape[1], region)
    code, place = np.unique(code, return_inverse=True)
    length = np.bincount(place, weights=piece, minlength=len(code)).astype(np.int64)
    pairs = np.stack([code >> 32, code & 0xFFFFFFFF], -1)
    return Regions(start, first, key.shape[1], region, area, key_of, pairs, length)
