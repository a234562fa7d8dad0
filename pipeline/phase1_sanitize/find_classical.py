"""Badges by their look, lettering and plates by a text detector and reader that carry their models in their package (RapidOCR)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.find_badges import BADGES, badges
from pipeline.phase1_sanitize.plate_corners import grow_plate
from pipeline.phase1_sanitize.quads import PLATE, Quad
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


@dataclass(frozen=True, slots=True)
class FindSettings:
    """`text_threshold` is the least score of the reader, 0..1, `box_threshold` of the detector; `threads` of one inference.

    The detector sees the part to look in once for each of `sides`, with its longest side that many pixels: it reads large lettering
    in a small picture and small lettering in a large one, and no single size finds all.
    """

    text_threshold: float = 0.55
    box_threshold: float = 0.3
    threads: int = 2
    sides: tuple[int, ...] = (1024, 1600)


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
        content = rgb[rows, columns]
        lines: list[Found] = []
        for side in settings.sides:
            scale = side / max(content.shape[:2])
            method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
            bgr = np.ascontiguousarray(cv2.resize(content, None, fx=scale, fy=scale, interpolation=method)[:, :, ::-1], np.uint8)
            boxes = cast("TextDetOutput", detector(bgr)).boxes
            for box in [] if boxes is None else boxes.astype(np.float32):
                text, score = _read(reader, bgr, box)
                quad = (box / scale + np.array([columns.start, rows.start])).astype(np.float32)
                lines.append(Found(TEXT, score, quad, text))
        return emblems + [found for line in _each_once(lines) for found in _name(rgb, line, labels, settings.text_threshold)]

    return find


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
    if height >= 1.5 * width:  # a column of letters or a line that runs upwards
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


def _name(rgb: Rgb, line: Found, labels: Sequence[str], threshold: float) -> list[Found]:
    """What a line of signs is: a plate, lettering, or nothing that was asked for. Without plates asked for, their signs are text."""
    read = _legible(line.text, line.score, threshold)
    if PLATE in labels:
        plate = grow_plate(rgb, line.quad)
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
