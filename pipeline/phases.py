"""One command a phase, on the intermediates of a finished job: `python -m pipeline.phases PHASE IN OUT`.

So the palette and vector phases can be run again on an edited raster, without drawing again. The pictures are the
squares that `--outputs intermediates` writes; each command takes the file that the one before it wrote.
"""

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from pipeline import engines
from pipeline.encode import label_png, png
from pipeline.errors import Code, JobError
from pipeline.job import Job
from pipeline.palette import Palette, normalize_hex, parse
from pipeline.phase1_sanitize.sanitize import sanitize
from pipeline.phase2_illustrate.illustrate import illustrate
from pipeline.phase3_enforce.enforce import EnforceSettings, enforce
from pipeline.phase4_vectorize.svg import Stroke
from pipeline.phase4_vectorize.vectorize import Canvas, VectorSettings, render, vectorize
from pipeline.photo import decode
from pipeline.progress import Progress
from pipeline.run import TRACERS, illustrate_settings, sanitize_settings
from pipeline.settings import environment, load
from pipeline.shell import listed, read_file, run_app
from pipeline.square import resized
from pipeline.steps import Steps
from pipeline.values import CleanPlate, Frame, Illustration, LabelImage, Matte, Rgb

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

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


def _steps() -> Steps:
    return engines.build(environment(), load())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    sys.stdout.write(f"{path}\n")


@app.command("sanitize")
def sanitize_command(source: In, out: Out, matte: MatteFile, remove: str = "license plate,text") -> None:
    """A photo in its square → the clean plate, without what `--remove` names."""
    rgb = _square(source)
    side = rgb.shape[0]
    plate = sanitize(rgb, _frame(side), _matte(matte, side), listed(remove), _steps(), sanitize_settings(load()), Progress())
    _write(out, png(plate.rgb))


@app.command("illustrate")
def illustrate_command(
    source: In, out: Out, matte: MatteFile, palette: Colors = None, keep_background: bool = False, seed: int = 42
) -> None:
    """A clean plate → the drawing in palette colours."""
    rgb = _square(source)
    side = rgb.shape[0]
    plate = CleanPlate(rgb, _frame(side), _matte(matte, side), (), np.zeros((side, side), bool))
    steps, job = _steps(), Job(image_base64="-", background="keep" if keep_background else "remove", seed=seed)
    drawn = illustrate(plate, parse(palette), illustrate_settings(job, steps, load())[0], steps, Progress())
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
    colors, rgb, settings = parse(palette), _square(source), load()
    side = rgb.shape[0]
    blank = np.zeros((side, side), bool)
    drawn = Illustration(rgb, _frame(side), _matte(matte, side), blank, None, None, None, 1)
    limits = EnforceSettings(settings.phase3.detail if detail is None else detail, settings.phase3.budget)
    image = enforce(drawn, colors, size, keep_background, _steps().upscale, limits, Progress())
    _write(out, label_png(image.labels, colors))
    sys.stdout.write(json.dumps({"regions": image.regions, "detail_changed_fraction": round(image.changed, 5)}) + "\n")


def _labels(path: Path) -> tuple[LabelImage, Palette]:
    """A palette PNG as `enforce` writes it: the last index, transparent, is what is not drawn."""
    image = Image.open(io.BytesIO(read_file(path)))
    nothing: Any = image.info.get("transparency")
    if image.mode != "P" or image.size[0] != image.size[1] or not isinstance(nothing, int | bytes):
        raise JobError(Code.INVALID_INPUT, f"{path} is not a square palette PNG with a transparent index, as 'enforce' writes it.")
    nothing = nothing if isinstance(nothing, int) else nothing.index(0)
    labels = np.asarray(image, np.uint8)
    flat = image.getpalette() or []
    palette = Palette(tuple("#{:02X}{:02X}{:02X}".format(*flat[3 * i : 3 * i + 3]) for i in range(nothing)))
    side = labels.shape[0]
    return LabelImage(labels, nothing, labels != nothing, np.zeros((side // 4, side // 4), bool), _frame(side), 0, 0.0), palette


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
    image, palette = _labels(source)
    settings = load().phase4
    stroke = Stroke(stroke_width, normalize_hex(stroke_color))
    canvas: Canvas = "vehicle" if vehicle_canvas else "square"
    vector = VectorSettings("boundaries" if stroke_width > 0 else "none", stroke, canvas, None, settings.tolerance)
    svg = vectorize(image, palette, TRACERS[settings.tracer], vector, {"palette": list(palette.colors)}, False, Progress()).svg
    _write(out, svg)
    if preview:
        _write(preview, render(svg))


if __name__ == "__main__":
    sys.exit(run_app(app, "python -m pipeline.phases"))
