"""One command a phase, on the intermediates of a finished job: `python -m pipeline.phases PHASE IN OUT`.

So the palette and vector phases can be run again on an edited raster, without drawing again. The pictures are the
squares that `--outputs intermediates` writes; each command takes the file that the one before it wrote.
"""

import io
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from pipeline import engines, log
from pipeline.errors import Code, JobError
from pipeline.intake.photo import decode, sniff
from pipeline.job import Job, read
from pipeline.outputs.encode import label_picture, png
from pipeline.palette import Palette
from pipeline.phase0_vehicle.vehicle import find_vehicle
from pipeline.phase1_sanitize.sanitize import sanitize
from pipeline.phase2_illustrate.illustrate import illustrate
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase4_vectorize.svg import Stroke
from pipeline.phase4_vectorize.vectorize import VectorSettings, render, vectorize
from pipeline.progress import Progress
from pipeline.raster import resized
from pipeline.run import TRACERS, check_generation, illustrate_settings, sanitize_settings, vehicle_settings
from pipeline.service.received import colored
from pipeline.service.start import Worker, bucket_of
from pipeline.settings import Settings, environment, load
from pipeline.shell.console import check_file, read_file, run_app, say
from pipeline.steps import Steps
from pipeline.text_fields import value
from pipeline.values import CleanPlate, Frame, Illustration, LabelImage, Matte, Rgb, Vehicle

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def _begin() -> None:
    log.configure("error")


In = Annotated[Path, typer.Argument(metavar="IN", help="Picture to read.", show_default=False)]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="File to write.", show_default=False)]
MatteFile = Annotated[Path, typer.Option("--matte", help="The job's matte.png, or any grey picture of the same square.")]
Colors = Annotated[
    str | None, typer.Option("--palette", "--palette-hex-list", metavar="HEX,HEX,…", help="2 to 64 colours; the default 15 else.")
]
PaletteName = Annotated[str | None, typer.Option(metavar="NAME", help="A named palette, in place of --palette.")]
PaletteUrl = Annotated[str | None, typer.Option(metavar="URL", help="A picture whose colours are the palette.")]
Locks = Annotated[
    str | None, typer.Option(metavar='[{"part":"body","color":"#C8102E"},…]', help="JSON; points are fractions of the square picture IN.")
]
Preset = Annotated[str | None, typer.Option("--job-preset", metavar="NAME", help="A saved set of options; those given here win.")]
Background = Annotated[str | None, typer.Option(help="remove (default), keep, or a palette colour.")]


def _square(path: Path) -> Rgb:
    rgb = decode(read_file(path)).rgb
    if rgb.shape[0] != rgb.shape[1]:
        raise JobError(Code.INVALID_INPUT, f"{path} is {rgb.shape[1]} × {rgb.shape[0]}; the phases' pictures are square.")
    return rgb


def _matte(path: Path, side: int) -> Matte:
    return Matte(resized(np.ascontiguousarray(_square(path)[..., 0]), side), None)


def _frame(side: int) -> Frame:
    return Frame.fit(side, side, side)


def _job(**keys: Any) -> Job:
    """A job of the options that were given, checked; texts become the type of their key. Its picture is elsewhere."""
    told = {key: value(key, [given]) if isinstance(given, str) else given for key, given in keys.items() if given is not None}
    return read({"image_base64": "-", **told}, environment().library)


def _colored(job: Job, steps: Steps) -> Job:
    """With the palette of its reference picture, where it names one."""
    if job.palette_from_url is None:
        return job
    known = environment()
    worker = Worker(known, _settings(), steps, bucket_of(known))
    return colored(job, worker, worker.bucket, Progress())


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        sys.stderr.write(f"{warning}\n")


def _settings() -> Settings:
    """The defaults, changed by PIPELINE_CONFIG as for a whole job."""
    return load(environment().pipeline_config)


def _steps() -> Steps:
    return engines.build(environment(), _settings())


def _check(*files: Path) -> None:
    """Raise before the work where a file cannot be written."""
    for file in files:
        check_file(file)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    say(str(path))


