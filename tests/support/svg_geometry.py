"""What a drawn SVG is made of, measured on its geometry: segments, doubles, inflections, corners, points along it.

Shared by the tests and by `bench.vectorize`. Reads any tracer's SVG: absolute and relative commands, quadratic curves,
`translate`, `scale` and `matrix`. Units are the document's.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SVG = "{http://www.w3.org/2000/svg}"
#: A turn that is a corner and one that is a bend of its own (degrees); the curvature below which a piece counts as straight (1/px).
CORNER, BEND, FLAT = 10.0, 1.0, 1e-4
_TOKEN = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_TRANSFORM = re.compile(r"(translate|scale|matrix)\(([^)]*)\)")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}


@dataclass(frozen=True, slots=True)
class Shape:
    """One path.

    `layer` is the id of the outermost group ("" without one). `curves` (n, 8) are all its segments as cubics x0 y0 … x3 y3, a
    line with its handles at thirds; `straight` (n,) marks lines, `written` (n,) is False for the line that a Z implies.
    Subpath i is curves[starts[i]:starts[i + 1]], `closed` (k,) says whether it ends in a Z.
    """

    layer: str
    fill: str
    stroke: str
    curves: Floats
    straight: NDArray[np.bool_]
    written: NDArray[np.bool_]
    starts: NDArray[np.int64]
    closed: NDArray[np.bool_]


class _Pen:
    """Follows path data and notes every segment."""

    def __init__(self) -> None:
        self.at = self.start = self.handle = (0.0, 0.0)
        self.curves: list[tuple[float, ...]] = []
        self.straight: list[bool] = []
        self.written: list[bool] = []
        self.starts: list[int] = []
        self.closed: list[bool] = []
        self.down = False

    def _note(self, curve: tuple[float, ...], straight: bool, written: bool) -> None:
        if not self.down:
            self.starts.append(len(self.curves))
            self.closed.append(False)
            self.down = True
        self.curves.append((*self.at, *curve))
        self.straight.append(straight)
        self.written.append(written)
        self.handle, self.at = (curve[2], curve[3]), (curve[4], curve[5])

    def move(self, x: float, y: float) -> None:
        self.at = self.start = self.handle = (x, y)
        self.down = False

    def line(self, x: float, y: float, written: bool = True) -> None:
        (x0, y0) = self.at
        self._note((x0 + (x - x0) / 3, y0 + (y - y0) / 3, x0 + 2 * (x - x0) / 3, y0 + 2 * (y - y0) / 3, x, y), True, written)
        self.handle = self.at

    def cubic(self, *a: float) -> None:
        self._note(a, False, True)

    def quadratic(self, qx: float, qy: float, x: float, y: float) -> None:
        (x0, y0) = self.at
        self._note((x0 + 2 * (qx - x0) / 3, y0 + 2 * (qy - y0) / 3, x + 2 * (qx - x) / 3, y + 2 * (qy - y) / 3, x, y), False, True)
        self.handle = (qx, qy)

    def close(self) -> None:
        if self.down:
            if self.at != self.start:
                self.line(*self.start, written=False)
            self.closed[-1] = True
        self.move(*self.start)


def _follow(data: str) -> _Pen:
    """Runs a pen along path data; raises ValueError for commands that no tracer here writes (arcs)."""
    pen, tokens, command, before, i = _Pen(), _TOKEN.findall(data), "", "", 0
    while i < len(tokens):
        if tokens[i].isalpha():
            command, i = tokens[i], i + 1
        upper = command.upper()
        if upper not in _ARGUMENTS or (upper == "Z" and i < len(tokens) and not tokens[i].isalpha()):
            raise ValueError(f"path data {data[:40]!r} holds {command!r}, which is not read here")
        n = _ARGUMENTS[upper]
        a = [float(v) for v in tokens[i : i + n]]
        i += n
        x, y = pen.at
        if command.islower():
            a = [v + (x, y)[(k + (upper == "V")) % 2] for k, v in enumerate(a)]
        reflected = (2 * x - pen.handle[0], 2 * y - pen.handle[1])
        match upper:
            case "M":
                pen.move(*a)
                command = "l" if command == "m" else "L"
            case "L":
                pen.line(*a)
            case "H":
                pen.line(a[0], y)
            case "V":
                pen.line(x, a[0])
            case "C":
                pen.cubic(*a)
            case "S":
                pen.cubic(*(reflected if before in "CS" else (x, y)), *a)
            case "Q":
                pen.quadratic(*a)
            case "T":
                pen.quadratic(*(reflected if before in "QT" else (x, y)), *a)
            case "Z":
                pen.close()
        before = upper
    return pen


def _matrix(text: str) -> Floats:
    """A `transform` attribute as a (2, 3) matrix; raises ValueError for what is not read here."""
    out = np.eye(3)
    if _TRANSFORM.sub("", text).strip(" ,"):
        raise ValueError(f"transform {text!r} is not read here")
    for name, arguments in _TRANSFORM.findall(text):
        v = [float(t) for t in _TOKEN.findall(arguments)]
        if name == "translate":
            step = [[1, 0, v[0]], [0, 1, v[1] if len(v) > 1 else 0], [0, 0, 1]]
        elif name == "scale":
            step = [[v[0], 0, 0], [0, v[-1], 0], [0, 0, 1]]
        else:
            step = [[v[0], v[2], v[4]], [v[1], v[3], v[5]], [0, 0, 1]]
        out = out @ np.array(step, float)
    return out


def shape(data: str, layer: str = "", fill: str = "#000000", stroke: str = "none", matrix: Floats | None = None) -> Shape:
    """Path data → Shape."""
    pen = _follow(data)
    curves = np.array(pen.curves, float).reshape(-1, 4, 2)
    if matrix is not None:
        curves = curves @ matrix[:2, :2].T + matrix[:2, 2]
    starts = np.array([*pen.starts, len(pen.curves)], np.int64)
    return Shape(
        layer,
        fill,
        stroke,
        curves.reshape(-1, 8),
        np.array(pen.straight, bool),
        np.array(pen.written, bool),
        starts,
        np.array(pen.closed, bool),
    )


def read_svg(svg: bytes | str) -> list[Shape]:
    """Every path and rectangle of a document, in its order, with inherited colours and transforms."""
    found: list[Shape] = []

    def visit(node: ElementTree.Element, layer: str, fill: str, stroke: str, matrix: Floats) -> None:
        fill, stroke = node.get("fill", fill), node.get("stroke", stroke)
        if node.get("transform"):
            matrix = matrix @ _matrix(node.get("transform", ""))
        name = node.tag.removeprefix(SVG)
        if name == "path":
            found.append(shape(node.get("d", ""), layer, fill, stroke, matrix))
        elif name == "rect":
            x, y, w, h = (float(node.get(k, "0")) for k in ("x", "y", "width", "height"))
            found.append(shape(f"M{x} {y}h{w}v{h}h{-w}Z", layer, fill, stroke, matrix))
        for child in node:
            visit(child, layer or (child.get("id", "") if child.tag == f"{SVG}g" else ""), fill, stroke, matrix)

    visit(ElementTree.fromstring(svg), "", "#000000", "none", np.eye(3))
    return found


def in_layer(shapes: Sequence[Shape], lines: bool) -> list[Shape]:
    """The shapes of the line layer, or all that are not in it: the fills and whatever closes their gaps."""
    return [s for s in shapes if (s.layer == "lines") == lines]


def segments(shapes: Sequence[Shape]) -> tuple[int, int]:
    """(curves, lines) written: each drawn segment counts wherever it is written, a move and a Z do not."""
    straight = sum(int((s.straight & s.written).sum()) for s in shapes)
    return sum(int(s.written.sum()) for s in shapes) - straight, straight


def colors(shapes: Sequence[Shape]) -> set[str]:
    """Every fill and stroke in use, as #RRGGBB; `rgb(r,g,b)` is understood."""
    out = {c for s in shapes for c in (s.fill, s.stroke) if c != "none"}
    return {"#{:02X}{:02X}{:02X}".format(*(int(v) for v in re.findall(r"\d+", c))) if c.startswith("rgb") else c.upper() for c in out}


