"""The main colours of a picture: `python -m server.colors COUNT < PICTURE` prints them as JSON, or `{"code", "sentence"}`.

It is a process of its own, so that a picture of many pixels does not take the server's memory.
"""

import io
import json
import sys

import numpy as np
from PIL import Image

from pipeline.errors import JobError
from pipeline.intake.photo import Limits, decode
from pipeline.values import Rgb

#: Pixels of the longer side at which colours are counted.
_SIDE = 400


def main_colors(rgb: Rgb, count: int) -> list[str]:
    """At most `count` different colours as `#RRGGBB` of a picture (H, W, 3), the most frequent first (median cut, then k-means)."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    reduced = picture.quantize(count, Image.Quantize.MEDIANCUT, kmeans=2)
    palette = np.asarray(reduced.getpalette(), np.uint8).reshape(-1, 3)
    used = np.bincount(np.asarray(reduced).ravel(), minlength=len(palette))
    frequent = [int(index) for index in np.argsort(-used, kind="stable") if used[index]]
    return list(dict.fromkeys("#{:02X}{:02X}{:02X}".format(*palette[index]) for index in frequent))


def main(count: int, limits: Limits) -> int:
    """Answer for the picture on standard input."""
    try:
        told: object = main_colors(decode(sys.stdin.buffer.read(), limits).rgb, count)
    except JobError as error:
        told = {"code": error.code, "sentence": error.sentence}
    io.TextIOWrapper(sys.stdout.buffer, "utf-8").write(json.dumps(told))
    return 0


if __name__ == "__main__":
    _, colors, most_bytes, most_pixels, longest, seconds = sys.argv
    sys.exit(main(int(colors), Limits(int(most_bytes), int(most_pixels), int(longest), float(seconds))))
