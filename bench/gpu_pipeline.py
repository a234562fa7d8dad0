"""The neural engine on a card: every step timed, stock diffusers beside it, which acceleration holds, memory and exactness.

    python -m bench.gpu_pipeline          # without a card: tiny networks, under two minutes, a smoke test
    python -m bench.gpu_pipeline --docs   # on a card: published sizes, random weights; writes docs/benchmarks/gpu_pipeline.md

The networks are made on the card with random weights (`bench.gpu_nets`) and handed to the worker's own model cache in place of files,
so neither a volume nor a network is needed. Time is the card's own (events), memory is what torch has allocated at the peak, arithmetic is
counted by torch's FlopCounterMode, and the card's rate is that of a matrix product of 8192³ in the same run. Meant for torch 2.11 and
transformers 5.17 or newer.

On a machine that cannot fetch packages, carry what it lacks as wheels and put them on the path:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 \\
        --platform manylinux2014_x86_64 -d wheels diffusers==0.42.1 spandrel==0.4.2 structlog==26.1.0 pydantic==2.14.3 \\
        pydantic-core==THE_ONE_THAT_PYDANTIC_NAMES typing-inspection==0.4.2 annotated-types==0.7.0
    pip install --no-index --no-deps --target site wheels/*.whl && PYTHONPATH=site python -m bench.gpu_pipeline --docs
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import numpy as np
import structlog
import torch
import transformers

from bench import gpu_nets
from bench.gpu_measure import Figure, card, matrix_rate, measured, median, memory, relative_error, versions
from bench.gpu_stages import (
    GENUINE,
    NEGATIVE,
    PARTS,
    PROMPT,
    TINY,
    Scene,
    Size,
    brief,
    drawing_figures,
    drawing_work,
    drawn,
    scene,
    steps_of,
    stock,
    unet_step,
)
from model_cache import cache as caches
from model_cache import prompts
from model_cache.catalogue import load_catalogue
from model_cache.loaders import Loaded, load
from model_cache.volume import Volume
from pipeline.phase2_illustrate.diffusion_nets import save_compiled
from pipeline.phase2_illustrate.draw_neural import DrawSettings, make_redraw
from pipeline.steps import Brief, Redraw
from tests import tiny_volume

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks" / "gpu_pipeline.md"
COMMAND = "python -m bench.gpu_pipeline --docs"
#: Networks that a standard job uses.
NAMES = (
    "grounding-dino",
    "sam",
    "lama",
    "birefnet",
    "depth-anything",
    "sdxl-scheduler",
    "sdxl-unet",
    "controlnet-depth",
    "controlnet-canny",
    "sdxl-vae",
    "realesrgan-anime",
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the networks come from: `cache` the worker's own; `fresh` another, untouched copy of a network on the device."""

    device: torch.device
    cache: caches.ModelCache
    fresh: Callable[[str], Any]
    prompts: Path


@contextlib.contextmanager
def opened(genuine: bool, volume: Path | None) -> Iterator[Bench]:
    """The networks: published sizes on a card, made there, or a volume of tiny ones on whatever there is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        home = volume or Path(folder)
        kept = home / "prompts" / "default.safetensors"
        if genuine:
            _write_small_files(home, kept)
        elif volume is None:
            tiny_volume.build(home)
        files = Volume(home, load_catalogue())

        def read(where: Volume, name: str, dtype: torch.dtype) -> Any:
            return _made(where, name, dtype, device) if genuine else load(where, name, dtype)

        def fresh(name: str) -> Any:
            return read(files, name, cache.dtype(name)).to(device)

        # Instead of reading files the cache is handed networks that were made; everything else is its own work.
        with patch.object(caches, "load", read):
            cache = caches.open_cache(files, device)
            yield Bench(device, cache, fresh, kept)


def _write_small_files(home: Path, kept: Path) -> None:
    """What is no network: the scheduler's configuration, as published, and embeddings of the default prompt, random."""
    scheduler = {
        "_class_name": "EulerDiscreteScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "interpolation_type": "linear",
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "sample_max_value": 1.0,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "trained_betas": None,
        "use_karras_sigmas": False,
    }
    file = home / "models" / "sdxl-scheduler" / "scheduler_config.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(scheduler))
    random = torch.Generator().manual_seed(0)
    shapes = {name: (1, 1280) if "pooled" in name else (1, 77, 2048) for name in prompts.NAMES}
    prompts.write(kept, PROMPT, NEGATIVE, {name: torch.randn(shape, generator=random).half() for name, shape in shapes.items()})


