"""The real photographs through both doors: `python -m bench.photos [NAME…] [--hint none|box|matte]`.

For each photograph of ../shared/photos: `python -m pipeline` as a process, then the handler in this process; the two SVGs
must be the same bytes. The result is checked against the published schema, the SVG opened in resvg and in Chromium. Writes a
sheet for each photograph to bench/out/photos: the photograph, our picture, and VTracer's picture of the same photograph
(vehicle only) at the same number of colours.
"""

import argparse
import asyncio
import base64
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import numpy as np
import resvg_py
import vtracer
from PIL import Image, ImageOps

from pipeline.intake.photo import letterbox
from pipeline.values import Frame

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parent / "shared" / "photos"
OUT = ROOT / "bench" / "out" / "photos"
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def hints(row: dict[str, str], hint: str) -> dict[str, object]:
    """The job's keys that tell where the vehicle is."""
    if hint == "box" and row["vehicle_bbox"]:
        return {"vehicle_box": [float(v) for v in row["vehicle_bbox"].split(",")]}
    mask = PHOTOS / "masks" / f"{Path(row['file']).stem}.png"
    if hint == "matte" and mask.exists():
        return {"matte_base64": base64.b64encode(mask.read_bytes()).decode()}
    return {}


def through_shell(photo: Path, folder: Path, row: dict[str, str], hint: str) -> tuple[int, dict[str, object], str]:
    """`python -m pipeline`; answers exit status, result, last line on standard error."""
    more = {"box": ["--vehicle-box", row["vehicle_bbox"]], "matte": ["--matte", str(PHOTOS / "masks" / f"{photo.stem}.png")]}.get(hint, [])
    if not row["vehicle_bbox"]:
        more = []
    command = [
        sys.executable,
        "-m",
        "pipeline",
        str(photo),
        "-o",
        str(folder),
        "--engine",
        "classical",
        "--json",
        "--outputs",
        "svg,png,intermediates",
        *more,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout) if done.returncode == 0 else {}
    return done.returncode, result, (done.stderr.strip().splitlines() or [""])[-1]


def through_handler(photo: Path, folder: Path, row: dict[str, str], hint: str) -> dict[str, object]:
    """The RunPod handler's answer, files in `folder`."""
    os.environ |= {"ENGINE": "classical", "OUTPUT_DIR": str(folder), "LOG_LEVEL": "error"}
    import handler  # noqa: PLC0415 - reads the environment set above

    job = {"image_base64": base64.b64encode(photo.read_bytes()).decode(), **hints(row, hint)}
    handler.worker.cache_clear()
    return asyncio.run(handler.handler({"id": photo.stem, "input": job}))


def chromium_shows(svg: Path, side: int = 512) -> bool:
    """Whether Chromium shows about what resvg shows: mean difference below 3 of 255."""
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f'<body style="margin:0;background:#fff"><img src="{svg.as_uri()}" width="{side}" height="{side}">')
        shot = Path(folder) / "shot.png"
        options = [*CHROMIUM, f"--user-data-dir={folder}/profile", f"--screenshot={shot}", f"--window-size={side},{side + 200}"]
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)
        seen = np.asarray(Image.open(shot).convert("RGB").crop((0, 0, side, side)), float)
    # Chromium keeps lines two pixels wide at any scale, resvg scales them
    text = svg.read_text()
    scale = float(text.split(' width="')[1].split('"')[0]) / side
    text = text.replace('stroke-width="2"', f'stroke-width="{2 * scale}"')
    own = resvg_py.svg_to_bytes(svg_string=text, width=side, background="#FFFFFF")
    return float(np.abs(seen - np.asarray(Image.open(io.BytesIO(own)).convert("RGB"), float)).mean()) < 3


def vtracers_own(square: Image.Image, matte: Image.Image, colors: int) -> Image.Image:
    """VTracer's picture of the vehicle, the photograph reduced to `colors` colours first."""
    cut = Image.new("RGB", square.size, "white")
    cut.paste(square, mask=matte.resize(square.size))
    few = cut.quantize(colors + 1, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    buffer = io.BytesIO()
    few.save(buffer, "PNG")
    svg = vtracer.convert_raw_image_to_svg(buffer.getvalue(), img_format="png", filter_speckle=4, color_precision=8, layer_difference=0)
    return Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, background="#FFFFFF"))).convert("RGB")


