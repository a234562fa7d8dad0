"""The shell's door: `python -m pipeline PHOTO -o DIR`."""

import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from delivery import RESULT_NAME
from pipeline import log, service, settings
from pipeline.errors import Code, JobError
from pipeline.intake.fetch import is_url
from pipeline.progress import Progress, Report
from pipeline.shell.console import check_folder, read_file, run_app, say
from pipeline.stored_keys import safe_prefix
from pipeline.text_fields import value

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

PHOTO = typer.Argument(help="Picture file, or an http(s):// or s3:// address.", show_default=False)


def _option(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, show_default=False)


def _as_prefix(folder: Path) -> dict[str, str]:
    """The folder's name as a key in a bucket, where it can be one; else the job's id is the key."""
    try:
        return {"output_prefix": safe_prefix(folder.name)}
    except JobError:
        return {}


def _do(raw: dict[str, Any], pictures: service.Pictures, folder: Path, engine: str, config: Path | None, as_json: bool) -> None:
    check_folder(folder)
    progress = Progress(interval=0.0)
    with _cancelled_by_ctrl_c(progress):
        result = _done(raw, pictures, folder, engine, config, progress)
    if raw.get("delivery", "local") != "local":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT_NAME).write_text(json.dumps(result, indent=2))
    if as_json:
        say(json.dumps(result, indent=2))
        return
    console = Console(stderr=True)
    for warning in result["warnings"]:
        console.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)
    intermediates = result.get("intermediates") or {}
    for url in [result[k] for k in ("svg_url", "png_url", "report_url", "pdf_url") if k in result] + list(intermediates.values()):
        say(str(folder.resolve() / url.rpartition("/")[2]) if url.startswith("file://") else url.split(",", 1)[0][:200])
    say(str(folder.resolve() / RESULT_NAME))


