"""Time and memory of whole jobs against VTracer on the same label image in the same run: `python -m bench.vectorize.speed [NAME…]`.

Without photographs beside the project it takes the sample scene. Every job runs at `size` 4096, after one that is not
counted. The yardstick is VTracer tracing the job's own label image, the background white, as an opaque picture.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.vectorize.tracers import vtracer_job
from pipeline import service, settings
from pipeline.intake.photo import decode
from pipeline.job import read
from pipeline.palette import Palette
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.sample import scene
from pipeline.values import LabelImage, Photo

PHOTOS = Path(__file__).parents[3] / "shared" / "photos"


def yardstick(image: LabelImage, palette: Palette) -> float:
    """Seconds of VTracer, PNG encoding not counted."""
    trace = vtracer_job(image, palette, clear=False)
    began = time.perf_counter()
    trace()
    return time.perf_counter() - began


def inputs(names: list[str]) -> Iterator[tuple[str, Photo]]:
    """The photographs named, all of them, or the sample scene where there are none."""
    if not PHOTOS.is_dir():
        yield "sample scene", Photo(scene().rgb, None, "sample")
        return
    for path in sorted(PHOTOS.glob("*.*g")):
        if not path.name.startswith("neg_") and (not names or any(name in path.name for name in names)):
            yield path.name, decode(path.read_bytes())


def main() -> int:
    """Print a row a photograph and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    began = time.perf_counter()
    worker = service.start(settings.environment({"ENGINE": "classical"}), settings.load())
    print(f"engine ready after {time.perf_counter() - began:.1f} s (imports not counted)")
    sample = scene(seed=3, width=800, height=533)
    run(Photo(sample.rgb, None, "warm"), None, read({"image_url": "http://x"}), worker.steps, worker.settings, Progress())
    ratios, back = [], []
    for name, photo in inputs(options.names):
        job = read({"image_url": "http://x"})
        began = time.perf_counter()
        done = run(photo, None, job, worker.steps, worker.settings, Progress())
        total = time.perf_counter() - began
        measure = yardstick(done.labels, job.palette)
        late = (done.timings["enforce"] + done.timings["vectorize"]) / 1000
        ratios.append(total / measure)
        back.append(late / measure)
        print(
            f"{name:32} total {total:5.1f} s  {done.timings}  vtracer {measure:4.1f} s  "
            f"ratios {total / measure:.1f}, phases 3+4 {late / measure:.1f}",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"medians: total / vtracer {np.median(ratios):.2f}, phases 3+4 / vtracer {np.median(back):.2f}; peak memory {peak:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
