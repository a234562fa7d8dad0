"""Rows of letters that nobody reads, and what stands in rows on a vehicle and is no lettering; a piece grown to its whole line."""

import cv2
import numpy as np
import pytest

from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.letter_rows import letter_rows
from pipeline.phase1_sanitize.quads import Quad
from pipeline.phase1_sanitize.whole_lines import whole_line
from pipeline.values import Rgb
from tests.phase1_sanitize.drawn import Drawn, lettered, paint

DARK, LIGHT = (25, 28, 32), (235, 235, 230)
GLASS = paint((18, 20, 24), (40, 44, 50))


def banner(slant: float, turn: float, height: int = 30, word: str = "RALLYSPORT") -> Drawn:
    """Light capitals on dark glass, slanted (shear) and along a line that rises or falls (degrees)."""
    drawn = lettered(np.zeros_like(GLASS), word, (280, 400), height, (255, 255, 255))
    shear = np.array([[1, -slant, slant * 420], [0, 1, 0], [0, 0, 1]])
    matrix = np.vstack([cv2.getRotationMatrix2D((440, 420), turn, 1), [0, 0, 1]]) @ shear
    cover = cv2.warpPerspective(drawn.rgb, matrix, (1024, 1024), flags=cv2.INTER_AREA).astype(np.float32) / 255
    rgb = np.round(GLASS * (1 - cover) + np.array(LIGHT) * cover).astype(np.uint8)
    return Drawn(rgb, GLASS, quads.back(drawn.quad, np.linalg.inv(matrix)))


@pytest.mark.parametrize(("slant", "turn"), [(0, 0), (0.35, 0), (0.6, 0), (-0.3, 12), (0.35, -20), (0.2, 90)])
def test_a_slanted_display_face_is_found(slant: float, turn: float):
    drawn = banner(slant, turn)
    found = letter_rows(drawn.rgb)
    assert max(quads.overlap(quad, drawn.quad) for quad, _ in found) > 0.6 * quads.area(drawn.quad)
    assert all(quads.overlap(quad, drawn.quad) > 0.9 * quads.area(quad) for quad, _ in found)


def rows_of(shape: str) -> Rgb:
    """Nine shapes in a row on dark paint, in perspective: each a little smaller than the one before."""
    rgb = GLASS.copy()
    for k in range(9):
        x, size = 260 + round(52 * k - 1.2 * k * k), 30 - k // 2
        middle = (x, 420)
        if shape == "bolts":
            cv2.circle(rgb, middle, size // 2, LIGHT, -1, cv2.LINE_AA)
        elif shape == "rings":
            cv2.circle(rgb, middle, size // 2, LIGHT, 5, cv2.LINE_AA)
        elif shape == "slats":
            cv2.line(rgb, (x - 4, 420 - size // 2), (x + 4, 420 + size // 2), LIGHT, 6, cv2.LINE_AA)
        elif shape == "windows":
            cv2.rectangle(rgb, (x - 12, 420 - size // 2), (x + 12, 420 + size // 2), LIGHT, -1)
        elif shape == "mesh":
            cv2.drawMarker(rgb, middle, LIGHT, cv2.MARKER_DIAMOND, size, 3, cv2.LINE_AA)
        elif shape == "faint letters":
            cv2.putText(rgb, "RALLYSPOR"[k], (x - 12, 432), cv2.FONT_HERSHEY_SIMPLEX, 1, (60, 64, 70), 4, cv2.LINE_AA)
        elif shape == "letters of many colours":
            hue = cv2.cvtColor(np.array([[[20 * k, 255, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
            cv2.putText(rgb, "RALLYSPOR"[k], (x - 12, 432), cv2.FONT_HERSHEY_SIMPLEX, 1, tuple(map(int, hue)), 4, cv2.LINE_AA)
    return rgb


@pytest.mark.parametrize("shape", ["bolts", "rings", "slats", "windows", "mesh", "faint letters", "letters of many colours"])
def test_other_rows_are_no_lettering(shape: str):
    assert letter_rows(rows_of(shape)) == []


def piece_of(whole: Quad, start: float, end: float) -> Quad:
    a, b, c, d = whole
    return np.array([a + start * (b - a), a + end * (b - a), d + end * (c - d), d + start * (c - d)], np.float32)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.5, 1.0), (0.3, 0.7)])
@pytest.mark.parametrize("turn", [0, 15])
def test_half_a_line_grows_to_the_whole(start: float, end: float, turn: float):
    drawn = banner(0.2, turn)
    grown = whole_line(drawn.rgb, piece_of(drawn.quad, start, end))
    assert quads.overlap(grown, drawn.quad) > 0.85 * quads.area(drawn.quad)
    assert quads.area(grown) < 1.25 * quads.area(drawn.quad)


def test_a_whole_line_stays_as_it_is_beside_a_gap_a_handle_and_another_line():
    drawn = lettered(paint(), "TRAVELLER", (300, 400), 40, DARK)
    rgb = lettered(drawn.rgb, "MOTORS", (560, 470), 40, DARK).rgb
    cv2.line(rgb, (560, 280), (570, 780), DARK, 4, cv2.LINE_AA)
    cv2.rectangle(rgb, (610, 424), (720, 438), DARK, -1)
    grown = whole_line(rgb, drawn.quad)
    assert quads.overlap(grown, drawn.quad) > 0.97 * quads.area(grown)
