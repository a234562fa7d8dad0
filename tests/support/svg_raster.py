"""What a drawn SVG shows, measured on renders of its fills against the label image. Shared by the tests and by `bench.vectorize`."""

from dataclasses import dataclass
from xml.etree import ElementTree

import cv2
import numpy as np
import resvg_py
from numba import njit, prange
from numpy.typing import NDArray

Labels = NDArray[np.uint8]  # (H, W), index into the palette, or `nothing`
Rgb = NDArray[np.uint8]  # (H, W, 3)
Points = NDArray[np.int64]  # (m, 2), x y
SVG = "{http://www.w3.org/2000/svg}"

#: Channel steps between the two renders that make a gap, and how far inside the drawing (px) it counts.
SEEN, INSIDE = 2, 4.0
#: From how far away (px) a colour has strayed that is not just a moved boundary.
FAR = 3.0
#: How many faults of each kind are named.
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What `gaps`, `pixels_off`, `shifts` (99th percentile and largest) and `strays` (largest, and how many above `FAR`) say."""

    gaps: int
    off: float
    p99: float
    largest: float
    stray: float
    strayed: int


def without_lines(svg: bytes | str) -> str:
    """The document without its line layer."""
    root = ElementTree.fromstring(svg)
    for child in [g for g in root.findall(f"{SVG}g") if g.get("id") == "lines"]:
        root.remove(child)
    return ElementTree.tostring(root, encoding="unicode")


def render(svg: str, background: str | None = None, crisp: bool = False) -> Rgb:
    """resvg at 1:1: (H, W, 3) on a background, (H, W, 4) without; `crisp` gives each pixel what lies at its centre, unmixed."""
    data = resvg_py.svg_to_bytes(
        svg_string=svg, background=background, skip_system_fonts=True, shape_rendering="crisp_edges" if crisp else "geometric_precision"
    )
    image = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(
        image, cv2.COLOR_BGRA2RGBA if background is None else cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    )


def gaps(magenta: Rgb, green: Rgb, nothing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) pixels through which the background shows: the renders on #FF00FF and on #00FF00 differ by more than `SEEN` in a channel.

    Only pixels farther than `INSIDE` from everything that is not to be drawn: the outline's antialiasing is no gap.
    """
    differ = cv2.absdiff(magenta, green).max(2) > SEEN
    if nothing.any():
        differ &= cv2.distanceTransform((~nothing).astype(np.uint8), cv2.DIST_L2, 5) > INSIDE
    return differ


@njit(cache=True, parallel=True)
def _nearest(magenta: Rgb, green: Rgb, palette: NDArray[np.int64], nothing: int) -> Labels:
    height, width = magenta.shape[:2]
    out = np.empty((height, width), np.uint8)
    for y in prange(height):
        for x in range(width):
            alpha = 255.0 - (np.int64(magenta[y, x, 0]) - np.int64(green[y, x, 0]))
            if alpha < 128:
                out[y, x] = nothing
                continue
            k = 255.0 / min(alpha, 255.0)
            r, g, b = k * green[y, x, 0], k * magenta[y, x, 1], k * green[y, x, 2]
            best, found = 1e18, 0
            for i in range(len(palette)):
                d = (r - palette[i, 0]) ** 2 + (g - palette[i, 1]) ** 2 + (b - palette[i, 2]) ** 2
                if d < best:
                    best, found = d, i
            out[y, x] = found
    return out


def shown(magenta: Rgb, green: Rgb, palette: NDArray[np.uint8], nothing: int) -> Labels:
    """The nearest palette colour (sRGB distance) of each pixel that both renders tell, `nothing` where alpha is below 128.

    The red of magenta and the lack of it in green give alpha; each channel that a background lacks gives the colour times it.
    """
    return _nearest(magenta, green, palette.astype(np.int64), nothing)


def at_centers(svg: str, palette: NDArray[np.uint8], nothing: int) -> Labels:
    """What lies at each pixel's centre: a render without antialiasing, so that no mixture of two colours is taken for a third."""
    image = render(svg, crisp=True)
    empty = image[..., 3:] == 0
    magenta, green = (np.where(empty, np.array(color, np.uint8), image[..., :3]) for color in ((255, 0, 255), (0, 255, 0)))
    return shown(magenta, green, palette, nothing)


