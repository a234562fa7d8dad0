"""Patches: what the faces leave open where a later one tapers to a point is painted by the earliest face there.

A fitted outline strays from the pixels by as much as the tolerance, and in a tip, or beside a face that is thin, the earlier face beneath
has no room to go on that far: single pixels of the background shine through. Where a render of the faces shows that, a small square follows
the face that is painted first of all that are near, in its colour: all others hide it but in the gap itself.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import resvg_py
from numpy.typing import NDArray

from pipeline.phase4_vectorize.path import closed, links
from pipeline.values import Mask

#: Pixels of a render in which gaps are looked for, for one of the picture's: where edges cross in one pixel, one scale shows what another
#: hides. No render is longer than `LONGEST`.
SCALES, LONGEST = (1.0, 2.0), 2048
#: Side of the squares in which gaps are taken together, and how far a patch goes beyond them, pixels.
CELL, BEYOND = 4, 1
#: How far a fitted outline may stray, pixels: so far around a patch nothing is painted before its face, and so near to nothing the
#: outline itself may be what is seen.
STRAY = 3


def gaps(paths: Sequence[str], window: tuple[int, int, int, int], inside: Mask, scale: float) -> Mask:
    """(H, W) the pixels `inside` the `window` (left, top, W, H) that the paths, one over the other, do not cover in full where they are
    rendered at `scale`."""
    width, height = window[2:]
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(map(str, window))}" width="{columns}" height="{rows}"'
    svg = "".join([head, ' preserveAspectRatio="none">', *(f'<path d="{path}"/>' for path in paths), "</svg>"])
    png = np.frombuffer(bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)), np.uint8)
    alpha = np.asarray(cv2.imdecode(png, cv2.IMREAD_UNCHANGED))[..., 3]
    y, x = np.nonzero((alpha < 255) & (cv2.resize(inside.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA) > 0))
    out = np.zeros(inside.shape, np.bool_)
    for dx in (0.01, 0.99):  # where a pixel of the render lies on several of the picture's, its corners tell them
        for dy in (0.01, 0.99):
            out[((y + dy) * height / rows).astype(np.int64), ((x + dx) * width / columns).astype(np.int64)] = True
    return out & inside


def patches(paths: Mapping[int, str], ranks: NDArray[np.int32], left: int, top: int) -> dict[int, str]:
    """The paths that have to follow those of the faces, by place in painter's order, so that they leave no gap.

    `ranks` (H, W): the place of what each pixel shows, -1 for nothing; its first pixel lies at `left`, `top` in the paths' units.
    """
    height, width = ranks.shape
    inside = cv2.distanceTransform((ranks >= 0).astype(np.uint8), cv2.DIST_L2, 5) > STRAY + BEYOND
    longest = max(width, height)
    scales = [scale for scale in SCALES if scale * longest <= LONGEST] or [LONGEST / longest]
    layers, window = [paths[rank] for rank in sorted(paths)], (left, top, width, height)
    at = np.argwhere(np.logical_or.reduce([gaps(layers, window, inside, scale) for scale in scales]))[:, ::-1]
    out: dict[int, str] = {}
    cells, cell = np.unique(at // CELL, axis=0, return_inverse=True)
    for k in range(len(cells)):
        here = at[cell.reshape(-1) == k]
        (x0, y0), (x1, y1) = here.min(0) - BEYOND, here.max(0) + 1 + BEYOND
        around = ranks[max(0, y0 - STRAY) : y1 + STRAY, max(0, x0 - STRAY) : x1 + STRAY]
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
        corners += left, top
        place = int(around[around >= 0].min())
        out[place] = out.get(place, "") + closed([links(corners)])
    return out
