"""The neural engine on a card: every step timed, stock diffusers beside it, which acceleration holds, memory and exactness.

    python -m bench.gpu_pipeline          # without a card: tiny networks, under two minutes, a smoke test
    python -m bench.gpu_pipeline --docs   # on a card: published sizes, random weights; writes docs/benchmarks/gpu_pipeline.md

The networks are made on the card with random weights (`bench.gpu.nets`) and handed to the worker's own model cache in place of files,
so neither a volume nor a network is needed. Time is the card's own (events), memory is what torch has allocated at the peak, arithmetic is
counted by torch's FlopCounterMode, and the card's rate is that of a matrix product of 8192³ in the same run. Meant for torch 2.11 and
transformers 5.17 or newer.

On a machine that cannot fetch packages, carry what it lacks as wheels and put them on the path:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_17_x86_64 \\
        --platform manylinux_2_28_x86_64 -d wheels diffusers==0.42.1 spandrel==0.4.2 structlog==26.1.0 pydantic==2.14.3 \\
        pydantic-core==2.50.4 typing-inspection==0.4.5 annotated-types==0.8.0
    pip install --no-index --no-deps --target site wheels/*.whl && PYTHONPATH=site python -m bench.gpu_pipeline --docs

Where time is short: --without stock, exactness or ways; the longest are the ways, for each makes the networks anew and two compile them.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import diffusers
import numba
import numpy as np
import structlog
import torch
import transformers

from bench.gpu import ways as gpu_ways
from bench.gpu.measure import Figure, Marks, card, matrix_rate, measured, median, memory, relative_error, versions
from bench.gpu.source import Bench, opened, redraw_of
from bench.gpu.stages import (
    GENUINE,
    PARTS,
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
from model_cache import prompts
from pipeline.neural import set_arithmetic
from pipeline.steps import Brief

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks" / "gpu_pipeline.md"
#: What a run on a card is held to, as the page says it until there has been one.
ASKED = {
    "30 steps at 1024² under both nets, after warm-up": "at most 2.0 s",
    "stock diffusers' time / ours, same nets and steps": "at least 1.7",
    "stock diffusers' time / our loop's, networks as loaded": "at least 1.3",
    "phases 1 to 3 without the drawing": "at most 1.5 s",
    "peak of a job's memory": "at most 18 GB",
    "models that a second job loads": "0",
    "relative error of a UNet step in float16 against float32": "at most 1 %",
}
COMMAND = "python -m bench.gpu_pipeline --docs"
#: What may be left out where time is short: stock diffusers, the comparison with float32, the other ways to draw.
OPTIONAL = ("stock", "exactness", "ways")


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


def draw_rows(bench: Bench, picture: Scene, told: Brief, repeats: int) -> list[Figure]:
    """The drawing as it is served, taken apart."""
    redraw = redraw_of(bench)
    work = drawing_work(redraw, picture, told)
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


@dataclass(frozen=True, slots=True)
class BesideStock:
    """Median seconds of a whole drawing: `ours` as it is served, `loop` our own loop over the networks as they were loaded (no joint
    projections, no channels last), `stock` diffusers' own pipeline over the same; and how far ours is from its picture, mean of 0..255."""

    ours: float
    loop: float
    stock: float
    apart: float


def stock_beside_ours(bench: Bench, picture: Scene, told: Brief, repeats: int) -> BesideStock:
    """Ours and stock in turns, then our loop alone, each warm."""
    embeddings = prompts.read(bench.prompts, told.prompt, told.negative_prompt)
    (scheduler,) = bench.cache.take("sdxl-scheduler")
    theirs = stock(bench.fresh, scheduler, embeddings or {}, picture, told)
    redraw, rgb = redraw_of(bench), theirs()
    ours, loop, other = [], [], []
    _, one = drawn(redraw, picture, told, bench.device)
    for _ in range(repeats):
        ours.append(drawn(redraw, picture, told, bench.device)[0].whole)
        marks = Marks(bench.device)
        marks.mark()
        theirs()
        marks.mark()
        other += marks.seconds()
    plain = redraw_of(bench, **gpu_ways.PLAIN)  # the cache makes the networks anew: not between two drawings that are timed
    drawn(plain, picture, told, bench.device)
    for _ in range(repeats):
        loop.append(drawn(plain, picture, told, bench.device)[0].whole)
    return BesideStock(median(ours), median(loop), median(other), float(np.abs(one.astype(int) - rgb).mean()))


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


@dataclass(slots=True)
class Report:
    """Everything that one run found."""

    where: str
    rates: dict[str, float]
    rows: list[Figure] = field(default_factory=list)
    ways: list[gpu_ways.Option] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The card's, TFLOP/s, of which shares are taken."""
        return max(self.rates.values())

    def keep(self, *rows: Figure) -> None:
        """Note and print lines of the table."""
        self.rows += rows
        for row in rows:
            print(line(row, self.rate), flush=True)


def whole_jobs(bench: Bench, size: Size, picture: Scene, told: Brief) -> tuple[Figure, Check, Check]:
    """A second job after a first: its time and peak, and what it loaded."""
    run = job(bench, size, picture, told)
    run()
    before = Counter(bench.cache.loads)
    row = measured("second job, all steps", run, bench.device, 1, count=False)
    again = sum((Counter(bench.cache.loads) - before).values())
    return row, Check("models that a second job loads", again, 0, anywhere=True), Check("peak of a job", row.peak_gb or 0.0, 18, " GB")


