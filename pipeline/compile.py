"""Compile the numba kernels, so that no job has to: `python -m pipeline.compile`, once after installing.

It draws a small sample with and without a hint. Compiled code is cached beside the modules and is specific to the
processor; an image that is built on one machine and run on another sets NUMBA_CPU_NAME in both.
"""

import sys

from pipeline import engines
from pipeline.job import read
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.sample import scene
from pipeline.settings import load
from pipeline.values import Photo


def main() -> None:
    """Run two small jobs end to end."""
    sample = scene(seed=1, width=640, height=426)
    steps, settings = engines.classical(), load()
    photo = Photo(sample.rgb, None, "compile")
    for more in ({"background": "keep"}, {"vehicle_box": list(sample.vehicle_box), "remove": []}):
        run(photo, None, read({"image_url": "http://sample", "size": 1024, **more}), steps, settings, Progress())


if __name__ == "__main__":
    main()
    sys.stdout.write("compiled\n")
