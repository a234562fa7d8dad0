"""The canny control picture: a vehicle's outline, panel gaps and lamps, after its shine is taken away. Needs no network.

The order and most figures are the usual ones for such control pictures: bilateral filter 9/75/75 on CIELAB's L, CLAHE 2.0 on 8 × 8
tiles, Canny 100/200. Four were changed after looking at photographs cut out on white, each vehicle in its own square of 1024 pixels:

- `BILATERAL_COLOR` is 50 instead of 75 of the 255 steps of L. The gap between door and wing of a grey car differs from its paint by
  40 to 70 steps; at 75 it was smoothed away together with the roof's rim, at 30 the drops and mirrored trees on a bonnet stayed.
- Canny is 80/160: in a square of its own a vehicle is larger and its edges are softer. At 100/200 sills, wheel arches, pillars and the
  lower ends of doors were missing or broken; at 60/150 mirrored horizons and drops on a bonnet became lines.
- Curves of fewer than `SHORTEST` pixels are dropped: what remained of drops, gravel, mirrored leaves and reflectors in lamps; gaps are
  longer. It is 30, and was 20 while the whole photo was drawn.
"""

import cv2
import numpy as np

from pipeline.values import Gray, Mask, Rgb

# Lengths in pixels at a side of 1024, the side that SDXL draws at.
BILATERAL, BILATERAL_SPACE = 9, 75.0
BILATERAL_COLOR = 50.0  # steps of 8-bit L (255 is white)
CLAHE_CLIP, CLAHE_TILES = 2.0, 8  # lifts lines out of dark parts; tiles are counted, so they scale by themselves
CANNY_LOW, CANNY_HIGH = 80.0, 160.0  # gradient of 8-bit L, 3 × 3 Sobel, sum of the absolutes of x and y
SHORTEST = 30.0
RIM = 2.0  # nearer than this to the outline, an edge is the outline's own double


def control_edges(rgb: Rgb, inside: Mask | None = None) -> Gray:
    """Edges (S, S) uint8, 0 or 255, of `rgb` (S, S, 3) uint8 sRGB, which shows the vehicle on white.

    With `inside` (S, S), the vehicle, its outline is always drawn, one pixel wide: a white roof on white has no edge of its own.
    """
    unit = len(rgb) / 1024
    # An edge that is half as wide is steeper, but not twice as steep: the finest are a pixel wide at any side.
    low, high = CANNY_LOW / unit**0.5, CANNY_HIGH / unit**0.5
    edges = _without_specks(np.asarray(cv2.Canny(deshined(rgb), low, high), np.uint8), SHORTEST * unit)
    if inside is None:
        return edges
    body = inside.astype(np.uint8)
    outline = inside & ~np.asarray(cv2.erode(body, np.ones((3, 3), np.uint8), borderValue=0), bool)
    size = 2 * max(1, round(RIM * unit)) + 1
    rim = np.asarray(cv2.dilate(outline.astype(np.uint8), np.ones((size, size), np.uint8)), bool)
    return np.where(outline | ((edges > 0) & ~rim), 255, 0).astype(np.uint8)


def deshined(rgb: Rgb) -> Gray:
    """CIELAB's L of `rgb` (S, S, 3) as (S, S) uint8, soft shine smoothed away, local contrast evened out."""
    unit = len(rgb) / 1024
    lightness = np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[..., 0])
    size = 2 * max(1, round((BILATERAL - 1) / 2 * unit)) + 1
    calm = cv2.bilateralFilter(lightness, size, BILATERAL_COLOR, BILATERAL_SPACE * unit)
    return np.asarray(cv2.createCLAHE(CLAHE_CLIP, (CLAHE_TILES, CLAHE_TILES)).apply(calm), np.uint8)


def _without_specks(edges: Gray, shortest: float) -> Gray:
    """The edges without connected curves of fewer than `shortest` pixels."""
    _, curve, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8)
    long = stats[:, cv2.CC_STAT_AREA] >= shortest
    long[0] = False
    return np.where(long[curve], 255, 0).astype(np.uint8)