def duplicates(shapes: Sequence[Shape], places: int = 1) -> int:
    """How many shapes repeat an earlier one's geometry: the same segments after rounding to `places` decimals, whichever way
    round and from whichever of its points a path is written."""
    keys: Counter[bytes] = Counter()
    for s in shapes:
        there = np.round(s.curves, places) + 0.0  # no negative zeros
        there[s.straight, 2:6] = there[s.straight][:, [0, 1, 6, 7]]  # a line is told by its ends
        back = there.reshape(-1, 4, 2)[:, ::-1].reshape(-1, 8)
        differs = there != back
        first = differs.argmax(1)[:, None]
        smaller = np.take_along_axis(there, first, 1) <= np.take_along_axis(back, first, 1)
        way = np.where(smaller, there, back)
        keys[way[np.lexsort(way.T)].tobytes()] += 1
    return sum(keys.values()) - len(keys)


def _directions(curves: Floats) -> tuple[Floats, Floats]:
    """Unit directions (n, 2) in which segments set out and arrive; where a handle has no length, the next point tells."""
    p = curves.reshape(-1, 4, 2)

    def first(candidates: list[Floats]) -> Floats:
        out = candidates[-1].copy()
        for c in reversed(candidates[:-1]):
            some = np.hypot(c[:, 0], c[:, 1]) > 1e-6
            out[some] = c[some]
        return out / np.maximum(np.hypot(out[:, 0], out[:, 1]), 1e-12)[:, None]

    return first([p[:, k] - p[:, 0] for k in (1, 2, 3)]), first([p[:, 3] - p[:, k] for k in (2, 1, 0)])


