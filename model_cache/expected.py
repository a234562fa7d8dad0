"""How long a network will take on a processor, said before it runs: its counted arithmetic over this machine's measured speed."""

import time

import torch

#: Share of the rate of a large matrix product that whole networks reach in float32. Measured on one thread of a server's processor with
#: networks of published size and random weights: RealESRGAN (256² to 512²) 0.45 to 0.55, BiRefNet (1024²) 0.54 to 0.58, LaMa (512²) 0.59,
#: ZoeDepth (384²) 0.58 to 0.61, SAM and SAM 2.1 (1024²) 0.6, Depth-Anything (518²) 0.62 to 0.67, GroundingDINO (800 × 1200) 0.37 to 0.40.
#: So with 0.5 they take 0.75 to 1.35 times the seconds that are said; many threads may be worse, which was not measured.
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
