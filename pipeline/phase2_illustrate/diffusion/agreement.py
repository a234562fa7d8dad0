"""Does the redrawn vehicle still have the photographed one's outline, and with what is the drawing tried again when not."""

import hashlib

#: What every further attempt adds to both ControlNet weights, and where it stops: above these the style no longer shows.
STEP, DEPTH_CAP, CANNY_CAP = 0.1, 0.9, 0.7


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
