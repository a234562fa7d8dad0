"""The page about a training: how it went, what the style draws, and what it was taught with. One HTML file, opens from a disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from PIL import Image

from builder.doctor_sample import Picture
from builder.page import document, facts_table, figure, rows_table, section
from builder.tell import duration
from builder.train.examples import LEAST_ON_VEHICLE, Example
from builder.train.keep import Epoch, State
from builder.train.options import Options
from pipeline.values import Rgb

#: Sides of the pictures that judge and of those that were taught with, pixels.
LARGE, SMALL = 512, 200
_WIDTH, _HEIGHT, _EDGE = 1180.0, 320.0, 44.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair that judges, with the drawings made of it: epoch → (S, S, 3); epoch 0 without the style."""

    example: Example
    drawings: Mapping[int, Rgb]


@dataclass(frozen=True, slots=True)
class Course:
    """Everything that the page shows. `ended`: what became of it, a sentence; empty while it goes on."""

    name: str
    options: Options
    state: State
    shown: Sequence[Shown]
    taught: Sequence[Example]
    judges: Sequence[Example]
    facts: Mapping[str, str]
    ended: str


def page(course: Course) -> str:
    """The page. What is written by others (names, captions, trigger) is escaped."""
    last, best = course.state.epochs[-1], course.state.best
    verdict, word = ("ok", "Trained") if course.ended else ("skipped", "Under way")
    if course.ended and best is not None and best.judged >= course.state.epochs[0].judged:
        verdict, word = "suspicious", "Look here"
    sentence = course.ended or f"Epoch {last.number} of {course.options.epochs} has ended."
    body = f'<p class="verdict {verdict}"><b>{word}</b><span>{escape(sentence)}</span></p>'
    body += section("Loss", _chart(course.state.epochs) + _epochs(course.state.epochs, best))
    body += "".join(_judged(one, best) for one in course.shown)
    body += section("Pairs", _pairs(course))
    body += section("This training", facts_table(_facts(course)))
    return document(f"Style {course.name}: {word.lower()}", f"Style {course.name}", body)


def _chart(epochs: Sequence[Epoch]) -> str:
    """Both losses over the epochs, as SVG."""
    lines: list[tuple[str, str, list[tuple[int, float]]]] = [
        ("pairs held back", "var(--accent)", [(one.number, one.judged) for one in epochs]),
        ("pairs trained with", "var(--soft)", [(one.number, one.loss) for one in epochs if one.loss is not None]),
    ]
    values = [value for *_, line in lines for _, value in line]
    low, high = min(values), max(values)
    room = (high - low) * 0.1 or high * 0.1 or 1.0
    low, high, last = low - room, high + room, max(1, epochs[-1].number)

    def at(number: int, value: float) -> tuple[float, float]:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * number / last
        return x, _HEIGHT - _EDGE - (_HEIGHT - 1.6 * _EDGE) * (value - low) / (high - low)

    drawn = ""
    for value in np.linspace(low, high, 5):
        y = at(0, float(value))[1]
        drawn += f'<line x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        drawn += f'<text x="{_EDGE - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    for number in range(last + 1):
        drawn += f'<text x="{at(number, low)[0]:.1f}" y="{_HEIGHT - _EDGE + 18:.0f}" text-anchor="middle">{number}</text>'
    for k, (label, color, line) in enumerate(lines):
        points = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line)
        drawn += f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.5"/>'
        for x, y in (at(*point) for point in line):
            drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>'
        drawn += f'<text x="{_EDGE + 190 * k}" y="{_HEIGHT - 6}" fill="{color}">● {label}</text>'
    style = "width:100%;font:12px var(--sans);fill:var(--soft)"
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" style="{style}" role="img" aria-label="Loss over the epochs">{drawn}</svg>'