def pixels_off(labels: Labels, seen: Labels) -> float:
    """Share of the whole square's pixels whose colour is another one."""
    return float(np.mean(labels != seen))


def boundary(key: Labels) -> NDArray[np.bool_]:
    """(H + 1, W + 1): the corners of the pixel grid that lie on a crack, an edge between two pixels of different keys.

    The picture's frame is no crack.
    """
    height, width = key.shape
    out = np.zeros((height + 1, width + 1), bool)
    across, down = key[:, 1:] != key[:, :-1], key[1:] != key[:-1]
    out[:-1, 1:-1] |= across
    out[1:, 1:-1] |= across
    out[1:-1, :-1] |= down
    out[1:-1, 1:] |= down
    return out


def shifts(labels: Labels, seen: Labels) -> tuple[NDArray[np.float32], Points]:
    """How far boundaries lie apart: distances (m,), px, from every boundary point of `labels` to the nearest one of `seen` and
    from every one of `seen` back; and the points (m, 2).

    Boundary points are the grid corners on cracks. Both ways, so that a lost speck and an invented one count by how far they
    are from any boundary; infinite where the other picture has no boundary at all.
    """
    one, other = boundary(labels), boundary(seen)
    either = one | other
    if not either.any():
        return np.zeros(1, np.float32), np.zeros((1, 2), np.int64)
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    one, other = one[window], other[window]
    far = np.concatenate([_distance(other)[one], _distance(one)[other]])
    at = np.concatenate([np.argwhere(one), np.argwhere(other)])[:, ::-1] + [columns[0], rows[0]]
    return far, at


def _distance(marked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the nearest marked point; infinite without one."""
    if not marked.any():
        return np.full(marked.shape, np.inf, np.float32)
    return cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def strays(labels: Labels, seen: Labels) -> tuple[NDArray[np.float32], Points]:
    """For every pixel (m, 2), x y, that shows a wrong colour, the distance (m,), px between centres, to the nearest that has to.

    It minds the colours, which `shifts` does not: a face painted in another's colour, or a hairline between two faces through
    which a third one under them is seen. Infinite where a colour is shown that the label image has not.
    """
    wrong = labels != seen
    found, at = [np.zeros(0, np.float32)], [np.zeros((0, 2), np.int64)]
    for color in np.unique(seen[wrong]):
        some = wrong & (seen == color)
        has = labels == color
        rows, columns = np.flatnonzero(some.any(1)), np.flatnonzero(some.any(0))
        for reach in (8, max(labels.shape)):  # a window around the wrong pixels, or all where it does not hold the answer
            window = np.s_[max(0, rows[0] - reach) : rows[-1] + reach + 1, max(0, columns[0] - reach) : columns[-1] + reach + 1]
            far = _distance(has[window])[some[window]]
            if far.max() <= reach:
                break
        found.append(far)
        at.append(np.argwhere(some)[:, ::-1])
    return np.concatenate(found), np.concatenate(at)


def fidelity(svg: bytes | str, labels: Labels, palette: NDArray[np.uint8], nothing: int) -> tuple[Fidelity, dict[str, Points]]:
    """All of the above for one SVG's fills, and where the first few of each fault and the worst shifts are, x y.

    `off` is taken from the antialiased render, the shifts from pixels' centres.
    """
    fills = without_lines(svg)
    magenta, green = render(fills, "#FF00FF"), render(fills, "#00FF00")
    seen = shown(magenta, green, palette, nothing)
    centers = at_centers(fills, palette, nothing)
    gap = gaps(magenta, green, labels == nothing)
    (moved, where), (strayed, there) = shifts(labels, centers), strays(labels, centers)
    found = Fidelity(
        int(np.count_nonzero(gap)),
        pixels_off(labels, seen),
        float(np.percentile(moved, 99)),
        float(moved.max()),
        float(strayed.max(initial=0)),
        int(np.count_nonzero(strayed > FAR)),
    )
    return found, {
        "gaps": np.argwhere(gap)[:SHOWN, ::-1],
        "strays": there[np.argsort(-strayed, kind="stable")[: min(SHOWN, found.strayed)]],
        "shifts": where[np.argsort(-moved, kind="stable")[:SHOWN]],
    }
