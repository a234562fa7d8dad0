"""The doctor's page: one HTML file that shows what was examined, for a browser without network. No torch, no network, no script."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from builder.doctor_sample import Answer, Picture, Verdict
from builder.tell import duration, size

#: Longest side of a picture on the page, pixels.
_LARGEST = 1100
#: Characters from which a fact takes more than one column.
_LONG = 24
_RANK: dict[Verdict, int] = {"failed": 0, "suspicious": 1, "skipped": 2, "ok": 3}


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model as it was read: `bytes` of weights, `seconds`; `error` says why not, and is empty where it was."""

    name: str
    revision: str
    dtype: str
    bytes: int
    seconds: float | None
    error: str


@dataclass(frozen=True, slots=True)
class Check:
    """One examination. `loading`: seconds until its engine was ready; `peak`: bytes on the card, 0 where there is none; `advice`: what to
    do where it did not end well."""

    name: str
    answer: Answer
    loading: float = 0.0
    peak: int = 0
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows."""

    card: str
    facts: dict[str, str]
    models: Sequence[ModelRow]
    checks: Sequence[Check]

    @property
    def fine(self) -> bool:
        """Whether every model was read and every examination ended well; what was skipped does not count."""
        return not any(row.error for row in self.models) and all(check.answer.verdict in {"ok", "skipped"} for check in self.checks)

    @property
    def verdict(self) -> Verdict:
        """The worst one."""
        if any(row.error for row in self.models):
            return "failed"
        found: list[Verdict] = [check.answer.verdict for check in self.checks]
        return min(found, key=_RANK.__getitem__, default="skipped")

    @property
    def sentence(self) -> str:
        """The whole examination in one sentence."""
        by = {verdict: [check.name for check in self.checks if check.answer.verdict == verdict] for verdict in _RANK}
        broken = [row.name for row in self.models if row.error]
        parts = [f"{_listed(by['failed'])} failed"] if by["failed"] else []
        parts += [f"{_listed(by['suspicious'])} {_want(by['suspicious'])} a look"] if by["suspicious"] else []
        parts += [f"{_listed(broken)} cannot be read"] if broken else []
        skipped = f" {_listed(by['skipped'])} {'was' if len(by['skipped']) == 1 else 'were'} not examined." if by["skipped"] else ""
        if parts:
            return f"On {self.card}: {'; '.join(parts)}.{skipped}"
        return f"This deployment works on {self.card}: all of {len(by['ok'])} examinations ended well.{skipped}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _want(names: Sequence[str]) -> str:
    return "wants" if len(names) == 1 else "want"


def page(report: Report) -> str:
    """The page. Every text of it is escaped, and its policy forbids every request and every script."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    style = Path(__file__).with_suffix(".css").read_text("utf-8")
    sections = "".join(_check(check) for check in report.checks)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Doctor: {report.verdict}</title>