@contextmanager
def _cancelled_by_ctrl_c(progress: Progress) -> Iterator[None]:
    """The first Ctrl-C cancels at the next step, the second one at once. It holds from the start, because libraries swallow an interrupt
    while they are imported."""

    def heard(*_: object) -> None:
        if progress.cancelled.is_set():
            raise KeyboardInterrupt
        progress.cancelled.set()

    before = signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _done(
    raw: dict[str, Any], pictures: service.Pictures, folder: Path, engine: str, config: Path | None, progress: Progress
) -> dict[str, Any]:
    """Build the engine, do the job under a progress bar; the result."""
    environment = settings.environment()
    environment = environment.model_copy(update={"engine": engine} if engine else {})
    log.configure("error" if environment.log_level == "info" else environment.log_level)
    worker = service.start(environment, settings.load(config or environment.pipeline_config))
    progress.check()
    console = Console(stderr=True)
    for model, seconds in worker.steps.expected_seconds.items():
        console.print(f"{model} takes about {seconds:.1f} s a call on this processor", highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("start", total=1.0)

        def show(report: Report) -> None:
            bar.update(task, completed=report.fraction, description=f"{report.phase}: {report.step}")

        progress.send = show
        result = service.perform(uuid.uuid4().hex, raw, worker, progress, folder=folder, pictures=pictures)
        bar.update(task, completed=1.0, description="done")
    return result


@app.command()
def illustrate(
    photo: Annotated[str | None, PHOTO] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files; made when absent.")] = Path("out"),
    palette: Annotated[
        str | None, _option("2 to 64 colours; the 15 default colours else.", "--palette", "--palette-hex-list", metavar="HEX,HEX,…")
    ] = None,
    palette_name: Annotated[str | None, _option("A named palette, in place of --palette; a wrong name lists them.", metavar="NAME")] = None,
    palette_from_url: Annotated[str | None, _option("A picture whose colours are the palette.", metavar="URL")] = None,
    color_locks: Annotated[
        str | None, _option("JSON: areas in a colour of yours, as docs/job.md says.", metavar='[{"part":"body","color":"#C8102E"},…]')
    ] = None,
    job_preset: Annotated[str | None, _option("A saved set of options; those given here win.", metavar="NAME")] = None,
    engine: Annotated[str, _option("auto, classical or neural (default: ENGINE, else auto).")] = "",
    seed: Annotated[int | None, _option("0 to 4294967295 (42).")] = None,
    size: Annotated[int | None, _option("Side of the square working raster, 1024 to 8192 (4096).", metavar="PX")] = None,
    vehicle_box: Annotated[str | None, _option("Where the vehicle is, fractions of the upright photo.", metavar="X0,Y0,X1,Y1")] = None,
    matte: Annotated[str | None, _option("Grey picture of the vehicle's shape; used as it is.", metavar="FILE")] = None,
    remove: Annotated[str | None, _option("What is removed from the vehicle; an empty string removes nothing.", metavar="LABEL,…")] = None,
    stroke: Annotated[str | None, _option("boundaries, centerlines, both (default) or none.")] = None,
    stroke_width: Annotated[float | None, _option("Units of the working raster (2).", metavar="W")] = None,
    stroke_color: Annotated[str | None, _option("Colour of the lines (#000000).", metavar="HEX")] = None,
    background: Annotated[str | None, _option("remove (default), keep, or a palette colour.")] = None,
    canvas: Annotated[str | None, _option("square (default), photo or vehicle: what the SVG shows.")] = None,
    detail: Annotated[float | None, _option("Smallest region kept, fraction of the raster's area.", metavar="FRACTION")] = None,
    outputs: Annotated[str | None, _option("Any of svg,png,report,intermediates,pdf (svg,png).")] = None,
    delivery: Annotated[str | None, _option("local (default here), s3 or inline.")] = None,
    output_prefix: Annotated[
        str | None, _option("Key below the bucket's prefix (with --delivery s3); the folder's name, or the job's id, else.")
    ] = None,
    preset: Annotated[str | None, _option("draft, standard or best (neural drawing).")] = None,
    num_inference_steps: Annotated[int | None, _option("Neural drawing.")] = None,
    guidance_scale: Annotated[float | None, _option("Neural drawing.")] = None,
    depth_weight: Annotated[float | None, _option("Neural drawing.")] = None,
    canny_weight: Annotated[float | None, _option("Neural drawing.")] = None,
    canny_end: Annotated[float | None, _option("Neural drawing.")] = None,
    prompt: Annotated[str | None, _option("Neural drawing.")] = None,
    negative_prompt: Annotated[str | None, _option("Neural drawing.")] = None,
    lora_scale: Annotated[float | None, _option("Neural drawing.")] = None,
    allow_low_iou: Annotated[bool | None, _option("Deliver the best attempt instead of failing (neural drawing).")] = None,
    image_url: Annotated[str | None, _option("In place of PHOTO.")] = None,
    image_base64: Annotated[str | None, _option("In place of PHOTO.")] = None,
    matte_url: Annotated[str | None, _option("In place of --matte.")] = None,
    matte_base64: Annotated[str | None, _option("In place of --matte.")] = None,
    schema: Annotated[int | None, _option("Version of the contract that these options are of (1).")] = None,
    config: Annotated[Path | None, _option("Settings file over the defaults (see docs/settings.md).", metavar="FILE")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result object alone.")] = False,
) -> None:
    """Turn a photograph of a vehicle into a flat vector illustration.

    `python -m pipeline car.jpg -o out` writes `out/illustration.svg`, `out/preview.png` and `out/result.json`.

    Exit status: 0; 2 when the input is wrong (nothing is written); 1 for other errors; 130 when cancelled.
    """
    simple: dict[str, Any] = {
        name: given
        for name, given in locals().items()
        if given is not None
        and name not in {"photo", "output", "palette", "engine", "matte", "remove", "stroke", "outputs", "config", "json_"}
        and name not in {"vehicle_box", "color_locks", "stroke_width", "stroke_color"}
    }
    lists = {"palette_hex_list": palette, "color_locks": color_locks, "vehicle_box": vehicle_box, "remove": remove, "outputs": outputs}
    raw = simple | {key: value(key, [text]) for key, text in lists.items() if text is not None}
    line = {"mode": stroke, "width": stroke_width, "color": stroke_color}
    if any(given is not None for given in line.values()):
        raw["stroke"] = {key: given for key, given in line.items() if given is not None}
    file = photo
    if photo is not None and is_url(photo, "http", "https", "s3"):
        raw["image_url"], file = photo, None
    if not (photo or image_url or image_base64):
        raise JobError(Code.INVALID_INPUT, "There is no picture: name a file or an address, as in python -m pipeline car.jpg.")
    if engine not in ("", "auto", "classical", "neural"):
        raise JobError(Code.INVALID_INPUT, f"engine: must be auto, classical or neural, not {engine!r}.")
    raw.setdefault("delivery", "local")
    if raw["delivery"] == "s3":
        raw = _as_prefix(output) | raw
    pictures = service.Pictures(*(None if path is None else read_file(path) for path in (file, matte)))
    _do(raw, pictures, output, engine, config, json_)


def main() -> int:
    """The exit status."""
    return run_app(app, "python -m pipeline")