@app.command("vehicle")
def vehicle_command(
    source: In,
    out: Out,
    matte_out: Annotated[Path | None, typer.Option("--matte-out", help="Where the outline goes (default: matte.png beside OUT).")] = None,
    vehicle_box: Annotated[str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="Where the vehicle is, fractions of the photo.")] = None,
    background: Background = None,
    job_preset: Preset = None,
) -> None:
    """A photo → the vehicle's square of it, and its outline as a grey picture of the same square."""
    beside = matte_out or out.with_name("matte.png")
    _check(out, beside)
    job = _job(vehicle_box=vehicle_box, background=background, job_preset=job_preset)
    photo, keep = decode(read_file(source)), job.background == "keep"
    found = find_vehicle(photo, None, job.vehicle_box, keep, _steps(), vehicle_settings(_settings()), Progress())
    _write(out, png(found.rgb))
    _write(beside, png(found.matte.alpha))
    frame = {"side": found.frame.size, "scale": found.frame.scale, "x0": found.frame.x0, "y0": found.frame.y0}
    told = {"confidence": found.matte.confidence, "frame": frame, "warnings": list(found.warnings)}
    say(json.dumps(told))


@app.command("sanitize")
def sanitize_command(
    source: In,
    out: Out,
    matte: MatteFile,
    remove: Annotated[str | None, typer.Option(metavar="LABEL,…", help="As a job's; an empty string removes nothing.")] = None,
    job_preset: Preset = None,
) -> None:
    """The vehicle's square → the clean plate, without what `--remove` names."""
    _check(out)
    job = _job(remove=remove, job_preset=job_preset)
    rgb = _square(source)
    side = rgb.shape[0]
    vehicle = Vehicle(rgb, _frame(side), _matte(matte, side))
    plate = sanitize(vehicle, job.remove, _steps(), sanitize_settings(_settings()), Progress())
    _write(out, png(plate.rgb))
    _warn(plate.warnings)


@app.command("illustrate")
def illustrate_command(
    source: In,
    out: Out,
    matte: MatteFile,
    palette: Colors = None,
    palette_name: PaletteName = None,
    palette_from_url: PaletteUrl = None,
    color_locks: Locks = None,
    job_preset: Preset = None,
    background: Background = None,
    seed: int | None = None,
) -> None:
    """A clean plate → the drawing in palette colours."""
    _check(out)
    colors = {"palette_hex_list": palette, "palette_name": palette_name, "palette_from_url": palette_from_url}
    asked, steps = _job(**colors, color_locks=color_locks, job_preset=job_preset, background=background, seed=seed), _steps()
    rgb, job = _square(source), _colored(asked, steps)
    check_generation(job, steps)
    side = rgb.shape[0]
    plate = CleanPlate(rgb, _frame(side), _matte(matte, side), (), np.zeros((side, side), bool))
    drawing, untold = illustrate_settings(job, steps, _settings())
    drawn = illustrate(plate, job.graded_palette, drawing, steps, Progress())
    _write(out, png(drawn.rgb))
    _warn((*untold, *drawn.warnings))


@app.command("enforce")
def enforce_command(
    source: In,
    out: Out,
    matte: MatteFile,
    palette: Colors = None,
    palette_name: PaletteName = None,
    palette_from_url: PaletteUrl = None,
    color_locks: Annotated[str | None, typer.Option(metavar="JSON", help="As for illustrate: their colours join the palette.")] = None,
    job_preset: Preset = None,
    size: Annotated[int | None, typer.Option(metavar="PX", help="Side of the working raster, 1024 to 8192 (4096).")] = None,
    detail: Annotated[float | None, typer.Option(metavar="FRACTION", help="Smallest region kept, fraction of the area.")] = None,
    background: Background = None,
) -> None:
    """A drawing, edited or not → the label image: an 8-bit palette PNG that carries its palette."""
    _check(out)
    keys = {"palette_hex_list": palette, "palette_name": palette_name, "palette_from_url": palette_from_url, "color_locks": color_locks}
    asked, steps = _job(**keys, job_preset=job_preset, size=size, detail=detail, background=background), _steps()
    rgb, settings, job = _square(source), _settings(), _colored(asked, steps)
    side = rgb.shape[0]
    blank = np.zeros((side, side), bool)
    drawn = Illustration(rgb, _frame(side), _matte(matte, side), blank, np.zeros((1, 1), np.uint8), None, None, None, 1)
    limits = EnforceSettings(settings.phase3.detail if job.detail is None else job.detail, settings.phase3.budget)
    image = enforce(drawn, job.palette, job.size, job.background == "keep", steps.upscale, limits, Progress())
    _write(out, png(label_picture(image.labels, job.palette)))
    say(json.dumps({"regions": image.regions, "detail_changed_fraction": round(image.changed, 5)}))


