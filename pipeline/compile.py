"""Compile the numba kernels, so that no job has to: `python -m pipeline.compile`, once after installing.

It draws a small sample with and without a hint. Code compiled before a change of any source file is thrown
away first: numba looks at the file of the compiled function alone, not at those of the functions it calls. Compiled code is cached
beside the modules and is specific to the processor; an image that is built on one machine and run on another sets NUMBA_CPU_NAME
in both.
"""

import sys
from pathlib import Path

from pipeline import engines
from pipeline.job import read
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.sample import scene
from pipeline.settings import load
from pipeline.values import Photo


def forget_stale(package: Path) -> int:
    """Delete numba's caches in the package if any source is newer than any of them; answers how many files went."""
    kept = [file for kind in ("*.nbi", "*.nbc") for file in package.rglob(kind)]
    if not kept or max(f.stat().st_mtime for f in package.rglob("*.py")) <= min(f.stat().st_mtime for f in kept):
        return 0
    for file in kept:
        file.unlink()
    return len(kept)


def main() -> None:
    """Run two small jobs end to end."""
    forget_stale(Path(__file__).parent)
    sample = scene(seed=1, width=640, height=426)
    steps, settings = engines.classical(), load()
    photo = Photo(sample.rgb, None, "compile")
    for more in ({"background": "keep"}, {"vehicle_box": list(sample.vehicle_box), "remove": []}):
        run(photo, None, read({"image_url": "http://sample", "size": 1024, **more}), steps, settings, Progress())


if __name__ == "__main__":
    main()
    sys.stdout.write("compiled\n")