def stages(bench: Bench, size: Size, picture: Scene, told: Brief, repeats: int, report: Report) -> None:
    """Every step of a job and the drawing taken apart."""
    print(HEADINGS)
    whole, loads, peak = whole_jobs(bench, size, picture, told)
    report.keep(whole)
    for name, step in steps_of(bench.cache, size, picture, "depth-anything").items():
        report.keep(measured(name, step, bench.device, repeats))
    besides = sum(row.seconds for row in report.rows[1:] if row.stage not in PARTS)
    drawing = draw_rows(bench, picture, told, repeats)
    report.keep(*drawing)
    report.notes.append(f"weights and what is kept beside them: {memory(bench.device):.1f} GB")
    report.checks += [
        Check(f"{size.steps} steps under both nets", drawing[0].seconds, 2.0, " s"),
        Check("phases 1 to 3 without the drawing (and without grading)", besides, 1.5, " s"),
        peak,
        loads,
    ]


def examine(bench: Bench, size: Size, repeats: int, without: list[str]) -> Report:
    """Measure everything, printing as it goes."""
    picture = scene(size)
    told = brief(picture, size)
    side = 8192 if bench.device.type == "cuda" else 1024
    types = (torch.bfloat16, torch.float16) if bench.device.type == "cuda" else (torch.float32,)
    rates = {str(t).removeprefix("torch."): matrix_rate(bench.device, t, side) for t in types}
    print(f"matrix product of {side}³: " + ", ".join(f"{name} {value:.4g} TFLOP/s" for name, value in rates.items()))
    report = Report(f"{card(bench.device)}; {versions()}", rates)
    stages(bench, size, picture, told, repeats, report)
    if "stock" not in without:
        beside = stock_beside_ours(bench, picture, told, repeats)
        three = (
            f"ours {beside.ours * 1000:.0f} ms, our loop alone {beside.loop * 1000:.0f} ms, stock diffusers {beside.stock * 1000:.0f} ms"
        )
        report.notes.append(f"a drawing: {three}; ours and stock's pictures differ by {beside.apart:.2f} of 255")
        report.checks.append(Check("stock diffusers' time / ours", beside.stock / beside.ours, 1.7, at_least=True))
        # Below it a loop of our own is not worth its code: stock's pipeline should take its place.
        report.checks.append(
            Check("stock diffusers' time / our loop's, networks as loaded", beside.stock / beside.loop, 1.3, at_least=True)
        )
    if "exactness" not in without:
        errors = exactness(bench, size)
        shown = ", ".join(f"{name} {value:.3%}" for name, value in errors.items())
        report.notes.append(f"relative error of one UNet step under both nets: {shown}")
        used = bench.cache.volume.catalogue["sdxl-unet"].dtype
        report.checks.append(Check(f"error of a UNet step in {used}", 100 * errors[used], 1, " %", anywhere=True))
    if "ways" not in without:  # last: a way that fails may leave the card unfit for more
        print(gpu_ways.HEADINGS)
        report.ways += gpu_ways.ways(bench, picture, told, repeats)
    return report


def document(report: Report | None) -> str:
    """The page in docs/benchmarks, with or without figures."""
    head = f"# The neural engine on a card\n\nWritten by `{COMMAND}`; its docstring says what it needs and how it measures.\n"
    if report is None:
        rows = "\n".join(f"| {name} | {asked} | not measured |" for name, asked in ASKED.items())
        return f"{head}\nNot measured: no run on a card yet.\n\n| figure | asked | measured |\n|---|---|---|\n{rows}\n"
    told = ", ".join(f"{name} {value:.0f} TFLOP/s" for name, value in report.rates.items())
    parts = [
        head,
        f"{datetime.now(UTC):%Y-%m-%d}, {report.where}.",
        f"Networks of published size with random weights. Matrix product of 8192³: {told}; `share` is of the faster.",
        "\n".join(["```", HEADINGS, *(line(row, report.rate) for row in report.rows), "```"]),
        "The same drawing in other ways; `first ms` is the first one of its kind, compiling included, `apart` the mean difference of its\n"
        "picture from the plain one's, of 255.",
        "\n".join(["```", gpu_ways.HEADINGS, *map(gpu_ways.line, report.ways), "```"]),
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
    parser.add_argument("--without", nargs="+", choices=OPTIONAL, default=[], help="what to leave out")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.name}")
    given = parser.parse_args()
    _quiet()
    genuine = torch.cuda.is_available() and not given.tiny
    if given.docs and not genuine:
        print("bench.gpu_pipeline: --docs needs a card and published sizes; nothing was measured.", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        # numba's parallel loops leave torch as many threads as they have, and on a busy machine those wait for one another, spinning,
        # forty times longer than the tiny networks take alone.
        torch.set_num_threads(1)
        numba.set_num_threads(1)
    set_arithmetic()
    began = time.perf_counter()
    with opened(genuine, given.volume) as bench:
        size = GENUINE if genuine else TINY
        size = replace(size, steps=given.steps or size.steps)
        print(f"{card(bench.device)}; {versions()}\n{'published sizes, random weights' if genuine else 'tiny networks'}")
        report = examine(bench, size, given.repeats or (3 if genuine else 1), given.without)
    told = [str(check) for check in report.checks if genuine or check.anywhere]
    print("\n".join(["", *report.notes, *told, f"{time.perf_counter() - began:.0f} s in all"]))
    if given.docs:
        DOCS.write_text(document(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
