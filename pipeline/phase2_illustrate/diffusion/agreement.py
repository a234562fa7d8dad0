"""Does the redrawn vehicle still have the photographed one's outline, and with what is the drawing tried again when not."""

import hashlib

import numpy as np

from pipeline.values import Mask

#: What every further attempt adds to both ControlNet weights, and where it stops: above these the style no longer shows.
STEP, DEPTH_CAP, CANNY_CAP = 0.1, 0.9, 0.7


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one shape, 0..1; 0 when both are empty, for nothing agrees with nothing drawn.

    Raises ValueError when the shapes differ or a mask is not boolean: an 8-bit picture's bits would be counted as pixels.
    """
    if first.shape != second.shape or first.dtype != np.bool_ or second.dtype != np.bool_:
        raise ValueError(f"masks of one shape are wanted, got {first.shape} {first.dtype} and {second.shape} {second.dtype}")
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 0.0


def attempt_seed(seed: int, attempt: int) -> int:
    """The seed 0..2^32-1 of an attempt: the job's own for attempt 0, then the first four bytes of sha256("SEED:ATTEMPT")."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{attempt}".encode()).digest()[:4], "big")


def attempt_weights(depth: float, canny: float, attempt: int) -> tuple[float, float]:
    """The ControlNet weights of an attempt: the caller's own for attempt 0, then `STEP` more each time up to the caps.

    A weight that the caller set above its cap stays as it is, and so does 0, which switches its net off.
    """
    return _raised(depth, attempt, DEPTH_CAP), _raised(canny, attempt, CANNY_CAP)


def _raised(weight: float, attempt: int, cap: float) -> float:
    if attempt == 0:
        return weight
    if weight == 0:
        return weight
    # Rounded, so that 0.6 + 0.1 is told as 0.7 and not as 0.7000000000000001; the caller's own is not lowered by that either.
    return max(weight, min(cap, round(weight + STEP * attempt, 6)))
