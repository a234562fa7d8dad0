"""One command a phase, on the intermediates of a finished job: `python -m pipeline.phases PHASE IN OUT`.

So the palette and vector phases can be run again on an edited raster, without drawing again. The pictures are the
squares that `--outputs intermediates` writes; each command takes the file that the one before it wrote.
"""

import io
import json
import struct
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
from pipeline.palette import Palette, normalize_hex, parse
from pipeline.phase0_vehicle.vehicle import find_vehicle
from pipeline.phase1_sanitize.sanitize import sanitize
from pipeline.phase2_illustrate.illustrate import illustrate
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase4_vectorize.svg import Stroke
from pipeline.phase4_vectorize.vectorize import Canvas, VectorSettings, render, vectorize
from pipeline.progress import Progress
from pipeline.raster import resized
from pipeline.run import TRACERS, illustrate_settings, sanitize_settings, vehicle_settings
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
Colors = Annotated[str | None, typer.Option("--palette", metavar="HEX,HEX,…", help="2 to 64 colours; the default 15 else.")]


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
    """A job of these keys, checked; its picture is elsewhere."""
    return read({"image_base64": "-", **keys})


def _box(text: str | None) -> list[float] | None:
    """X0,Y0,X1,Y1 as fractions of the upright photo, checked as a job's."""
    return None if text is None else _job(vehicle_box=value("vehicle_box", [text])).vehicle_box


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
    keep_background: bool = False,
) -> None:
    """A photo → the vehicle's square of it, and its outline as a grey picture of the same square."""
    beside = matte_out or out.with_name("matte.png")
    _check(out, beside)
    photo = decode(read_file(source))
    found = find_vehicle(photo, None, _box(vehicle_box), keep_background, _steps(), vehicle_settings(_settings()), Progress())
    _write(out, png(found.rgb))
    _write(beside, png(found.matte.alpha))
    frame = {"side": found.frame.size, "scale": found.frame.scale, "x0": found.frame.x0, "y0": found.frame.y0}
    told = {"confidence": found.matte.confidence, "frame": frame, "warnings": list(found.warnings)}
    say(json.dumps(told))


@app.command("sanitize")
def sanitize_command(source: In, out: Out, matte: MatteFile, remove: str = "license plate,text") -> None:
    """The vehicle's square → the clean plate, without what `--remove` names."""
    _check(out)
    rgb = _square(source)
    side = rgb.shape[0]
    vehicle = Vehicle(rgb, _frame(side), _matte(matte, side))
    plate = sanitize(vehicle, value("remove", [remove]), _steps(), sanitize_settings(_settings()), Progress())
    _write(out, png(plate.rgb))


@app.command("illustrate")
def illustrate_command(
    source: In, out: Out, matte: MatteFile, palette: Colors = None, keep_background: bool = False, seed: int = 42
) -> None:
    """A clean plate → the drawing in palette colours."""
    _check(out)
    rgb = _square(source)
    side = rgb.shape[0]
    plate = CleanPlate(rgb, _frame(side), _matte(matte, side), (), np.zeros((side, side), bool))
    steps, job = _steps(), _job(background="keep" if keep_background else "remove", seed=seed)
    drawn = illustrate(plate, parse(palette), illustrate_settings(job, steps, _settings())[0], steps, Progress())
    _write(out, png(drawn.rgb))


@app.command("enforce")
def enforce_command(
    source: In,
    out: Out,
    matte: MatteFile,
    palette: Colors = None,
    size: Annotated[int, typer.Option(min=1024, max=8192, help="Side of the working raster.")] = 4096,
    detail: Annotated[float | None, typer.Option(min=0, max=0.05, help="Smallest region kept, fraction of the area.")] = None,
    keep_background: bool = False,
) -> None:
    """A drawing, edited or not → the label image: an 8-bit palette PNG that carries its palette."""
    _check(out)
    colors, rgb, settings = parse(palette), _square(source), _settings()
    side = rgb.shape[0]
    blank = np.zeros((side, side), bool)
    drawn = Illustration(rgb, _frame(side), _matte(matte, side), blank, np.zeros((1, 1), np.uint8), None, None, None, 1)
    limits = EnforceSettings(settings.phase3.detail if detail is None else detail, settings.phase3.budget)
    image = enforce(drawn, colors, size, keep_background, _steps().upscale, limits, Progress())
    _write(out, png(label_picture(image.labels, colors)))
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
    stroke_width: float = 2.0,
    stroke_color: str = "#000000",
    vehicle_canvas: Annotated[bool, typer.Option(help="Show the vehicle with a margin, not the whole square.")] = False,
) -> None:
    """A label image → SVG with its boundaries stroked (inner lines are drawn by the full command only)."""
    _check(out, *([preview] if preview else []))
    image, palette = _labels(source)
    settings = _settings().phase4
    stroke = Stroke(stroke_width, normalize_hex(stroke_color))
    canvas: Canvas = "vehicle" if vehicle_canvas else "square"
    vector = VectorSettings("boundaries" if stroke_width > 0 else "none", stroke, canvas, None, settings.tolerance)
    svg = vectorize(image, palette, TRACERS[settings.tracer], vector, {"palette": list(palette.colors)}, False, Progress()).svg
    _write(out, svg)
    if preview:
        _write(preview, render(svg))


def main() -> int:
    """The exit status."""
    return run_app(app, "python -m pipeline.phases")