<style>{style}</style>
</head>
<body>
<header><h1>Does this deployment work?</h1></header>
<main>
<p class="verdict {report.verdict}"><b>{_WORDS[report.verdict]}</b><span>{escape(report.sentence)}</span></p>
{_overview(report)}
{sections}
{_models(report.models)}
{_section("This machine", _table(report.facts))}
</main>
</body>
</html>
"""


_WORDS: dict[Verdict, str] = {"ok": "Works", "suspicious": "Look here", "failed": "Failed", "skipped": "Not examined"}


def _badge(verdict: Verdict, word: str = "") -> str:
    return f'<span class="badge {verdict}">{word or _WORDS[verdict]}</span>'


def _anchor(name: str) -> str:
    return escape(name.lower().replace(" ", "-"))


def _section(title: str, body: str, beside: str = "", anchor: str = "") -> str:
    head = f'<div class="head"><h2>{escape(title)}</h2>{beside}</div>'
    return f"<section{f' id={chr(34)}{anchor}{chr(34)}' if anchor else ''}>{head}{body}</section>\n"


def _overview(report: Report) -> str:
    rows = []
    for check in report.checks:
        answer = check.answer
        running = duration_of(sum(answer.seconds.values())) if answer.seconds else "–"
        rows.append(
            f'<tr><th scope="row"><a href="#{_anchor(check.name)}">{escape(check.name)}</a></th><td>{_badge(answer.verdict)}</td>'
            f"<td>{escape(answer.sentence)}</td><td class=n>{duration_of(check.loading) if check.loading else '–'}</td>"
            f"<td class=n>{running}</td><td class=n>{size(check.peak) if check.peak else '–'}</td></tr>"
        )
    note = (
        "Each step was run on the project's own sample picture, in an engine in which it alone is neural, and given the truth of the step "
        "before it: one that fails spoils no other. The whole job at the end ran as a caller's does."
    )
    body = _rows(("Step", "Verdict", "Why"), ("Loading", "Running", "Peak on the card"), rows)
    return _section("Step by step", f'{body}<p class="note">{note}</p>')


def _rows(names: Sequence[str], numbers: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names) + "".join(f"<th class=n>{name}</th>" for name in numbers)
    return f'<div class="wide"><table class="rows"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _check(check: Check) -> str:
    answer = check.answer
    facts = {name: value for name, value in answer.facts.items() if name != "Traceback"}
    figures = "".join(
        f"<div{' class=long' if len(value) > _LONG else ''}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    times = "".join(f"<div><dt>Time: {escape(name)}</dt><dd>{duration_of(s)}</dd></div>" for name, s in answer.seconds.items())
    advice = f' <span class="advice">{escape(check.advice)}</span>' if check.advice and answer.verdict in {"failed", "suspicious"} else ""
    body = f'<p class="why">{escape(answer.sentence)}{advice}</p>'
    if figures or times:
        body += f'<dl class="figures">{times}{figures}</dl>'
    if answer.pictures:
        shown = "".join(_figure(picture) for picture in answer.pictures)
        body += f'<div class="pictures" style="--n:{_columns(len(answer.pictures))}">{shown}</div>'
    if "Traceback" in answer.facts:
        body += f"<details><summary>Traceback</summary><pre>{escape(answer.facts['Traceback'])}</pre></details>"
    return _section(check.name, body, _badge(answer.verdict), _anchor(check.name))


def _columns(pictures: int) -> int:
    """How many stand side by side, so that few stay alone."""
    return pictures if pictures <= 4 else 4 if pictures in {7, 8} else 3


def _figure(picture: Picture) -> str:
    return f'<figure><img alt="{escape(picture.caption)}" src="{_uri(picture)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'


def _uri(picture: Picture) -> str:
    """JPEG for photographs, PNG for masks and flat pictures, at most `_LARGEST` pixels a side; an SVG as it is."""
    if isinstance(picture.pixels, bytes):
        return f"data:image/svg+xml;base64,{base64.b64encode(picture.pixels).decode('ascii')}"
    image = Image.fromarray(picture.pixels)
    if max(image.size) > _LARGEST:
        k = _LARGEST / max(image.size)
        image = image.resize((max(1, round(image.width * k)), max(1, round(image.height * k))), Image.Resampling.BOX)
    buffer, flat = io.BytesIO(), image.mode != "RGB" or image.getcolors(256) is not None
    if flat:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=88)
    return f"data:image/{'png' if flat else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def duration_of(seconds: float) -> str:
    """Seconds as a person reads them, short ones in milliseconds."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 90 else duration(seconds)


def _models(rows: Sequence[ModelRow]) -> str:
    made = []
    for row in rows:
        told = escape(row.error) if row.error else f"<code>{escape(row.revision[:12])}</code>"
        seconds = "–" if row.seconds is None else duration_of(row.seconds)
        made.append(
            f'<tr><th scope="row">{escape(row.name)}</th><td>{_badge("failed") if row.error else _badge("ok", "Read")}</td><td>{told}</td>'
            f"<td>{escape(row.dtype)}</td><td class=n>{size(row.bytes) if row.bytes else '–'}</td><td class=n>{seconds}</td></tr>"
        )
    return _section("Models", _rows(("Model", "Verdict", "Revision", "Precision"), ("Weights", "Read in"), made))


def _table(facts: dict[str, str]) -> str:
    return "<table>" + "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()) + "</table>"
