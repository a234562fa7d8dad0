"""The shell of `train-style`: its options, and what it says while it works: bars, lines, or a JSON object a line."""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from builder.arguments import Config, Volume, volume_of
from builder.errors import BuilderError, WrongOption
from builder.train.options import Hear, Options
from model_cache.styles import clean

_DEFAULT = Options()
_PAIRS = typer.Argument(help="Folder of photos/STEM.jpg with drawings/STEM.svg, or STEM.photo.jpg with STEM.svg.", show_default=False)
_JSON = typer.Option("--json", help="Print a JSON object a line: what happens, as it happens.")


def train_style(
    pairs: Annotated[Path, _PAIRS],
    volume: Volume = None,
    name: Annotated[str | None, typer.Option("--name", help="The style's name (default: the folder's).", show_default=False)] = None,
    trigger: Annotated[str, typer.Option("--trigger", help="Words before every caption and prompt.")] = _DEFAULT.trigger,
    licence: Annotated[str, typer.Option("--licence", help="What may be done with the style; stands in its file.")] = _DEFAULT.licence,
    epochs: Annotated[int, typer.Option("--epochs", min=1, max=1000, help="Most times that each pair is shown.")] = _DEFAULT.epochs,
    patience: Annotated[int, typer.Option("--patience", min=1, help="Epochs without getting better that end it.")] = _DEFAULT.patience,
    rank: Annotated[int, typer.Option("--rank", min=1, max=256)] = _DEFAULT.rank,
    alpha: Annotated[float, typer.Option("--alpha", min=0.001)] = _DEFAULT.alpha,
    rate: Annotated[float, typer.Option("--rate", min=1e-8, max=1.0, help="AdamW's learning rate.")] = _DEFAULT.rate,
    noise_offset: Annotated[float, typer.Option("--noise-offset", min=0.0, max=1.0)] = _DEFAULT.noise_offset,
    mirror: Annotated[bool, typer.Option("--mirror/--no-mirror", help="Show each pair mirrored half of the time.")] = _DEFAULT.mirror,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1)] = _DEFAULT.seed,
    from_step: Annotated[
        int | None, typer.Option("--from-step", min=0, help="Take up this checkpoint (default: the newest).", show_default=False)
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Forget what was trained under this name.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the pairs alone.")] = False,
    insist: Annotated[bool, typer.Option("--insist", help="Train without a card too, which takes days.")] = False,
    config: Config = None,
    json_: Annotated[bool, _JSON] = False,
) -> None:
    """Train a style from pairs of photographs and drawings, and install it. Stopped or killed, the same command goes on.

    Every pair is checked first: what is wrong with any is listed, and the command ends with 2. The page about the training lies in
    VOLUME/.builder/training/NAME/report.html and is written after each epoch.
    """
    try:
        words = clean(trigger)
    except ValueError as error:
        raise WrongOption(f"--trigger: {error}.") from error
    options = Options(
        trigger=words,
        licence=licence,
        rank=rank,
        alpha=alpha,
        rate=rate,
        epochs=epochs,
        patience=patience,
        seed=seed,
        noise_offset=noise_offset,
        mirror=mirror,
    )
    with heard(json_) as hear, _stopped_by_signal():
        if check:
            from builder.train.pairs import read_pairs  # noqa: PLC0415 - imports the decoder's libraries

            found = read_pairs(pairs, lambda done, of: hear("check", {"done": done, "of": of}))
            hear("checked", {"pairs": len(found)})
            return
        folder, style = volume_of(volume), name_of(name, pairs)
        from builder.train.work import Request  # noqa: PLC0415 - imports torch
        from builder.train.work import train_style as work  # noqa: PLC0415

        work(Request(folder, pairs, style, options, config, from_step, anew, insist), hear)


def make_pairs(
    source: Annotated[Path, typer.Argument(help="A folder of photographs, or of jobs (outputs: svg, intermediates).", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of pairs.", metavar="FOLDER", show_default=False)],
    config: Config = None,
    json_: Annotated[bool, _JSON] = False,
) -> None:
    """Make pairs to begin with: each photograph beside its drawing by the classical engine, an SVG to be corrected in place.

    Drawings that are there are never written over.
    """
    from builder.train.starters import make_pairs as make  # noqa: PLC0415 - imports the engine

    with heard(json_) as hear, _stopped_by_signal():
        make(source, out, config, hear)


def name_of(name: str | None, pairs: Path) -> str:
    """The style's name: a plain file name, also on other systems. Raises `WrongOption`."""
    given = name if name is not None else re.sub(r"[^\w.-]+", "_", pairs.resolve().name).strip("._")
    if not re.fullmatch(r"\w[\w.-]{0,63}", given):
        raise WrongOption(f"{given!r} is no name for a style: at most 64 letters, digits, dots, hyphens and underscores; give --name.")
    return given.removesuffix(".safetensors")


@contextmanager
def _stopped_by_signal() -> Iterator[None]:
    """A polite end (SIGTERM) is told like Ctrl-C; what was trained is kept either way."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def heard(as_json: bool) -> Iterator[Hear]:
    """Where events go for as long as the work lasts. As JSON, an error is an event too."""
    if not as_json:
        with _for_people(Console()) as hear:
            yield hear
        return

    def line(event: str, fields: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()

    try:
        yield line
    except BuilderError as error:
        line("failed", {"sentence": error.sentence, "problems": getattr(error, "problems", [])})
        raise


_BARS = {"check": "checking the pairs", "prepare": "making the pairs ready", "step": "training"}


@contextmanager
def _for_people(console: Console) -> Iterator[Hear]:
    """Bars on a terminal; elsewhere a line for each epoch and each tenth of the rest."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[beside]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def say(sentence: str) -> None:
            bars.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

        def hear(event: str, fields: Mapping[str, Any]) -> None:
            if event in _BARS:
                done, of = fields.get("done", fields.get("step", 0)), fields.get("of", fields.get("steps", 0))
                beside = f"loss {fields['loss']:.4f}" if "loss" in fields else ""
                if event not in tasks:
                    tasks[event] = bars.add_task(_BARS[event], beside=beside)
                bars.update(tasks[event], completed=done, total=of, beside=beside)
            elif event in _SENTENCES:
                say(_SENTENCES[event](fields))

        yield hear


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "checked": lambda it: f"{it['pairs']} pairs, all of them whole",
    "pairs": lambda it: f"{it['new']} new drawings in {it['folder']}, {it['kept']} kept: correct the SVGs there, then train-style",
    "told": lambda it: str(it["sentence"]),
    "training": lambda it: f"training from step {it['step']}, at most to step {it['steps']}, with {it['optimizer']}",
    "epoch": lambda it: f"epoch {it['epoch']}: loss {it['loss']:.4f}, held back {it['judged']:.4f}, {it['seconds']:.2f} s a step",
    "done": lambda it: f"{it['sentence']}\n{it['style']}\n{it['report']}",
}
