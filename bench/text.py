"""How well plates and lettering are found and removed: `python -m bench.text [--drawn] [NAME …]`.

The vehicle's true outline is the matte, so that only this phase is judged, in the vehicle's own square, as in a job. A plate is found
when a removed plate overlaps its hand-made box (intersection over union of at least 0.3), a text when half of its box lies in removed
boxes. `astray` is the part of the vehicle that was changed outside all boxes, `outside` the part of the background. Tesseract is the
second reader: it must not read a removed text in the clean plate. Writes bench/out/text_*.png: before, mask, after.

With --drawn the photographs are drawn too, and what tesseract and RapidOCR read in the finished previews is listed: two letters in a row
or more, at a confidence above 0.6, inside the hand-made boxes (none is asked for) and anywhere else (one at most over all).
"""

import argparse
import difflib
import io
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bench.reading import make_read
from pipeline import engines
from pipeline.intake.photo import decode, decode_matte, letterbox, placed
from pipeline.job import read as read_job
from pipeline.phase0_vehicle.framing import square_of
from pipeline.phase1_sanitize.find_classical import FINDS, make_find
from pipeline.phase1_sanitize.inpaint_classical import inpaint
from pipeline.phase1_sanitize.mask_classical import masks
from pipeline.phase1_sanitize.quads import overlap, padded, rectify, size
from pipeline.phase1_sanitize.sanitize import SanitizeSettings, sanitize
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.run import run
from pipeline.settings import load
from pipeline.steps import Find, Steps
from pipeline.values import Box, CleanPlate, Found, Frame, Matte, Rgb, Vehicle
from tests.support.photographs import FOLDER
from tests.support.stand_in_steps import stand_in_steps

OUT = Path(__file__).parent / "out"
#: How far the hand-made boxes may be off, share of the photo's longer side.
BY_EYE = 0.015


