"""Badges by their look, lettering and plates by a text detector and reader that carry their models in their package (RapidOCR).

What they read is grown to its whole line, and rows of letters that they do not read are found by their shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from pipeline.parallel import both
from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.find_badges import BADGES, badges
from pipeline.phase1_sanitize.letter_rows import letter_rows
from pipeline.phase1_sanitize.plate_corners import grow_plate
from pipeline.phase1_sanitize.quads import PLATE, Quad
from pipeline.phase1_sanitize.whole_lines import whole_line
from pipeline.steps import Find
from pipeline.values import Box, Found, Rgb

if TYPE_CHECKING:
    from rapidocr import RapidOCR
    from rapidocr.ch_ppocr_det import TextDetOutput
    from rapidocr.ch_ppocr_rec import TextRecOutput

TEXT = "text"
#: The labels that this module's `find` can find.
FINDS = frozenset({PLATE, TEXT, *BADGES})
#: A plate whose characters nobody can read must be a cleaner rectangle than one that was read.
UNREAD_PLATE_FILL = 0.93
#: Where the contrast is evened out: the window's sigma, pixels of the picture, and a spread (L*, 0..100) that counts as none.
LOCAL, CALM = 5.0, 5.0
#: A box this much higher than wide holds a column of letters, or a line that runs upwards.
UPRIGHT = 1.5
#: A box less wide for its height holds one sign at most, and need not be read.
ONE_SIGN = 0.8
#: Most of the part to look in that a plate takes: a motorcycle's from behind takes most. A larger light rectangle is a tailgate.
PLATE_SHARE = 0.04
#: A row of letters that lies in what was read by this share of its area is that.
TWICE = 0.3


@dataclass(frozen=True, slots=True)
class FindSettings:
    """`text_threshold` is the least score of the reader, 0..1, `box_threshold` of the detector; `threads` of one inference.

    Two inferences run at once: more threads for each are slower on two cores, and cost a third more of the processor's time.

    The detector sees the part to look in twice, with its longest side `plain` and `relief` pixels: as it is, for large lettering, and
    with its contrast evened out, for small lettering and letters that stand out by their edges alone.
    """

    text_threshold: float = 0.55
    box_threshold: float = 0.3
    threads: int = 1
    plain: int = 896
    relief: int = 1280


def make_find(settings: FindSettings = FindSettings()) -> Find:
    """Load the text detector and reader (0.6 s, 31 MB of models) and return the step that finds plates, lettering and badges.

    The step may be called from several threads at once. It writes no file and never uses the network: both models
    are named by their path, so a missing one raises `FileNotFoundError` here instead of being fetched.
    """
    detector, reader = _load(settings)

    def find(rgb: Rgb, region: Box, labels: Sequence[str]) -> list[Found]:
        names = [label for label in labels if label in BADGES]
        emblems = badges(rgb, region, names[0]) if names else []
        if not {PLATE, TEXT} & set(labels):
            return emblems
        rows, columns = quads.window(region)
        content, corner = rgb[rows, columns], np.array([columns.start, rows.start], np.float32)
        large, small = (_seen(content, side) for side in (settings.plain, settings.relief))
        largest = PLATE_SHARE * content.shape[0] * content.shape[1]
        lines, (more, letters) = both(
            lambda: _lines(large, detector, reader),
            lambda: (_lines(replace(small, rgb=_relief(small.rgb)), detector, reader), letter_rows(small.rgb)),
        )
        placed = [replace(line, quad=line.quad + corner) for line in (*lines, *more)]
        found = [found for line in _each_once(placed) for found in _name(rgb, line, labels, settings.text_threshold, largest)]
        unread = [((quad / small.scale + corner).astype(np.float32), count) for quad, count in letters]
        if TEXT in labels:
            found += _unread(unread, found)
        return emblems + [replace(one, quad=whole_line(rgb, one.quad)) if one.label == TEXT else one for one in found]

    return find


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is looked into: `rgb` (H, W, 3), `scale` times as large as in the vehicle's square."""

    rgb: Rgb
    scale: float


def _seen(content: Rgb, side: int) -> _Seen:
    scale = side / max(content.shape[:2])
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return _Seen(np.asarray(cv2.resize(content, None, fx=scale, fy=scale, interpolation=method), np.uint8), scale)