def _labels(path: Path) -> tuple[LabelImage, Palette]:
    """A palette PNG as `enforce` writes it: the last index, transparent, is what is not drawn."""
    data = read_file(path)
    other = JobError(Code.INVALID_INPUT, "The label image must be a square palette PNG with a transparent index, as 'enforce' writes it.")
    if sniff(data, "The label image") != "PNG":
        raise other
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError) as fault:
        raise JobError(Code.UNSUPPORTED_IMAGE, "The label image is damaged.") from fault
    flat, nothing = image.getpalette() or [], image.info.get("transparency")
    nothing = nothing.find(0) if isinstance(nothing, bytes) else nothing
    if image.mode != "P" or image.size[0] != image.size[1] or not isinstance(nothing, int) or not 0 < nothing <= len(flat) // 3:
        raise other
    labels = np.asarray(image, np.uint8)
    if labels.max() > nothing:
        raise other
    palette = Palette(tuple("#{:02X}{:02X}{:02X}".format(*flat[3 * i : 3 * i + 3]) for i in range(nothing)))
    side = labels.shape[0]
    return LabelImage(labels, nothing, np.zeros((side // 4, side // 4), bool), np.zeros((1, 1), np.uint8), _frame(side), 0, 0.0), palette


@app.command("vectorize")
def vectorize_command(
    source: In,
    out: Out,
    preview: Annotated[Path | None, typer.Option(help="Also write a PNG of the SVG.")] = None,
    stroke: Annotated[str | None, typer.Option(help="boundaries (also what both means here) or none.")] = None,
    stroke_width: Annotated[float | None, typer.Option(metavar="W", help="Units of the working raster (2).")] = None,
    stroke_color: Annotated[str | None, typer.Option(metavar="HEX", help="Colour of the lines (#000000).")] = None,
    canvas: Annotated[str | None, typer.Option(help="square (default) or vehicle: what the SVG shows.")] = None,
    background: Annotated[str | None, typer.Option(metavar="HEX", help="A colour of the palette behind everything.")] = None,
    job_preset: Preset = None,
) -> None:
    """A label image → SVG with its boundaries stroked (inner lines are drawn by the full command only)."""
    _check(out, *([preview] if preview else []))
    image, palette = _labels(source)
    line = {key: given for key, given in (("mode", stroke), ("width", stroke_width), ("color", stroke_color)) if given is not None}
    # The picture carries its palette, which goes before a preset's.
    job = _job(palette_hex_list=list(palette.colors), stroke=line or None, canvas=canvas, background=background, job_preset=job_preset)
    settings, defaults = _settings().phase4, _settings().phase4.stroke
    mode = job.stroke.mode or defaults.mode
    if mode == "centerlines":
        raise JobError(Code.INVALID_INPUT, "stroke: centerlines are not in a label image; python -m pipeline draws them.")
    if job.canvas == "photo":
        raise JobError(Code.INVALID_INPUT, "canvas: a label image does not say where the photo lies; use square or vehicle.")
    pen = Stroke(job.stroke.width or defaults.width, job.stroke.color or defaults.color)
    paper = job.background if job.background.startswith("#") else None
    vector = VectorSettings("none" if mode == "none" else "boundaries", pen, job.canvas, paper, settings.tolerance)
    svg = vectorize(image, palette, TRACERS[settings.tracer], vector, {"palette": list(palette.colors)}, False, Progress()).svg
    _write(out, svg)
    if preview:
        _write(preview, render(svg))


def main() -> int:
    """The exit status."""
    return run_app(app, "python -m pipeline.phases")