@dataclass(frozen=True, slots=True)
class Truth:
    """A plate (`text` is "") or a readable text in a hand-made box, in the square's pixels."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Case:
    """One photograph in its square, its true matte, what should go, and where a plate's or text's box may be (also unread ones)."""

    name: str
    rgb: Rgb
    frame: Frame
    matte: Matte
    truths: tuple[Truth, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only photographs whose names contain one of these")
    parser.add_argument("--drawn", action="store_true", help="read the finished drawings instead")
    args = parser.parse_args()
    if not (FOLDER / "boxes.json").exists():
        sys.exit(f"This needs the photographs in {FOLDER}, which are not part of the project.")
    if shutil.which("tesseract") is None:
        sys.exit("This needs the second reader: apt-get install tesseract-ocr")
    OUT.mkdir(exist_ok=True)
    boxes = json.loads((FOLDER / "boxes.json").read_text(encoding="utf-8"))
    photos = [
        path for path in sorted(FOLDER.iterdir()) if path.suffix in {".jpg", ".png"} and (FOLDER / "masks" / f"{path.stem}.png").exists()
    ]
    chosen = [path for path in photos if not args.names or any(name in path.name for name in args.names)]
    if args.drawn:
        read_drawings(chosen, boxes)
        return
    started = time.perf_counter()
    find = make_find()
    print(f"detector and reader built in {time.perf_counter() - started:.2f} s\n")
    print(f"{'photograph':22s} {'find s':>6s} {'rest s':>6s} {'astray':>7s} {'outside':>7s}  removed")
    verdicts: list[bool] = []
    for path in sorted(chosen, key=lambda path: path.name not in boxes):
        verdicts += judge(case(path, boxes.get(path.name)), find, covered=path.name in boxes)
    if verdicts:
        print(f"\nfound {sum(verdicts)} of {len(verdicts)} readable texts and plates ({sum(verdicts) / len(verdicts):.0%})")


def read_drawings(paths: list[Path], boxes: dict[str, dict[str, list]]) -> None:
    """Draw each photograph as a job does and print the words that two readers are sure of, inside the hand-made boxes and elsewhere."""
    steps, settings, read, words = engines.classical({}), load(None), make_read(), {"inside": [], "elsewhere": []}
    for path in paths:
        photo = decode(path.read_bytes())
        matte = decode_matte((FOLDER / "masks" / f"{path.stem}.png").read_bytes(), photo)
        job = read_job({"image_base64": "-", "outputs": ["svg", "png"]})
        finished = run(photo, matte, job, steps, settings, Progress())
        png = Image.open(io.BytesIO(finished.drawing.png)).convert("RGBA")
        preview = np.asarray(Image.alpha_composite(Image.new("RGBA", png.size, "white"), png).convert("RGB"))
        Image.fromarray(preview).save(OUT / f"text_drawn_{path.stem}.png")
        frame, known = finished.labels.frame, boxes.get(path.name, {})
        meant = [frame.to_square(tuple(box)) for box in (*known.get("plates", []), *(text["box"] for text in known.get("texts", [])))]
        for word in read(preview):
            x, y = ((word.box[k] + word.box[k + 2]) / 2 * frame.size for k in (0, 1))
            margin = BY_EYE * max(frame.photo_width, frame.photo_height) * frame.scale
            inside = any(x0 - margin < x < x1 + margin and y0 - margin < y < y1 + margin for x0, y0, x1, y1 in meant)
            words["inside" if inside else "elsewhere"].append(f"{path.stem}: {word.reader} {word.text!r} {word.sure:.2f}")
        print(f"{path.stem} drawn and read", flush=True)
    for where, told in words.items():
        print(f"\n{where} the hand-made boxes: {len(told) or 'nothing'}", *told, sep="\n    ")


def case(path: Path, boxes: dict[str, list] | None) -> Case:
    photo = decode(path.read_bytes())
    height, width = photo.rgb.shape[:2]
    outline = np.array(Image.open(FOLDER / "masks" / f"{path.stem}.png").convert("L").resize((width, height), Image.Resampling.BILINEAR))
    place = bounds(outline > 127)
    if place is None:
        raise ValueError(f"{path.stem} has an empty outline")
    frame = square_of(place, width, height, 2048)
    side = frame.size
    truths = [Truth("", frame.to_square(tuple(box))) for box in (boxes or {}).get("plates", [])]
    truths += [Truth(text["text"], frame.to_square(tuple(text["box"]))) for text in (boxes or {}).get("texts", []) if text["text"]]
    matte = Matte(placed(outline, frame.photo, side), None)
    return Case(path.stem, letterbox(photo.rgb, frame, side), frame, matte, tuple(truths))


def judge(case: Case, find: Find, *, covered: bool) -> list[bool]:
    """Print what became of one photograph; whether each of its truths was found."""
    seconds = 0.0

    def timed(rgb: Rgb, region: Box, labels: list[str]) -> list[Found]:
        nonlocal seconds
        started = time.perf_counter()
        found = find(rgb, region, labels)
        seconds = time.perf_counter() - started
        return found

    started = time.perf_counter()
    plate = sanitize(Vehicle(case.rgb, case.frame, case.matte), sorted(FINDS), engine(timed), SanitizeSettings(), Progress())
    rest = time.perf_counter() - started - seconds
    told = ", ".join(f"{one.label} {one.text!r} {one.score:.2f}" for one in plate.removed) or "nothing"
    astray, outside = strays(case, plate)
    print(f"{case.name[:22]:22s} {seconds:6.2f} {rest:6.2f} {astray if covered else float('nan'):7.2%} {outside:7.2%}  {told}")
    assert (case.rgb[~plate.removed_mask] == plate.rgb[~plate.removed_mask]).all()
    for number, one in enumerate(plate.removed):
        save(case, plate, one, number)
    verdicts = [found(truth, plate.removed) for truth in case.truths]
    for truth, verdict in zip(case.truths, verdicts, strict=True):
        report(case, plate, truth, verdict)
    for one in () if covered else plate.removed:
        report(case, plate, Truth(one.text, one.box), verdict=True)
    return verdicts


def engine(find: Find) -> Steps:
    """The steps of this phase; the others are never called."""

    return stand_in_steps(finds=FINDS, find=find, mask=masks, inpaint=inpaint)


def corners(box: Box) -> np.ndarray:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def found(truth: Truth, removed: tuple[Found, ...]) -> bool:
    x0, y0, x1, y1 = truth.box
    area = (x1 - x0) * (y1 - y0)
    if truth.text:
        return sum(overlap(corners(truth.box), one.quad) for one in removed) >= 0.5 * area
    plates = [one.box for one in removed if one.label == "license plate"]
    common = [(box, overlap(corners(truth.box), corners(box))) for box in plates]
    return any(c >= 0.3 * (area + (box[2] - box[0]) * (box[3] - box[1]) - c) for box, c in common)


def strays(case: Case, plate: CleanPlate) -> tuple[float, float]:
    """The vehicle's changed area outside all boxes, and the changed area outside the vehicle, as shares of the vehicle's."""
    inside = case.matte.inside
    meant = np.zeros_like(inside)
    margin = BY_EYE * max(case.frame.photo_width, case.frame.photo_height) * case.frame.scale
    for truth in case.truths:
        x0, y0, x1, y1 = truth.box
        meant[max(0, int(y0 - margin)) : int(y1 + margin), max(0, int(x0 - margin)) : int(x1 + margin)] = True
    changed = plate.removed_mask
    return float((changed & inside & ~meant).sum() / inside.sum()), float((changed & ~inside).sum() / inside.sum())


def report(case: Case, plate: CleanPlate, truth: Truth, verdict: bool) -> None:
    if not truth.text:
        print(f"    {'plate':24s} {'found' if verdict else 'NOT FOUND'}")
        return
    before, after = (second_reader(views(rgb, truth, plate.removed), truth.text) for rgb in (case.rgb, plate.rgb))
    print(f"    {truth.text:24s} {'found' if verdict else 'NOT FOUND':9s}  second reader before {before!r}, after {after!r}")


def views(rgb: Rgb, truth: Truth, removed: tuple[Found, ...]) -> list[Rgb]:
    """The text's box with some room, and upright patches of what was removed there."""
    pictures = [crop(rgb, truth.box, 0.15)]
    for one in removed:
        if overlap(corners(truth.box), one.quad) > 0:
            width, height = size(one.quad)
            pictures.append(rectify(rgb, padded(one.quad, 0.2 * height, 0.1 * height), round(1.4 * width), round(1.4 * height))[0])
    return pictures


