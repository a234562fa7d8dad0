"""Peaks are those of `scipy.signal.find_peaks`."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import find_peaks

from pipeline.phase2_illustrate.peaks import peaks


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 9), st.floats(1, 12))
def test_as_scipy_finds_them(heights, prominence, apart):
    row = np.array(heights, np.float32)
    row += np.arange(len(row), dtype=np.float32) / 1024 * (len(set(heights)) > 6)  # ties of far peaks are broken by nothing that is told
    expected, _ = find_peaks(row, prominence=prominence, distance=apart)
    assert peaks(row, prominence, apart).tolist() == expected.tolist()


def test_a_flat_row_has_none_and_a_level_top_one_in_its_middle():
    assert peaks(np.zeros(9, np.float32), 0, 1).tolist() == []
    assert peaks(np.array([0, 2, 2, 2, 0, 1, 0], np.float32), 1, 1).tolist() == [2, 5]
    assert peaks(np.array([0, 2, 2, 2, 0, 1, 0], np.float32), 1.5, 1).tolist() == [2]
    assert peaks(np.array([0, 2, 2, 2, 0, 1, 0], np.float32), 1, 4).tolist() == [2]