def _cross(a: Floats, b: Floats) -> Floats:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _bends(curves: Floats) -> NDArray[np.int64]:
    """(n, 3) signs of curvature of the pieces between a cubic's inflections, in its direction; 0 where it stays below `FLAT`.

    B' × B'' of a cubic is a quadratic in t, so its roots are found exactly.
    """
    p = curves.reshape(-1, 4, 2)
    a = 3 * (p[:, 3] - 3 * p[:, 2] + 3 * p[:, 1] - p[:, 0])
    b = 6 * (p[:, 2] - 2 * p[:, 1] + p[:, 0])
    c = 3 * (p[:, 1] - p[:, 0])
    k2, k1, k0 = -_cross(a, b), 2 * _cross(c, a), _cross(c, b)
    root = np.sqrt(np.maximum(k1 * k1 - 4 * k2 * k0, 0))
    q = -0.5 * (k1 + np.where(k1 < 0, -root, root))
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([q / k2, k0 / q], 1)
    real = np.isfinite(roots) & (k1 * k1 - 4 * k2 * k0 > 0)[:, None]
    cuts = np.sort(np.clip(np.where(real, roots, 0), 0, 1), 1)
    edges = np.concatenate([np.zeros((len(p), 1)), cuts, np.ones((len(p), 1))], 1)
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    t = low + (high - low) * np.array([0.1, 0.3, 0.5, 0.7, 0.9])  # (n, 3, 5)
    speed = a[:, None, None] * t[..., None] ** 2 + b[:, None, None] * t[..., None] + c[:, None, None]
    bend = k2[:, None, None] * t**2 + k1[:, None, None] * t + k0[:, None, None]
    curvature = bend / np.maximum(np.hypot(speed[..., 0], speed[..., 1]), 1e-6) ** 3
    strongest = np.take_along_axis(curvature, np.abs(curvature).argmax(2)[..., None], 2)[..., 0]
    return np.where((np.abs(strongest) > FLAT) & (high - low > 1e-6)[..., 0], np.sign(strongest), 0).astype(np.int64)


def turns(curves: Floats, closed: bool) -> Floats:
    """(n,) degrees by which the path turns where segment i meets the next one; nan at the end of an open path."""
    out, arrive = _directions(curves)
    following = np.roll(out, -1, 0)
    turn = np.degrees(np.arctan2(_cross(arrive, following), (arrive * following).sum(1)))
    if not closed:
        turn[-1] = np.nan
    return turn


