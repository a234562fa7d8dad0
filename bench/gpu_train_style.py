"""A training's step on a card: seconds, memory, and the share of the card's matrix rate.

    python -m bench.gpu_train_style          # without a card: tiny networks, a smoke test
    python -m bench.gpu_train_style --docs   # on a card: published sizes, random weights; writes docs/benchmarks/train_style.md

The step is the training's own (`builder.train`) at 1024², rank 32: both control nets, the UNet under gradient checkpointing, AdamW. The
networks are made on the card (`bench.gpu.nets`). Arithmetic is counted by torch's FlopCounterMode: forwards, backwards, and what
checkpointing computes twice.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from bench.gpu.measure import Figure, card, matrix_rate, measured, versions
from bench.gpu.source import opened
from builder.train.examples import Example
from builder.train.keep import State, save_state
from builder.train.loop import Training, gradients, optimizer_of
from builder.train.nets import assemble, names_of
from builder.train.objective import Lesson, lesson
from builder.train.options import Options
from builder.train.show import drawing
from builder.train.work import brief_of
from model_cache import prompts
from pipeline import settings as configuration
from pipeline.phase2_illustrate.diffusion.noise_schedule import schedule

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks" / "train_style.md"
COMMAND = "python -m bench.gpu_train_style --docs"
#: Rows of the page, and what is asked of a card.
ROWS = {
    "a step at batch 1, rank 32, 1024²": "",
    "its peak of memory": "at most 24 GB",
    "its share of the card's matrix rate": "told",
    "a step in the leaner mode": "",
    "the leaner mode's peak of memory": "",
    "a picture of the validation (30 steps)": "",
    "a checkpoint": "",
    "an epoch of 43 pairs": "",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, by the page's rows; and where."""

    values: Mapping[str, str]
    where: str


def example(side: int, kept: Path) -> Example:
    """Noise at the drawing's side, told as the stored prompt."""
    random = np.random.default_rng(0)
    rgb, depth = random.integers(0, 256, (side, side, 3), np.uint8), random.integers(0, 256, (side, side), np.uint8)
    sdxl = configuration.load().phase2.sdxl
    told = prompts.read(kept, sdxl.prompt, sdxl.negative_prompt)
    latents = torch.from_numpy(random.standard_normal((2, 4, side // 8, side // 8), np.float32))
    edges = np.where(depth > 250, 255, 0).astype(np.uint8)
    return Example("noise", sdxl.prompt, rgb, rgb, depth, edges, latents, told or {}, 1.0)


def examine(side: int, options: Options, genuine: bool, repeats: int) -> Report:
    settings = configuration.load()
    with opened(genuine, None) as bench:
        device, dtype = bench.device, torch.bfloat16 if bench.device.type == "cuda" else torch.float32
        loaded = {name: bench.fresh(name).to(dtype) for name in names_of(settings)}
        nets = assemble(loaded, device, dtype, options)
        (scheduler,) = bench.cache.take("sdxl-scheduler")
        brief = brief_of(settings) if genuine else replace(brief_of(settings), steps=2)
        about: Lesson = lesson(options, scheduler, schedule(scheduler, brief.steps, brief.strength, False), brief, settings)
        one = example(side, bench.prompts)
    optimizer, name = optimizer_of(nets, options)
    with tempfile.TemporaryDirectory() as folder:
        work = Training(nets, about, [one], [one], Path(folder), lambda *_: None, lambda _: None)
        numbers = iter(range(10**6))

        def step() -> None:
            gradients(work, next(numbers), one)
            optimizer.step()

        rate = matrix_rate(device, dtype, 8192 if genuine else 512)
        plain = measured("step", step, device, repeats)
        picture = measured("picture", lambda: drawing(nets, one, about), device, 1, count=False)
        saved = measured("checkpoint", lambda: save_state(Path(folder), State(step=1), nets, optimizer), device, 1, count=False)
        nets.lean = True
        lean = measured("lean", step, device, repeats, count=False)
    return Report(_values(plain, lean, picture, saved, rate), f"{card(device)}; {versions()}; {name}; median of {repeats} steps")


def _values(plain: Figure, lean: Figure, picture: Figure, saved: Figure, rate: float) -> dict[str, str]:
    def memory(figure: Figure) -> str:
        return "–" if figure.peak_gb is None else f"{figure.peak_gb:.1f} GB"

    share = (plain.tflop or 0.0) / plain.seconds / rate
    told = (
        f"{plain.seconds:.3f} s ({plain.tflop or 0:.1f} TFLOP)",
        memory(plain),
        f"{100 * share:.0f} % of {rate:.0f} TFLOP/s",
        f"{lean.seconds:.3f} s",
        memory(lean),
        f"{picture.seconds:.2f} s",
        f"{saved.seconds:.2f} s",
        f"{43 * plain.seconds:.0f} s",
    )
    return dict(zip(ROWS, told, strict=True))


def document(report: Report | None) -> str:
    """The page; without a report it says so."""
    where = f"{datetime.now(UTC):%F}, {report.where}." if report else "Not measured: no run on a card yet."
    rows = "\n".join(f"| {row} | {asked} | {report.values[row] if report else 'not measured'} |" for row, asked in ROWS.items())
    return f"""# Training a style on a card

Written by `{COMMAND}`; its docstring says how it measures.

{where}

| figure | asked | measured |
|---|---|---|
{rows}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="A training's step on a card.")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks/train_style.md; needs a card")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--repeats", type=int)
    given = parser.parse_args()
    genuine = torch.cuda.is_available()
    if given.docs and not genuine:
        parser.error("there is no card to write about")
    report = examine(1024 if genuine else 64, Options(rank=given.rank), genuine, given.repeats or (5 if genuine else 1))
    print(report.where)
    if not genuine:
        print("tiny networks at 64²: a smoke test, whose figures say nothing of a card")
    for row, value in report.values.items():
        print(f"{row}: {value}")
    if given.docs:
        DOCS.write_text(document(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