def _made(files: Volume, name: str, dtype: torch.dtype, device: torch.device) -> Any:
    if name == "sdxl-scheduler":
        return load(files, name, dtype)
    network = gpu_nets.make(name, device, dtype)
    if files.catalogue[name].kind == "transformers":
        return Loaded(network, gpu_nets.processor(name, files.file(name, "")))
    return network


# --- what is measured ---


@dataclass(frozen=True, slots=True)
class Check:
    """A figure that was asked for. `limit` is met when the value is not above it, or not below it where `at_least`.

    `anywhere`: it says something without a card and with tiny networks, too.
    """

    what: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False
    anywhere: bool = False

    def __str__(self) -> str:
        met = self.value >= self.limit if self.at_least else self.value <= self.limit
        asked = f"asked {'at least' if self.at_least else 'at most'} {self.limit:g}"
        return f"- {self.what}: {self.value:.3g}{self.unit} ({asked}) {'met' if met else 'MISSED'}"


@dataclass(frozen=True, slots=True)
class Option:
    """A way to run the drawing: median seconds of the whole, and how far its picture is from the plain one's, mean of 0..255."""

    name: str
    seconds: float
    first: float
    apart: float


def redraw_of(bench: Bench, **options: Any) -> Redraw:
    return make_redraw(bench.cache, DrawSettings(**options), None, None, bench.prompts)


def draw_rows(bench: Bench, picture: Scene, told: Brief, repeats: int) -> list[Figure]:
    """The drawing as it is served, taken apart."""
    redraw = redraw_of(bench)
    work = drawing_work(redraw, picture, told)
    drawn(redraw, picture, told, bench.device)
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [drawn(redraw, picture, told, bench.device)[0] for _ in range(repeats)]
    peak = torch.cuda.max_memory_allocated() / 1e9 if bench.device.type == "cuda" else None
    return drawing_figures(times, work, told, peak)


def job(bench: Bench, size: Size, picture: Scene, told: Brief) -> Callable[[], None]:
    """All steps of a job, one after another, as they are served."""
    steps = steps_of(bench.cache, size, picture, "depth-anything")
    redraw = redraw_of(bench)

    def run() -> None:
        for name, step in steps.items():
            if name not in PARTS:
                step()
        redraw(picture.small, told, lambda _: None)

    return run


def stock_beside_ours(bench: Bench, picture: Scene, told: Brief, repeats: int) -> tuple[float, float, float]:
    """Median seconds of a whole drawing, ours and stock diffusers' in turns, and how far the two pictures are apart (0..255)."""
    embeddings = prompts.read(bench.prompts, told.prompt, told.negative_prompt)
    (scheduler,) = bench.cache.take("sdxl-scheduler")
    redraw, theirs = redraw_of(bench), stock(bench.fresh, scheduler, embeddings or {}, picture, told)
    ours, other = [], []
    for turn in range(repeats + 1):
        time_of, first = drawn(redraw, picture, told, bench.device)
        one = measured("stock", theirs, bench.device, 1, count=False) if turn else None
        if one is not None:
            ours.append(time_of.whole)
            other.append(one.seconds)
    apart = float(np.abs(first.astype(int) - theirs()).mean())
    return median(ours), median(other), apart


def options(bench: Bench, picture: Scene, told: Brief, repeats: int) -> list[Option]:
    """The same drawing run in every way there is, alone and together."""
    plain = {"fuse_qkv": False, "channels_last": False}
    both = {"fuse_qkv": True, "channels_last": True}
    ways: dict[str, dict[str, Any]] = {
        "plain": plain,
        "joint projections": {**plain, "fuse_qkv": True},
        "channels last": {**plain, "channels_last": True},
        "both": both,
    }
    if bench.device.type == "cuda":
        ways["both, CUDA graphs"] = {**both, "cuda_graphs": True}
        ways["both, compiled"] = {**both, "compile": True}
        ways["both, compiled, CUDA graphs"] = {**both, "compile": True, "cuda_graphs": True}
    rows, reference = [], None
    with tempfile.TemporaryDirectory() as folder:
        for name, way in ways.items():
            begun = {"compile_cache": _begun(Path(folder), bench.device)} if way.get("compile") else {}
            redraw = redraw_of(bench, **way, **begun)
            first, rgb = drawn(redraw, picture, told, bench.device)
            times = [drawn(redraw, picture, told, bench.device)[0].whole for _ in range(repeats)]
            reference = rgb if reference is None else reference
            rows.append(Option(name, median(times), first.whole, float(np.abs(rgb.astype(int) - reference).mean())))
            print(option_line(rows[-1]), flush=True)
    return rows