def _relief(rgb: Rgb) -> Rgb:
    """The lightness in units of its local spread, grey in three channels: letters of a dark relief stand out as printed ones do."""
    light = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32) / 2.55
    mean, square = (cv2.GaussianBlur(one, (0, 0), LOCAL) for one in (light, light * light))
    even = (light - mean) / (np.sqrt(np.maximum(square - mean * mean, 0)) + CALM)
    return np.repeat(np.clip(128 + 50 * even, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _lines(seen: _Seen, detector: "RapidOCR", reader: "RapidOCR") -> list[Found]:
    """The lines that the detector boxes, as the reader reads them; quads in pixels of the part of the square that is looked into."""
    bgr = np.ascontiguousarray(seen.rgb[:, :, ::-1])
    boxes = cast("TextDetOutput", detector(bgr)).boxes
    lines = []
    for box in [] if boxes is None else boxes.astype(np.float32):
        width, height = quads.size(box)
        if width < ONE_SIGN * height < ONE_SIGN * UPRIGHT * width:
            continue
        text, score = _read(reader, bgr, box)
        lines.append(Found(TEXT, score, (box / seen.scale).astype(np.float32), text))
    return lines


def _unread(rows: Sequence[tuple[Quad, int]], found: Sequence[Found]) -> list[Found]:
    """The rows of letters that nobody read, the longest first; a row of n letters is one with a score of 1 - 1 / n."""
    out: list[Found] = []
    for quad, letters in sorted(rows, key=lambda row: -row[1]):
        if all(quads.overlap(quad, other.quad) < TWICE * quads.area(quad) for other in (*found, *out)):
            out.append(Found(TEXT, 1 - 1 / letters, quad))
    return out


def _load(settings: FindSettings) -> tuple["RapidOCR", "RapidOCR"]:
    """One object that only detects and one that only reads: RapidOCR keeps a call's `use_det` and `use_rec` for the next call."""
    import rapidocr  # noqa: PLC0415 — half a second, and importing the pipeline must stay light

    models = Path(rapidocr.__file__).parent / "models"
    common = {
        "Global.log_level": "critical",
        "Global.use_cls": False,
        "Global.text_score": 0.0,
        "Global.max_side_len": 4096,
        "EngineConfig.onnxruntime.intra_op_num_threads": settings.threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
        "Det.limit_type": "max",
        "Det.limit_side_len": 4096,
        "Det.box_thresh": settings.box_threshold,
        "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
    }
    detector = rapidocr.RapidOCR(params={**common, "Global.use_rec": False})
    reader = rapidocr.RapidOCR(params={**common, "Global.use_det": False})
    blank = np.zeros((64, 64, 3), np.uint8)
    detector(blank)  # the sessions are made at the first call
    reader(blank)
    return detector, reader


def _read(reader: "RapidOCR", bgr: Rgb, box: Quad) -> tuple[str, float]:
    """The text in a box of the picture and the reader's score."""
    width, height = (max(4, round(v)) for v in quads.size(box))
    patch, _ = quads.rectify(bgr, box, width, height)
    if height >= UPRIGHT * width:  # a column of letters or a line that runs upwards
        patch = np.ascontiguousarray(np.rot90(patch))
    answer = cast("TextRecOutput", reader(patch))
    if answer.txts is None or answer.scores is None:
        raise RuntimeError("the text reader gave no answer for a box")
    return str(answer.txts[0]).strip(), float(answer.scores[0])


def _each_once(lines: list[Found]) -> list[Found]:
    """The lines without those that a better reading of the same place covers by half; the best first."""
    kept: list[Found] = []
    for line in sorted(lines, key=lambda line: -line.score * len(line.text) ** 0.5):
        own = quads.area(line.quad)
        if all(quads.overlap(line.quad, other.quad) < 0.5 * min(own, quads.area(other.quad)) for other in kept):
            kept.append(line)
    return kept


def _name(rgb: Rgb, line: Found, labels: Sequence[str], threshold: float, largest: float) -> list[Found]:
    """What a line of signs is: a plate, lettering, or nothing that was asked for. Without plates asked for, their signs are text."""
    read = _legible(line.text, line.score, threshold)
    if PLATE in labels:
        plate = grow_plate(rgb, line.quad)
        if plate is not None and quads.area(plate[0]) > largest:
            plate = None
        if plate is not None and read:
            return [Found(PLATE, line.score, plate[0], line.text)]
        if plate is not None and plate[1] >= UNREAD_PLATE_FILL:
            return [Found(PLATE, plate[1], plate[0])]
        if read and _plate_number(line.text):
            return [replace(line, label=PLATE, outlined=False)]
    return [line] if read and TEXT in labels else []


def _legible(text: str, score: float, threshold: float) -> bool:
    """Grilles, wheels and panel edges read as single signs or with low scores; two signs must be read well."""
    signs = sum(c.isalnum() for c in text)
    return score >= (threshold if signs >= 3 else (1 + threshold) / 2) and signs >= 2


def _plate_number(text: str) -> bool:
    """Whether the text alone looks like a registration: 5 to 9 capitals and digits, two of each at least."""
    signs = [c for c in text if c.isalnum()]
    digits = sum(c.isdigit() for c in signs)
    capitals = sum(c.isupper() for c in signs)
    return 5 <= len(signs) <= 9 and digits >= 2 and capitals >= 2 and digits + capitals == len(signs)
