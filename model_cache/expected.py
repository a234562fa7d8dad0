"""How long a network will take on a processor, said before it runs: its counted arithmetic over this machine's measured speed."""

import time

import torch

#: Share of the rate of a large matrix product that whole networks reach in float32. EFFICIENCY_NOTE
EFFICIENCY = 0.5
#: Side of the matrices whose product is timed, and for how long at most after the first one, seconds.
_SIDE, _SECONDS = 1024, 0.1


def matrix_rate() -> float:
    """TFLOP/s of a product of two 1024 × 1024 float32 matrices with torch's threads: the best of those that 0.1 s hold, at least two."""
    a, b = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE, _SIDE)
    torch.mm(a, b)  # starts the threads
    best, end, runs = float("inf"), time.perf_counter() + _SECONDS, 0
    while runs < 2 or time.perf_counter() < end:
        began = time.perf_counter()
        torch.mm(a, b)
        best, runs = min(best, time.perf_counter() - began), runs + 1
    return 2 * _SIDE**3 / best / 1e12


def expected_seconds(tflop: float, rate: float) -> float:
    """Seconds that `tflop` of a network's arithmetic take in float32 where matrix products run at `rate` TFLOP/s (`matrix_rate`).

    Raises ValueError for a rate that is none.
    """
    if rate <= 0:
        raise ValueError(f"{rate} TFLOP/s is no rate")
    return tflop / (EFFICIENCY * rate)
