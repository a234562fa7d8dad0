"""The tracers that `bench.vectorize` compares, each run on one cached label image in a process of its own.

    python -m bench.vectorize.tracers TRACER LABELS.pkl OUT.svg      writes the SVG, prints one JSON line: seconds, peak memory

A tracer traces a small picture first, then the label image at least three times and for a second; the best time counts. Peak
memory is what the process held at its highest point while tracing less what it held just before, the raster loaded.
"""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline import settings as settings_
from pipeline.palette import Palette
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase3_enforce.upscale_classical import upscale
from pipeline.phase4_vectorize.svg import Stroke
from pipeline.phase4_vectorize.vectorize import Mode, VectorSettings, vectorize
from pipeline.progress import Progress
from pipeline.run import TRACERS
from pipeline.values import Illustration, LabelImage

ROOT = Path(__file__).parents[2]
OUT = ROOT / "bench" / "out"
OURS = "planar" if "planar" in TRACERS else "vtracer"
IMAGETRACER = "1.2.6"
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{0}" viewBox="0 0 {0} {0}">\n'
RUNNER = """
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
const tracer = createRequire(import.meta.url)('imagetracerjs');
const [raw, side, palette, out] = process.argv.slice(2);
const bytes = readFileSync(raw);
const image = { width: +side, height: +side, data: new Uint8ClampedArray(bytes.buffer, bytes.byteOffset, bytes.length) };
const before = process.memoryUsage().rss / 1024;
const began = performance.now();
const svg = tracer.imagedataToSVG(image, { pal: JSON.parse(palette), colorquantcycles: 1 });
const seconds = (performance.now() - began) / 1000;
writeFileSync(out, svg);
console.log(JSON.stringify({ seconds, peak_mb: (process.resourceUsage().maxRSS - before) / 1024 }));
"""

Job = Callable[[], bytes]


def our_svg(image: LabelImage, palette: Palette, mode: Mode = "both") -> bytes:
    """The SVG of a job with the default settings and `mode`."""
    phase4 = settings_.load().phase4
    vector = VectorSettings(mode=mode, stroke=Stroke(phase4.stroke.width, phase4.stroke.color), tolerance=phase4.tolerance)
    return vectorize(image, palette, TRACERS[OURS], vector, {}, False, Progress()).svg


def back_half(illustration: Illustration, image: LabelImage, palette: Palette) -> bytes:
    """Phases 3 and 4 from the drawing to the SVG text, with no preview."""
    phase3 = settings_.load().phase3
    labels = enforce(illustration, palette, len(image.labels), False, upscale, EnforceSettings(phase3.detail, phase3.budget), Progress())
    return our_svg(labels, palette)


def on_white(image: LabelImage, palette: Palette) -> np.ndarray:
    """(N, N, 3) the label image with nothing painted white."""
    return np.vstack([palette.rgb, [[255, 255, 255]]]).astype(np.uint8)[image.labels]