def sheet(photo: Path, folder: Path, result: dict[str, object], side: int = 1400, width: int = 1000) -> None:
    """Photograph, ours, VTracer's: the vehicle's square, cut to the vehicle's bounds."""
    upright = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    frame = Frame(result["frame"]["width"], *upright.size, *(result["frame"][key] for key in ("scale", "x0", "y0")))
    square = Image.fromarray(letterbox(np.asarray(upright), frame, side, fill=255))
    ours = Image.open(folder / "preview.png").convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
    drawn = Image.alpha_composite(Image.new("RGBA", ours.size, "white"), ours).convert("RGB")
    matte = Image.open(folder / "matte.png").resize((side, side))
    pictures = [square, drawn, vtracers_own(square, matte, result["quality"]["colors_used"])]
    x0, y0, x1, y1 = matte.point(lambda v: 255 * (v > 127)).getbbox()
    crop = (max(0, x0 - 12), max(0, y0 - 12), min(side, x1 + 12), min(side, y1 + 12))
    cut = [p.crop(crop).resize((width, round(width * (crop[3] - crop[1]) / (crop[2] - crop[0])))) for p in pictures]
    out = Image.new("RGB", (3 * width, cut[0].height), "white")
    for i, picture in enumerate(cut):
        out.paste(picture, (width * i, 0))
    out.save(OUT / f"{photo.stem}.png")


def main() -> int:
    """Print the table; the exit status says whether every photograph passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--hint", choices=["none", "box", "matte"], default="none")
    options = parser.parse_args()
    if not PHOTOS.is_dir():
        print("The photographs of ../shared/photos are not here.")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    schema = json.loads((ROOT / "docs" / "job.schema.json").read_text())
    checker = jsonschema.Draft202012Validator({"$ref": "#/$defs/Result", "$defs": schema["$defs"]})
    failed = 0
    for row in csv.DictReader((PHOTOS / "index.csv").open()):
        if options.names and not any(name in row["file"] for name in options.names):
            continue
        photo = PHOTOS / row["file"]
        folder = Path(tempfile.mkdtemp())
        try:
            status, result, last = through_shell(photo, folder / "shell", row, options.hint)
            answer = through_handler(photo, folder, row, options.hint)
            if status or "error" in answer:
                good = not row["vehicle_bbox"] and last.startswith("NO_VEHICLE") and str(answer.get("error", "")).startswith("NO_VEHICLE")
                print(f"{'ok ' if good else 'BAD'} {row['file']:32} {last} | {answer.get('error')}", flush=True)
                failed += not good
                continue
            svg = folder / "shell" / "illustration.svg"
            quality = result["quality"]
            uncertain = any(w.startswith("MATTE_UNCERTAIN") for w in result["warnings"])
            checks = {
                "schema": checker.is_valid(result),
                "palette": quality["off_palette_colors"] == 0,
                "same bytes": svg.read_bytes() == (folder / photo.stem / "illustration.svg").read_bytes(),
                "chromium": chromium_shows(svg),
                "vehicle": bool(row["vehicle_bbox"]) or uncertain,
            }
            sheet(photo, folder / "shell", result)
            bad = [name for name, passed in checks.items() if not passed]
            failed += bool(bad)
            print(
                f"{'BAD ' + ', '.join(bad) if bad else 'ok '} {row['file']:32} {result['processing_time_ms']:6} ms  "
                f"confidence {quality['matte_confidence']}{' UNCERTAIN' if uncertain else ''}  {quality['regions']} regions  "
                f"{quality['curves']} curves  {quality['svg_bytes'] // 1000} kB  {[r['label'] for r in result['removed']]}",
                flush=True,
            )
        finally:
            shutil.rmtree(folder)
    print(f"{failed} failed; sheets are in {OUT.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
