"""The doctor's page: one HTML file that shows what was examined, for a browser without network. No torch, no network, no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from builder.doctor_sample import Answer, Verdict
from builder.page import columns, document, facts_table, figure, rows_table, section
from builder.tell import duration, size

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
    """The page."""
    verdict = f'<p class="verdict {report.verdict}"><b>{_WORDS[report.verdict]}</b><span>{escape(report.sentence)}</span></p>'
    parts = (_overview(report), *(_check(check) for check in report.checks), _models(report.models))
    body = "".join((verdict, *parts, section("This machine", facts_table(report.facts))))
    return document(f"Doctor: {report.verdict}", "Does this deployment work?", body)


_WORDS: dict[Verdict, str] = {"ok": "Works", "suspicious": "Look here", "failed": "Failed", "skipped": "Not examined"}


def _badge(verdict: Verdict, word: str = "") -> str:
    return f'<span class="badge {verdict}">{word or _WORDS[verdict]}</span>'


def _anchor(name: str) -> str:
    return escape(name.lower().replace(" ", "-"))


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
    body = rows_table(("Step", "Verdict", "Why"), ("Loading", "Running", "Peak on the card"), rows)
    return section("Step by step", f'{body}<p class="note">{note}</p>')


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
        shown = "".join(figure(picture) for picture in answer.pictures)
        body += f'<div class="pictures" style="--n:{columns(len(answer.pictures))}">{shown}</div>'
    if "Traceback" in answer.facts:
        body += f"<details><summary>Traceback</summary><pre>{escape(answer.facts['Traceback'])}</pre></details>"
    return section(check.name, body, _badge(answer.verdict), _anchor(check.name))


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
    return section("Models", rows_table(("Model", "Verdict", "Revision", "Precision"), ("Weights", "Read in"), made))