def _begun(folder: Path, device: torch.device) -> Path:
    """A kept compile cache with next to nothing in it: the drawing asks for compiled blocks only where there is one."""
    torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    save_compiled(folder, device)
    return folder


def exactness(bench: Bench, size: Size) -> dict[str, float]:
    """Relative error of one UNet step under both ControlNets, per 16-bit type, against float32 on the processor."""
    names = ("sdxl-unet", "controlnet-depth", "controlnet-canny")
    if bench.device.type == "cuda":
        bench.cache.relieve()
    exact = unet_step(
        {name: bench.fresh(name).to("cpu", torch.float32) for name in names}, torch.device("cpu"), torch.float32, size.drawing
    )
    errors = {}
    for dtype in (torch.float16, torch.bfloat16):
        nets = {name: bench.fresh(name).to(bench.device, dtype) for name in names}
        errors[str(dtype).removeprefix("torch.")] = relative_error(unet_step(nets, bench.device, dtype, size.drawing), exact)
    return errors


# --- what is told ---

HEADINGS = f"{'stage':42}{'ms':>10}{'peak GB':>10}{'TFLOP':>10}{'TFLOP/s':>10}{'share':>8}"


def line(row: Figure, rate: float) -> str:
    """One stage. `rate` TFLOP/s is the card's own, of which the share is taken."""
    peak = "" if row.peak_gb is None else f"{row.peak_gb:.1f}"
    work = "" if row.tflop is None else f"{row.tflop:.3f}"
    speed = row.tflop / row.seconds if row.tflop else None
    told = ("", "") if speed is None else (f"{speed:.3g}", f"{speed / rate:.0%}")
    return f"{row.stage:42}{row.seconds * 1000:>10.1f}{peak:>10}{work:>10}{told[0]:>10}{told[1]:>8}"


OPTION_HEADINGS = f"{'drawing':42}{'ms':>10}{'first ms':>10}{'apart':>8}"


def option_line(row: Option) -> str:
    return f"{row.name:42}{row.seconds * 1000:>10.1f}{row.first * 1000:>10.1f}{row.apart:>8.2f}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run found."""

    where: str
    rates: dict[str, float]
    rows: list[Figure]
    options: list[Option]
    checks: list[Check]
    notes: list[str]


def whole_jobs(bench: Bench, size: Size, picture: Scene, told: Brief) -> tuple[Figure, Check, Check]:
    """A second job after a first: its time and peak, and what it loaded."""
    run = job(bench, size, picture, told)
    run()
    before = Counter(bench.cache.loads)
    row = measured("second job, all steps", run, bench.device, 1, count=False)
    again = sum((Counter(bench.cache.loads) - before).values())
    return row, Check("models that a second job loads", again, 0, anywhere=True), Check("peak of a job", row.peak_gb or 0.0, 18, " GB")


