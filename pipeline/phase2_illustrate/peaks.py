"""Peaks of a row of heights, as `scipy.signal.find_peaks` has them: importing that module costs every start half a second."""

import numpy as np
from numpy.typing import NDArray


def peaks(heights: NDArray[np.floating], prominence: float, apart: float) -> NDArray[np.intp]:
    """Where the heights (n,) rise above both sides, in order; the middle of a level top.

    Of two that are nearer than `apart` the lower one is left out, then those that rise less than `prominence` above the higher of their
    two bases: the lowest place on each side before the heights exceed the peak's.
    """
    steps = np.flatnonzero(np.diff(heights))
    first, last = np.append(0, steps + 1), np.append(steps, len(heights) - 1)  # of each run of equal heights
    level = heights[first]
    tops = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])) + 1
    places = (first[tops] + last[tops]) // 2
    kept: list[int] = []
    for place in places[np.argsort(heights[places], kind="stable")[::-1]]:
        if all(abs(place - other) >= np.ceil(apart) for other in kept):
            kept.append(int(place))
    return np.array([place for place in sorted(kept) if _prominence(heights, place) >= prominence], np.intp)


def _prominence(heights: NDArray[np.floating], place: int) -> float:
    higher = np.flatnonzero(heights > heights[place])
    split = np.searchsorted(higher, place)
    start = higher[split - 1] + 1 if split else 0
    stop = higher[split] if split < len(higher) else len(heights)
    return float(heights[place]) - max(float(heights[start : place + 1].min()), float(heights[place:stop].min()))
