"""What two independent readers, tesseract and RapidOCR as it comes, still read in a finished drawing."""

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from rapidocr import RapidOCR

from pipeline.values import Box, Rgb

#: Two letters in a row, of any script, and the confidence (0..1) above which they count as read.
LETTERS, SURE = re.compile(r"[^\W\d_]{2,}"), 0.6
#: RapidOCR sees a drawing at these sides: at its own, and at the one at which it reads the photographs' small lettering best.
SIDES = (1024, 2048)


@dataclass(frozen=True, slots=True)
class Word:
    """A string as a reader read it, its confidence 0..1, and its box as fractions of the picture."""

    reader: str
    text: str
    sure: float
    box: Box


def make_read() -> Callable[[Rgb], list[Word]]:
    """Build RapidOCR with its own defaults; the answer reads a square picture with both readers."""
    if shutil.which("tesseract") is None:
        sys.exit("This needs the second reader: apt-get install tesseract-ocr")
    limits = {"Global.max_side_len": max(SIDES), "Det.limit_type": "max", "Det.limit_side_len": max(SIDES)}
    rapid = RapidOCR(params={"Global.log_level": "critical", **limits})

    def read(rgb: Rgb) -> list[Word]:
        words = [*_tesseract(rgb), *(word for side in SIDES for word in _rapid(rapid, rgb, side))]
        return [word for word in words if word.sure > SURE and LETTERS.search(word.text)]

    return read


def _tesseract(rgb: Rgb) -> list[Word]:
    """Its words, scattered over the picture (page segmentation mode 11)."""
    png = cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()
    command = ["tesseract", "stdin", "stdout", "--psm", "11", "tsv"]
    run = subprocess.run(command, input=png, capture_output=True, check=True, env={"OMP_THREAD_LIMIT": "1"})
    side, out = len(rgb), []
    for row in csv.DictReader(io.StringIO(run.stdout.decode()), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["text"] and row["text"].strip():
            x, y, w, h = (int(row[key]) / side for key in ("left", "top", "width", "height"))
            out.append(Word("tesseract", row["text"].strip(), float(row["conf"]) / 100, (x, y, x + w, y + h)))
    return out


def _rapid(rapid: RapidOCR, rgb: Rgb, side: int) -> list[Word]:
    """Its lines, the picture seen at one side."""
    seen = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
    answer = rapid(np.ascontiguousarray(seen[:, :, ::-1]))
    if answer.txts is None:
        return []
    boxes = [(*quad.min(0) / side, *quad.max(0) / side) for quad in np.asarray(answer.boxes)]
    return [Word(f"RapidOCR {side}", text, float(score), box) for text, score, box in zip(answer.txts, answer.scores, boxes, strict=True)]
