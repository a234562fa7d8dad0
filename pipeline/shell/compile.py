"""Compile the numba kernels, so that no job has to: `python -m pipeline.shell.compile`, once after installing.

It draws a small sample with and without its background; meanwhile a second process compiles the kernels that fit curves, a third of all
kernels' time. Code older than any source file is deleted first: numba looks only at the file of the compiled function, not at those of the
functions it calls. Compiled code is cached beside the modules and is specific to the processor; an image that is built on one machine and
run on another sets NUMBA_CPU_NAME in both.
"""

import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import pipeline
from pipeline import engines
from pipeline.intake import jpeg_scan  # noqa: F401 - compiled when it is imported
from pipeline.intake.photo import GivenMatte
from pipeline.job import Job, read
from pipeline.phase4_vectorize.chains import Chains
from pipeline.phase4_vectorize.curves import fit
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


def _fit_a_square() -> None:
    corners = np.array([[0, 0], [64, 0], [64, 64], [0, 64], [0, 0]], np.float64)
    fit(Chains(corners, np.array([0, len(corners)])), 2.5, np.array([True]))


def _job(**more: object) -> Job:
    return read({"image_url": "http://sample", "size": 1024, **more})


def main() -> None:
    """Run small jobs end to end."""
    forget_stale(Path(pipeline.__file__).parent)
    fitting = get_context("spawn").Process(target=_fit_a_square, daemon=True)
    fitting.start()

    sample = scene(seed=1, width=640, height=426)
    steps, settings = engines.classical({}), load()  # networks have no kernels
    photo, matte = Photo(sample.rgb, None, "compile"), GivenMatte(sample.mask.astype(np.uint8) * 255)
    # Fits nothing: neither outlines, which stay the pixels' own, nor inner lines, which are not drawn.
    unfitted = settings.model_copy(update={"phase4": settings.phase4.model_copy(update={"tolerance": 0.0})})
    run(photo, matte, _job(background="keep", stroke={"mode": "boundaries"}), steps, unfitted, Progress())
    fitting.join()  # if it failed, the jobs below compile its kernels
    for job in (_job(background="keep"), _job(remove=[])):
        run(photo, matte, job, steps, settings, Progress())


if __name__ == "__main__":
    main()
    sys.stdout.write("compiled\n")