def examine(bench: Bench, size: Size, repeats: int) -> Report:
    """Measure everything, printing as it goes."""
    picture = scene(size)
    told = brief(picture, size)
    side = 8192 if bench.device.type == "cuda" else 1024
    types = (torch.bfloat16, torch.float16) if bench.device.type == "cuda" else (torch.float32,)
    rates = {str(t).removeprefix("torch."): matrix_rate(bench.device, t, side) for t in types}
    rate = max(rates.values())
    print(f"matrix product of {side}³: " + ", ".join(f"{name} {value:.4g} TFLOP/s" for name, value in rates.items()))
    print(HEADINGS)
    rows = []

    def keep(*new: Figure) -> None:
        for row in new:
            rows.append(row)
            print(line(row, rate), flush=True)

    whole, loads, peak = whole_jobs(bench, size, picture, told)
    keep(whole)
    for name, step in steps_of(bench.cache, size, picture, "depth-anything").items():
        keep(measured(name, step, bench.device, repeats))
    besides = sum(row.seconds for row in rows[1:] if row.stage not in PARTS)
    drawing = draw_rows(bench, picture, told, repeats)
    keep(*drawing)
    print(f"weights and what is kept beside them: {memory(bench.device):.1f} GB\n{OPTION_HEADINGS}")
    ways = options(bench, picture, told, repeats)
    ours, theirs, apart = stock_beside_ours(bench, picture, told, repeats)
    errors = exactness(bench, size)
    notes = [
        f"ours {ours * 1000:.0f} ms, stock diffusers {theirs * 1000:.0f} ms, in turns; their pictures differ by {apart:.2f} of 255",
        "relative error of one UNet step under both nets: " + ", ".join(f"{name} {value:.3%}" for name, value in errors.items()),
    ]
    used = bench.cache.volume.catalogue["sdxl-unet"].dtype
    checks = [
        Check(f"{size.steps} steps under both nets", drawing[0].seconds, 2.0, " s"),
        Check("stock diffusers' time / ours", theirs / ours, 1.7, at_least=True),
        Check("phases 1 to 3 without the drawing (and without grading)", besides, 1.5, " s"),
        peak,
        loads,
        Check(f"error of a UNet step in {used}", 100 * errors[used], 1, " %", anywhere=True),
    ]
    return Report(f"{card(bench.device)}; {versions()}", rates, rows, ways, checks, notes)


def document(report: Report | None) -> str:
    """The page in docs/benchmarks, with or without figures."""
    head = f"# The neural engine on a card\n\nWritten by `{COMMAND}`; its docstring says what it needs and how it measures.\n"
    if report is None:
        return f"{head}\nNot measured: no run on a card yet.\n"
    rate = max(report.rates.values())
    told = ", ".join(f"{name} {value:.0f} TFLOP/s" for name, value in report.rates.items())
    parts = [
        head,
        f"{datetime.now(UTC):%Y-%m-%d}, {report.where}.",
        f"Networks of published size with random weights. Matrix product of 8192³: {told}; `share` is of the faster.",
        "\n".join(["```", HEADINGS, *(line(row, rate) for row in report.rows), "```"]),
        "The same drawing in other ways; `first ms` is the first one of its kind, compiling included, `apart` the mean difference of its\n"
        "picture from the plain one's, of 255.",
        "\n".join(["```", OPTION_HEADINGS, *map(option_line, report.options), "```"]),
        "\n".join(f"- {note}" for note in report.notes),
        "## Figures\n",
        "\n".join(map(str, report.checks)),
    ]
    return "\n\n".join(parts) + "\n"


def _quiet() -> None:
    """Only errors: the networks' libraries and the worker's own log have much to say that is not of the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny networks on a card, too")
    parser.add_argument("--volume", type=Path, help="a volume of tiny networks that is there already")
    parser.add_argument("--steps", type=int, help="steps of the drawing")
    parser.add_argument("--repeats", type=int, help="runs of which the median is told; 3 on a card, else 1")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.name}")
    given = parser.parse_args()
    _quiet()
    genuine = torch.cuda.is_available() and not given.tiny
    if given.docs and not genuine:
        print("bench.gpu_pipeline: --docs needs a card; nothing was measured.", file=sys.stderr)
        return 2
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False  # as the worker sets them
    torch.set_float32_matmul_precision("high")
    began = time.perf_counter()
    with opened(genuine, given.volume) as bench:
        size = GENUINE if genuine else TINY
        size = replace(size, steps=given.steps or size.steps)
        print(f"{card(bench.device)}; {versions()}\n{'published sizes, random weights' if genuine else 'tiny networks'}")
        report = examine(bench, size, given.repeats or (3 if genuine else 1))
    print(
        "\n".join(
            ["", *report.notes, *(str(c) for c in report.checks if genuine or c.anywhere), f"{time.perf_counter() - began:.0f} s in all"]
        )
    )
    if given.docs:
        DOCS.write_text(document(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