def _epochs(epochs: Sequence[Epoch], best: Epoch | None) -> str:
    rows = []
    for one in epochs:
        name = (
            "before"
            if not one.number
            else f"{one.number} (the style)"
            if best is not None and one.number == best.number
            else str(one.number)
        )
        loss, seconds = ("–" if one.loss is None else f"{one.loss:.5f}"), (f"{one.seconds:.2f} s" if one.seconds else "–")
        rows.append(
            f'<tr><th scope="row">{name}</th><td class=n>{one.step}</td><td class=n>{loss}</td><td class=n>{one.judged:.5f}</td>'
            f"<td class=n>{seconds}</td></tr>"
        )
    return rows_table(("Epoch",), ("Steps", "Loss", "Loss of the pairs held back", "A step"), rows)


def _judged(one: Shown, best: Epoch | None) -> str:
    """The vehicle, its drawing by hand, and the drawings before and after, then those between."""
    example = one.example
    captions = {0: "Without the style"} | ({best.number: f"With the style (epoch {best.number})"} if best else {})
    pictures = [Picture("The vehicle", _small(example.source, LARGE)), Picture("Drawn by hand", _small(example.target, LARGE))]
    pictures += [Picture(captions[number], _small(one.drawings[number], LARGE)) for number in captions if number in one.drawings]
    figures = "".join(figure(picture) for picture in pictures)
    body = f'<div class="pictures" style="--n:{len(pictures)}">{figures}</div>'
    between = [Picture(f"Epoch {number}", _small(rgb, LARGE)) for number, rgb in sorted(one.drawings.items()) if number not in captions]
    if between:
        figures = "".join(figure(picture) for picture in between)
        body += f'<details><summary>The other epochs</summary><div class="pictures" style="--n:4">{figures}</div></details>'
    return section(f"Held back: {example.stem}", f'<p class="note">{escape(example.caption)}</p>{body}')


def _pairs(course: Course) -> str:
    rows = []
    for part, examples in (("judges", course.judges), ("taught", course.taught)):
        for example in examples:
            doubt = "" if example.on_vehicle >= LEAST_ON_VEHICLE else '<span class="badge suspicious">Look here</span> '
            shown = [example.source, example.target, *(one for one in (example.depth, example.edges) if one is not None)]
            pictures = "".join(figure(Picture("", _small(one, SMALL))) for one in shown)
            share = f"{doubt}{100 * example.on_vehicle:.0f} % of the drawing lies on the vehicle"
            rows.append(
                f'<tr><th scope="row">{escape(example.stem)}</th><td style="white-space:nowrap">{part}</td>'
                f"<td>{share}<br>{escape(example.caption)}</td>"
                f'<td><div class="pictures" style="--n:{len(shown)};gap:6px;min-width:360px">{pictures}</div></td></tr>'
            )
    note = "Vehicle, drawing, and what the control nets see, as they were trained with: all in the vehicle's frame."
    return f'{rows_table(("Pair", "Part", "What", "Pictures"), (), rows)}<p class="note">{note}</p>'


def _facts(course: Course) -> dict[str, str]:
    options = course.options
    return {
        "Trigger": options.trigger or "none",
        "LoRA": f"rank {options.rank}, alpha {options.alpha:g}, on the attention's projections",
        "Rate, weight decay": f"{options.rate:g}, {options.decay:g}",
        "Epochs, patience": f"{options.epochs}, {options.patience}",
        "Seed": str(options.seed),
        "Mirrored half of the time": "yes" if options.mirror else "no",
        "Min-SNR gamma, noise offset": f"{options.gamma:g}, {options.noise_offset:g}",
        "Licence": options.licence,
        "Leaner mode": "yes: the card's memory did not suffice for all nets" if course.state.lean else "no",
        "Time in steps": duration(sum(one.seconds * (one.step - before.step) for before, one in _neighbours(course.state.epochs))),
        **course.facts,
    }


def _neighbours(epochs: Sequence[Epoch]) -> list[tuple[Epoch, Epoch]]:
    return list(pairwise(epochs))


def _small(picture: Rgb, side: int) -> Rgb:
    image = Image.fromarray(picture)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX) if image.width > side else image)