def _subpaths(shapes: Sequence[Shape]) -> list[tuple[Floats, bool]]:
    """Every subpath's segments that have a length, and whether it returns to its beginning."""
    out = []
    for s in shapes:
        for i in range(len(s.closed)):
            part = s.curves[s.starts[i] : s.starts[i + 1]]
            part = part[np.abs(part.reshape(-1, 4, 2) - part.reshape(-1, 4, 2)[:, :1]).max((1, 2)) > 1e-6]
            if len(part):
                out.append((part, bool(np.allclose(part[0, :2], part[-1, 6:], atol=1e-6))))
    return out


def inflections(shapes: Sequence[Shape]) -> int:
    """How often the direction of bending changes along the shapes' paths.

    Curvature is followed exactly through each cubic and across smooth joints (turn below `CORNER`); a joint's own turn of more
    than `BEND` is a bend too; what bends less than `FLAT` counts as straight and is passed over; a corner begins anew.
    """
    count = 0
    for part, closed in _subpaths(shapes):
        turn = turns(part, closed)
        joint = np.where(np.abs(turn) > BEND, np.sign(np.nan_to_num(turn)), 0)
        joint[np.isnan(turn) | (np.abs(turn) >= CORNER)] = 9
        row = np.concatenate([_bends(part), joint[:, None].astype(np.int64)], 1).ravel()
        row = row[row != 0]
        if closed and len(row):
            row = np.append(row, row[0])
        count += int((row[:-1] * row[1:] == -1).sum())
    return count


def length(shapes: Sequence[Shape]) -> float:
    """Length of everything drawn, by chords of at most about half a unit."""
    return sum(float(np.hypot(*np.diff(p, axis=0).T).sum()) for p, _ in (along(c, 0.5) for c, _ in _subpaths(shapes)))


def along(curves: Floats, step: float) -> tuple[Floats, Floats]:
    """Points (m, 2) along joined segments, at most about `step` apart, both ends included, and unit directions (m, 2) there."""
    p = curves.reshape(-1, 4, 2)
    reach = np.hypot(*np.diff(p, axis=1).transpose(2, 0, 1)).sum(1)
    counts = np.maximum(1, np.ceil(reach / step).astype(int))
    which = np.repeat(np.arange(len(p)), counts)
    t = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[which]
    which, t = np.append(which, len(p) - 1), np.append(t, 1.0)[:, None]
    q, u = p[which], 1 - t
    points = u**3 * q[:, 0] + 3 * u * u * t * q[:, 1] + 3 * u * t * t * q[:, 2] + t**3 * q[:, 3]
    ways = u * u * (q[:, 1] - q[:, 0]) + 2 * u * t * (q[:, 2] - q[:, 1]) + t * t * (q[:, 3] - q[:, 2])
    out, arrive = _directions(curves)
    size = np.hypot(ways[:, 0], ways[:, 1])
    ways = np.where((size > 1e-9)[:, None], ways / np.maximum(size, 1e-9)[:, None], np.where(t < 0.5, out[which], arrive[which]))
    return points, ways


def corners(shapes: Sequence[Shape], least: float = 15.0) -> Floats:
    """(k, 2) where paths turn by at least `least` degrees, and where they begin and end."""
    out = []
    for part, closed in _subpaths(shapes):
        turn = turns(part, closed)
        out.append(part[np.isnan(turn) | (np.abs(turn) >= least), 6:])
        if not closed:
            out.append(part[:1, :2])
    return np.concatenate(out) if out else np.empty((0, 2))


def sampled(shapes: Sequence[Shape], step: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Points (m, 2), directions (m, 2) and the number of the subpath (m,) along everything drawn."""
    parts = [along(part, step) for part, _ in _subpaths(shapes)]
    if not parts:
        return np.empty((0, 2)), np.empty((0, 2)), np.empty(0, np.int64)
    return (
        np.concatenate([p for p, _ in parts]),
        np.concatenate([d for _, d in parts]),
        np.repeat(np.arange(len(parts)), [len(p) for p, _ in parts]),
    )
