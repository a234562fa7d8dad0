"""The seconds that are said before a network runs."""

import time

import pytest
import torch

from model_cache.expected import EFFICIENCY, expected_seconds, matrix_rate

pytestmark = pytest.mark.neural


def test_the_seconds_follow_from_arithmetic_and_rate():
    assert expected_seconds(1.0, 2.0) == pytest.approx(0.5 / EFFICIENCY)
    assert expected_seconds(3.0, 2.0) == pytest.approx(3 * expected_seconds(1.0, 2.0))
    assert expected_seconds(1.0, 4.0) == pytest.approx(expected_seconds(1.0, 2.0) / 2)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_no_rate_is_an_error(rate):
    with pytest.raises(ValueError, match="no rate"):
        expected_seconds(1.0, rate)


def test_the_rate_is_the_best_product_in_tera(monkeypatch):
    """2 · 1024³ operations in the shortest of the times taken: the first, which starts the threads, does not count."""
    clock = iter([0.0, 0.0, 0.03, 0.03, 0.05, 0.05, 0.05, 0.09, 0.2])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(torch, "mm", lambda a, b: None)
    assert matrix_rate() == pytest.approx(2 * 1024**3 / 0.02 / 1e12)


def test_measuring_is_quick_and_plausible():
    began = time.process_time()
    rate = matrix_rate()
    assert 1e-4 < rate < 1e3
    assert time.process_time() - began < 2 * torch.get_num_threads()


def test_a_network_takes_about_what_is_said():
    """A chain of plain convolutions, processor time against processor time: within a factor of ten."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)))
        picture, a = torch.rand(1, 64, 128, 128), torch.rand(1024, 1024)
        took = []
        with torch.inference_mode():
            for call in (lambda: a @ a, lambda: net(picture)):
                call()
                times = []
                for _ in range(3):
                    began = time.process_time()
                    call()
                    times.append(time.process_time() - began)
                took.append(min(times))
    finally:
        torch.set_num_threads(before)
    rate, tflop = 2 * 1024**3 / took[0] / 1e12, 4 * 2 * 64 * 64 * 9 * 128 * 128 / 1e12
    assert 0.1 < took[1] / expected_seconds(tflop, rate) < 10