def second_reader(pictures: list[Rgb], text: str) -> str:
    """What tesseract reads that is like `text`, at three sizes, dark on light or light on dark, as one line or scattered; or ""."""
    wanted = "".join(c for c in text.lower() if c.isalnum())
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    shown = [cv2.resize(g, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for g in grey for scale in (1, 2, 4)]
    for picture in [*shown, *(255 - one for one in shown)]:
        png = cv2.imencode(".png", picture)[1].tobytes()
        for mode in ("7", "11"):
            command = ["tesseract", "stdin", "stdout", "--psm", mode]
            run = subprocess.run(command, input=png, capture_output=True, check=True, env={"OMP_THREAD_LIMIT": "1"})
            read = run.stdout.decode().strip()
            got = "".join(c for c in read.lower() if c.isalnum())
            alike = difflib.SequenceMatcher(None, wanted, got, autojunk=False).find_longest_match()
            if alike.size >= min(3, len(wanted)):
                return read
    return ""


def crop(rgb: Rgb, box: Box, margin: float) -> Rgb:
    x0, y0, x1, y1 = box
    extra = margin * max(x1 - x0, y1 - y0)
    return rgb[max(0, int(y0 - extra)) : int(y1 + extra), max(0, int(x0 - extra)) : int(x1 + extra)]


def save(case: Case, plate: CleanPlate, one: Found, number: int) -> None:
    marked = case.rgb.copy()
    marked[plate.removed_mask] = (255, 0, 255)
    parts = [crop(rgb, one.box, 0.4) for rgb in (case.rgb, marked, plate.rgb)]
    scale = min(4.0, 600 / max(parts[0].shape[:2]))
    large = [cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for part in parts]
    Image.fromarray(np.vstack(large)).save(OUT / f"text_{case.name}_{number}.png")


if __name__ == "__main__":
    main()
