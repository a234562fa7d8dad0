"""`python -m pipeline.sample OUT.jpg [--seed N] [--kind KIND] [--size WxH] [--truth DIR]`."""

import argparse
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.sample.compose import Box, Scene, scene
from pipeline.sample.look import KINDS

QUALITY = 85  # what cameras and phones write; enough to show the format's usual noise


def _size(words: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", words)
    if not match:
        raise argparse.ArgumentTypeError(f"{words!r} is not WIDTHxHEIGHT, as in 1600x1066")
    return int(match[1]), int(match[2])


def _rounded(box: Box) -> list[float]:
    return [round(v, 4) for v in box]


def jpeg(s: Scene) -> bytes:
    """The scene as a JPEG file."""
    out = io.BytesIO()
    Image.fromarray(s.rgb).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def boxes(s: Scene) -> dict[str, object]:
    """The ground truth's boxes, fractions of the picture."""
    return {
        "vehicle": _rounded(s.vehicle_box),
        "mirrors": [_rounded(b) for b in s.mirrors],
        "badges": [_rounded(b) for b in s.badges],
        "plates": [_rounded(b) for b in s.plates],
        "texts": [{"box": _rounded(t.box), "text": t.text, "on": t.on} for t in s.texts],
    }


def main(arguments: list[str]) -> int:
    """Draw, write, name the files."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.sample", description="Draws the sample picture of a vehicle.")
    parser.add_argument("out", type=Path, help="the JPEG to write")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="a car, a black one, one in a livery, a pick-up from behind")
    parser.add_argument("--size", type=_size, default=(1600, 1066), help="WIDTHxHEIGHT, default 1600x1066")
    parser.add_argument("--truth", type=Path, help="a folder for mask.png and boxes.json")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error("the seed is a number from 0 on")
    width, height = options.size
    try:
        s = scene(options.seed, width, height, options.kind)
    except ValueError as wrong:
        parser.error(str(wrong))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(jpeg(s))
    sys.stdout.write(f"{options.out}\n")
    if options.truth:
        options.truth.mkdir(parents=True, exist_ok=True)
        Image.fromarray(s.mask.astype(np.uint8) * 255).save(options.truth / "mask.png")
        (options.truth / "boxes.json").write_text(json.dumps({options.out.name: boxes(s)}, indent=1) + "\n")
        sys.stdout.write(f"{options.truth / 'mask.png'}\n{options.truth / 'boxes.json'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
