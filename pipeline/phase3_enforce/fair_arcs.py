"""Arcs made fair: without the pixels' stairs and the drawing's wobble, but with their corners and never far from where they were.

Every stroke is bent as a thin beam that wants to be straight and is held by its samples (Whittaker's smoother with second
differences). Where it remains sharply bent it turns soft (iteratively reweighted least squares), so that a corner becomes a hinge
instead of an arc (the weak elastic of Blake and Zisserman, "Visual Reconstruction", 1987). No sample moves further than `REACH`.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.phase3_enforce.outlines import OUTSIDE, Arcs

Ints = NDArray[np.int64]
Points = NDArray[np.float64]

#: Stiffness of the beam: waves along an outline shorter than about 2π · STIFF^(1/4) pixels go.
STIFF = 1000.0
#: Bend per sample (second difference, pixels; one over the radius of a circle) above which the beam turns soft.
HINGE = 0.04
#: The bend that counts is the mean over this many samples on either side, so that a small circle turns soft evenly and stays round,
#: or this share of the bend at the sample itself, so that a corner becomes a hinge.
AROUND, PEAK = 6, 0.6
#: Furthest that a sample moves, pixels.
REACH = 0.85
ROUNDS = 5
#: Samples over which a closed stroke overlaps itself, and over which an arc's direction at a node is taken.
OVERLAP, CHORD = 40, 8
#: Cosine of the angle at a node from which two arcs are one stroke.
STRAIGHT = -0.7


@njit(cache=True)
def _bend(points: Points, soft: NDArray[np.float64], stiff: float) -> Points:
    """Minimum of Σ |p - points|² + stiff · Σ soft · |second difference of p|²: (n, 2) → (n, 2), by a banded LDLᵀ."""
    n = len(points)
    d0, d1, d2 = np.ones(n), np.zeros(n), np.zeros(n)
    for k in range(1, n - 1):
        c = stiff * soft[k]
        d0[k - 1] += c
        d0[k] += 4 * c
        d0[k + 1] += c
        d1[k - 1] -= 2 * c
        d1[k] -= 2 * c
        d2[k - 1] += c
    out = points.copy()
    for i in range(n):
        if i >= 2:
            d0[i] -= d2[i - 2] * d2[i - 2] * d0[i - 2]
            out[i] -= d2[i - 2] * out[i - 2]
        if i >= 1:
            d0[i] -= d1[i - 1] * d1[i - 1] * d0[i - 1]
            out[i] -= d1[i - 1] * out[i - 1]
            d1[i] -= d1[i - 1] * d2[i - 1] * d0[i - 1]
        d1[i] /= d0[i]
        d2[i] /= d0[i]
    for i in range(n - 1, -1, -1):
        out[i] /= d0[i]
        if i + 1 < n:
            out[i] -= d1[i] * out[i + 1]
        if i + 2 < n:
            out[i] -= d2[i] * out[i + 2]
    return out


@njit(cache=True)
def _fair(points: Points, closed: bool, stiff: float, hinge: float, reach: float, rounds: int) -> Points:
    """One stroke made fair: (n, 2) → (n, 2)."""
    n = len(points)
    if n < 5:
        return points.copy()
    over = min(n, OVERLAP) if closed else 0
    held = np.empty((n + 2 * over, 2))
    for i in range(len(held)):
        held[i] = points[(i - over) % n]
    soft = np.ones(len(held))
    bend, total = np.zeros(len(held)), np.zeros(len(held) + 1)
    fair = held
    for _ in range(rounds):
        fair = _bend(held, soft, stiff)
        for k in range(1, len(held) - 1):
            bx = fair[k - 1, 0] - 2 * fair[k, 0] + fair[k + 1, 0]
            by = fair[k - 1, 1] - 2 * fair[k, 1] + fair[k + 1, 1]
            bend[k] = np.hypot(bx, by)
        for k in range(len(held)):
            total[k + 1] = total[k] + bend[k]
        for k in range(1, len(held) - 1):
            low, high = max(0, k - AROUND), min(len(held), k + AROUND + 1)
            mean = (total[high] - total[low]) / (high - low)
            soft[k] = 1 / (1 + (max(PEAK * bend[k], mean) / hinge) ** 2) ** 2
    out = fair[over : over + n].copy()
    for i in range(n):
        dx, dy = out[i, 0] - points[i, 0], out[i, 1] - points[i, 1]
        far = np.hypot(dx, dy)
        if far > reach:
            out[i, 0], out[i, 1] = points[i, 0] + dx * reach / far, points[i, 1] + dy * reach / far
    return out


@njit(cache=True)
def _partners(points: Points, begin: Ints, node: Ints, fixed: NDArray[np.bool_], order: Ints) -> Ints:
    """(2 · arcs,) for each end of an arc (2 · arc + 0 at its start, + 1 at its end) the end that goes on straight from it, or -1.

    `order` is the ends sorted by node.
    """
    at = node.ravel()
    out = np.full(len(at), -1, np.int64)
    chord = np.zeros((len(at), 2))
    for e in range(len(at)):
        a = e // 2
        first, last = (begin[a], begin[a + 1] - 1) if e % 2 == 0 else (begin[a + 1] - 1, begin[a])
        far = min(CHORD, abs(last - first))
        d = points[first + far if last > first else first - far] - points[first]
        chord[e] = d / max(np.hypot(d[0], d[1]), 1e-9)
    i = 0
    while i < len(order):
        j = i
        while j < len(order) and at[order[j]] == at[order[i]]:
            j += 1
        while at[order[i]] >= 0:
            best, p, q = STRAIGHT, -1, -1
            for u in range(i, j):
                for v in range(u + 1, j):
                    e, f = order[u], order[v]
                    dot = chord[e, 0] * chord[f, 0] + chord[e, 1] * chord[f, 1]
                    if out[e] < 0 and out[f] < 0 and not fixed[e // 2] and not fixed[f // 2] and dot < best:
                        best, p, q = dot, e, f
            if p < 0:
                break
            out[p], out[q] = q, p
        i = j
    return out


@njit(cache=True)
def _strokes(node: Ints, fixed: NDArray[np.bool_], partner: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Arcs linked to strokes: the ends at which each stroke enters its arcs one after the other, where each stroke begins, closed?"""
    arcs = len(node)
    ends, begin, closed = np.empty(arcs, np.int64), np.empty(arcs + 1, np.int64), np.zeros(arcs, np.bool_)
    used, n, strokes = fixed.copy(), 0, 0
    for rings in (False, True):  # strokes that start somewhere first; what is left then goes around
        for e in range(2 * arcs):
            if used[e // 2] or (not rings and (partner[e] >= 0 or node[e // 2, 0] < 0)):
                continue
            begin[strokes], closed[strokes], enter = n, rings, e
            while enter >= 0 and not used[enter // 2]:
                used[enter // 2] = True
                ends[n] = enter
                n += 1
                enter = partner[enter ^ 1]
            strokes += 1
    begin[strokes] = n
    return ends[:n], begin[: strokes + 1], closed[:strokes]


@njit(cache=True, parallel=True)
def _fair_all(
    points: Points, begin: Ints, ends: Ints, stroke: Ints, closed: NDArray[np.bool_], stiff: float, hinge: float, reach: float, rounds: int
) -> Points:
    out = points.copy()
    for s in prange(len(stroke) - 1):
        n = 0
        for k in range(stroke[s], stroke[s + 1]):
            n += begin[ends[k] // 2 + 1] - begin[ends[k] // 2]
        place, n_ = np.empty(n, np.int64), 0
        for k in range(stroke[s], stroke[s + 1]):
            first, last = begin[ends[k] // 2], begin[ends[k] // 2 + 1]
            for i in range(last - first):
                place[n_ + i] = first + i if ends[k] % 2 == 0 else last - 1 - i
            n_ += last - first
        fair = _fair(points[place], closed[s], stiff, hinge, reach, rounds)
        for i in range(n):
            out[place[i]] = fair[i]
    return out


@njit(cache=True)
def _nodes(points: Points, begin: Ints, node: Ints, partner: Ints, fixed: NDArray[np.bool_], width: int) -> Points:
    """(2 · arcs, 2) where each end of an arc lies now: in the middle of the stroke that passes its node, else on the node's vertex."""
    total = np.zeros((node.max() + 1 if len(node) else 0, 3))
    frame = np.zeros(len(total), np.bool_)
    at = node.ravel()
    for e in range(len(at)):
        if at[e] >= 0 and partner[e] >= 0:
            a = e // 2
            total[at[e], :2] += points[begin[a] if e % 2 == 0 else begin[a + 1] - 1]
            total[at[e], 2] += 1
        if at[e] >= 0 and fixed[e // 2]:
            frame[at[e]] = True
    out = np.zeros((len(at), 2))
    for e in range(len(at)):
        if at[e] >= 0:
            t = total[at[e]]
            out[e] = t[:2] / t[2] if t[2] > 0 and not frame[at[e]] else np.array([float(at[e] % width), float(at[e] // width)])
    return out


def fair_arcs(
    arcs: Arcs, width: int, stiff: float = STIFF, hinge: float = HINGE, reach: float = REACH, rounds: int = ROUNDS
) -> tuple[Points, Points]:
    """The arcs' points made fair, (n, 2), and where their ends lie, (2 · arcs, 2); `width` of the picture. The frame stays."""
    fixed = (arcs.sides == OUTSIDE).any(1)
    order = np.argsort(arcs.node.ravel(), kind="stable")
    partner = _partners(arcs.points, arcs.begin, arcs.node, fixed, order)
    ends, stroke, closed = _strokes(arcs.node, fixed, partner)
    points = _fair_all(arcs.points, arcs.begin, ends, stroke, closed, stiff, hinge, reach, rounds)
    return points, _nodes(points, arcs.begin, arcs.node, partner, fixed, width + 1)
