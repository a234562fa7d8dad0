"""Fair curves through noisy outlines: corners found and kept, the wobble of the pixels between them taken out.

Between corners a chain of samples x is replaced by the z that minimises sum w (z - x)² + mu |D³ z|², Whittaker's smoother
("On a New Method of Graduation", 1923) with third differences, which leaves lines and parabolas alone and bends circles
little. The weights start at one and grow where the outline would be left by more than a tolerance or, summed over a
longer stretch, by a fraction of it: the wobble goes, the shape stays.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Points = NDArray[np.float64]

#: Distance between samples, pixels. Windows below count samples.
STEP = 2.0
#: Cutoff wavelength of the smoother, samples: what is shorter counts as wobble while it stays within the tolerance.
WAVELENGTH = 160.0
#: Samples over which the deviation is summed, and the fraction of the tolerance that it may reach for each of them.
STRETCH, LEAN = 60, 0.03
#: Samples to each side over which a corner's turn is seen, the least turn (radians), and the least share of the
#: turn seen over twice that length: a tight round turns on, a corner does not.
WINDOW, SHARP, SUDDEN = 6, math.radians(38), 0.62
ROUNDS = 10


@njit(cache=True)
def resampled(p: Points, step: float) -> Points:
    """The polyline through the midpoints of p's steps, both ends of p kept, at equal distances of about `step`."""
    n = len(p)
    q = np.empty((n + 1, 2))
    q[0] = p[0]
    for i in range(n - 1):
        q[i + 1, 0], q[i + 1, 1] = (p[i, 0] + p[i + 1, 0]) / 2, (p[i, 1] + p[i + 1, 1]) / 2
    q[n] = p[n - 1]
    length = 0.0
    for i in range(n):
        length += math.hypot(q[i + 1, 0] - q[i, 0], q[i + 1, 1] - q[i, 1])
    count = max(1, round(length / step))
    out = np.empty((count + 1, 2))
    out[0] = q[0]
    k, passed = 0, 0.0
    for i in range(1, count):
        target = length * i / count
        while True:
            d = math.hypot(q[k + 1, 0] - q[k, 0], q[k + 1, 1] - q[k, 1])
            if passed + d >= target or k == n - 1:
                break
            passed += d
            k += 1
        t = (target - passed) / d if d > 0 else 0.0
        out[i, 0], out[i, 1] = q[k, 0] + t * (q[k + 1, 0] - q[k, 0]), q[k, 1] + t * (q[k + 1, 1] - q[k, 1])
    out[count] = q[n]
    return out


@njit(cache=True)
def _turn(p: Points, i: int, before: int, after: int) -> float:
    """The angle, radians, by which the polyline turns at i, seen from samples `before` and `after`."""
    ax, ay = p[i, 0] - p[before, 0], p[i, 1] - p[before, 1]
    bx, by = p[after, 0] - p[i, 0], p[after, 1] - p[i, 1]
    return abs(math.atan2(ax * by - ay * bx, ax * bx + ay * by))


@njit(cache=True)
def find_corners(p: Points, closed: bool, window: int, sharp: float, sudden: float) -> NDArray[np.bool_]:
    """(n, 2) samples → (n,) mask: where the turn over `window` samples to each side is locally largest, above `sharp`,
    and holds at least the share `sudden` of the turn over twice the window."""
    n = len(p)
    period = n - 1  # a closed chain repeats its first point
    turn, wide = np.zeros(n), np.zeros(n)
    for i in range(n):
        if closed:
            turn[i] = _turn(p, i, (i - window) % period, (i + window) % period)
            wide[i] = _turn(p, i, (i - 2 * window) % period, (i + 2 * window) % period) if period > 4 * window else 0.0
        elif 0 < i < n - 1:
            near = min(window, i, n - 1 - i)
            if near >= 2:
                turn[i] = _turn(p, i, i - near, i + near)
            far = min(2 * window, i, n - 1 - i)
            wide[i] = _turn(p, i, i - far, i + far) if far > near else 0.0
    out = np.zeros(n, np.bool_)
    for i in range(n):
        if turn[i] <= sharp or turn[i] < sudden * wide[i]:
            continue
        best = True
        for k in range(-window, window + 1):
            j = (i + k) % period if closed else i + k
            if 0 <= j < n and (turn[j] > turn[i] or (turn[j] == turn[i] and j < i % max(1, period))):
                best = False
                break
        out[i] = best
    return out


@njit(cache=True)
def _solve(x: Points, w: NDArray[np.float64], mu: float, z: Points) -> None:
    """z of the smoother: the banded system (W + mu D3' D3) z = W x by LDL' with three bands below the diagonal."""
    n = len(x)
    band = np.zeros((4, n))
    for i in range(n):
        band[0, i] = w[i]
    c = (-1.0, 3.0, -3.0, 1.0)
    for i in range(n - 3):
        for a in range(4):
            for b in range(a + 1):
                band[a - b, i + a] += mu * c[a] * c[b]
    for i in range(n):  # band[k, i] holds L[i, i - k], band[0, i] holds D[i]
        for k in range(min(3, i), 0, -1):
            j = i - k
            v = band[k, i]
            for m in range(k + 1, min(3, i) + 1):
                v -= band[m, i] * band[m - k, j] * band[0, i - m]
            band[k, i] = v / band[0, j]
        v = band[0, i]
        for k in range(1, min(3, i) + 1):
            v -= band[k, i] * band[k, i] * band[0, i - k]
        band[0, i] = v
    for axis in range(2):
        for i in range(n):
            v = w[i] * x[i, axis]
            for k in range(1, min(3, i) + 1):
                v -= band[k, i] * z[i - k, axis]
            z[i, axis] = v
        for i in range(n):
            z[i, axis] /= band[0, i]
        for i in range(n - 1, -1, -1):
            v = z[i, axis]
            for k in range(1, min(3, n - 1 - i) + 1):
                v -= band[k, i + k] * z[i + k, axis]
            z[i, axis] = v


@njit(cache=True)
def fair(x: Points, limit: NDArray[np.float64], wavelength: float) -> Points:
    """(n, 2) samples at equal distances → (n, 2) fair ones that stay within about `limit` (n,) of them; ends are free."""
    n = len(x)
    z = x.copy()
    if n < 5:
        return z
    mu = (wavelength / (2 * math.pi)) ** 6
    w = np.ones(n)
    lean = np.empty(n)
    for _ in range(ROUNDS):
        _solve(x, w, mu, z)
        worst = 0.0
        half = STRETCH // 2
        sx = sy = 0.0
        for i in range(-half, n):  # the deviation summed over STRETCH samples around each one
            j = i + half
            if j < n:
                sx += z[j, 0] - x[j, 0]
                sy += z[j, 1] - x[j, 1]
            k = i - half - 1
            if k >= 0:
                sx -= z[k, 0] - x[k, 0]
                sy -= z[k, 1] - x[k, 1]
            if i >= 0:
                lean[i] = math.hypot(sx, sy) / STRETCH
        for i in range(n):
            off = max(math.hypot(z[i, 0] - x[i, 0], z[i, 1] - x[i, 1]), lean[i] / LEAN) / limit[i]
            if off > 1:
                w[i] = min(1e6, w[i] * (1 + 3 * off * off))
            worst = max(worst, off)
        if worst <= 1.05:
            break
    return z