def vtracer_job(image: LabelImage, palette: Palette, clear: bool) -> Job:
    """VTracer, stacked, on the whole square; `clear` leaves nothing transparent. PNG encoding comes before the clock."""
    import vtracer  # noqa: PLC0415 - only in the process that runs it

    pixels = on_white(image, palette)
    if clear:
        pixels = np.dstack([pixels, np.where(image.labels == image.nothing, 0, 255).astype(np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    return lambda: vtracer.convert_raw_image_to_svg(
        data, img_format="png", hierarchical="stacked", filter_speckle=4, color_precision=8, layer_difference=0,
        corner_threshold=60, length_threshold=4.0,
    ).encode()  # fmt: skip


def _job(name: str, illustration: Illustration, image: LabelImage, palette: Palette) -> Job:
    return {
        "ours": lambda: lambda: our_svg(image, palette),
        "back half": lambda: lambda: back_half(illustration, image, palette),
        "vtracer": lambda: vtracer_job(image, palette, clear=False),
        "vtracer clear": lambda: vtracer_job(image, palette, clear=True),
    }[name]()


def _discs(image: LabelImage) -> LabelImage:
    """A small picture to warm up with: one disc on another."""
    y, x = np.mgrid[:512, :512]
    far = np.hypot(x - 256, y - 256)
    labels = np.select([far < 80, far < 200], [0, 1], image.nothing).astype(np.uint8)
    return replace(image, key=labels, ink=np.zeros((128, 128), bool), frame=image.frame.at(512), regions=2)


def _status(field: str) -> float:
    """MB of VmRSS or VmHWM of this process."""
    return int(re.findall(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def child(name: str, source: Path, out: Path) -> dict[str, float]:
    """Runs one of the tracers that live in Python, in this process."""
    with source.open("rb") as file:
        illustration, image, palette = pickle.load(file)
    if name != "back half":  # which is too long to need it: its first run warms the next two
        _job(name, illustration, _discs(image), palette)()
    job = _job(name, illustration, image, palette)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    took, drawn = [], []
    while len(took) < 3 or sum(took) < 1:
        began = time.perf_counter()
        drawn.append(job())
        took.append(time.perf_counter() - began)
    out.write_bytes(drawn[0])
    return {"seconds": min(took), "peak_mb": _status("VmHWM") - before, "same": float(len(set(drawn)) == 1)}


def in_process(name: str, source: Path, out: Path, threads: int | None = None) -> dict[str, float]:
    """`child` in a fresh process; `threads` limits numba's."""
    environment = os.environ | ({"NUMBA_NUM_THREADS": str(threads)} if threads else {})
    command = [sys.executable, "-m", "bench.vectorize.tracers", name, str(source), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _highest(command: list[str]) -> float:
    """MB a program holds at its highest point, asked every millisecond: its rusage would count this process's memory at the fork."""
    process, highest = subprocess.Popen(command), 0.0
    while process.poll() is None:
        found = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        highest = max([highest, *(int(v) / 1024 for v in found)])
        time.sleep(0.001)
    return highest


def potrace(image: LabelImage, palette: Palette, out: Path) -> dict[str, float]:
    """Potrace once a colour in use, one after another; only its own running time counts. All groups go into one document."""
    labels, seconds, peak, body = image.labels, 0.0, 0.0, []
    side = len(labels)
    with tempfile.TemporaryDirectory() as folder:
        pbm, svg = Path(folder) / "one.pbm", Path(folder) / "one.svg"
        for index, color in enumerate(palette.colors):
            mask = labels == index
            if not mask.any():
                continue
            pbm.write_bytes(f"P4\n{side} {side}\n".encode() + np.packbits(mask, axis=1).tobytes())
            command = ["potrace", "-s", "-t", "4", "-O", "0.4", str(pbm), "-o", str(svg)]
            began = time.perf_counter()
            subprocess.run(command, check=True)
            seconds += time.perf_counter() - began
            peak = max(peak, _highest(command))
            body += [re.sub(r'fill="#000000"', f'fill="{color}"', g) for g in re.findall(r"<g .*</g>", svg.read_text(), re.DOTALL)]
    out.write_text(HEAD.format(side) + "\n".join(body) + "\n</svg>\n")
    return {"seconds": seconds, "peak_mb": peak}


def imagetracer(image: LabelImage, palette: Palette, out: Path) -> dict[str, float]:
    """imagetracerjs with the palette given, nothing painted white; node loads the pixels before the clock."""
    folder = OUT
    if not (folder / "node_modules" / "imagetracerjs").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-save", "--prefix", str(folder), f"imagetracerjs@{IMAGETRACER}"], check=True)
    runner = folder / "imagetracer.mjs"
    runner.write_text(RUNNER)
    colors = [dict(zip("rgba", (*map(int, c), 255), strict=True)) for c in np.unique(on_white(image, palette).reshape(-1, 3)[::7], axis=0)]
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "pixels"
        raw.write_bytes(np.dstack([on_white(image, palette), np.full(image.labels.shape, 255, np.uint8)]).tobytes())
        command = ["node", "--max-old-space-size=8192", str(runner), str(raw), str(len(image.labels)), json.dumps(colors), str(out)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
