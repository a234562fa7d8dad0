"""Plans and states as tables and as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from builder.plan import Row, seconds
from builder.tell import duration, size

_STYLES = {
    "complete": "green",
    "missing": "red",
    "incomplete": "red",
    "changed": "yellow",
    "other source": "yellow",
    "unrecorded": "yellow",
}


def plan_as_data(volume: Path, rows: Sequence[Row], mbps: float) -> dict[str, Any]:
    """The plan as `plan --json` prints it; bytes and seconds."""
    known = sum(row.to_fetch or 0 for row in rows)
    return {
        "volume": str(volume),
        "complete": not any(_to_do(row) for row in rows),
        "bytes_to_fetch": known,
        "estimated": any(row.estimated for row in rows),
        "unknown_sizes": [row.name for row in rows if row.to_fetch is None],
        "mbps": mbps,
        "seconds": round(seconds(known, mbps), 1),
        "loose": [row.name for row in rows if row.revision is None and row.to_fetch != 0],
        "models": [asdict(row) | {"lacking": dict(row.lacking)} for row in rows],
    }


def _to_do(row: Row) -> bool:
    return row.state != "complete" and row.to_fetch != 0


def plan_as_table(console: Console, volume: Path, rows: Sequence[Row], mbps: float) -> None:
    """The plan for a person."""
    table = Table("model", "state", "to fetch", "revision", "what", title=f"{volume}", title_justify="left", box=None, pad_edge=False)
    for row in rows:
        count = "" if row.to_fetch == 0 else ("about " if row.estimated and row.to_fetch else "") + size(row.to_fetch)
        table.add_row(
            row.name,
            f"[{_STYLES[row.state]}]{row.state}[/]",
            count,
            (row.revision or "loose")[:8],
            "; ".join(filter(None, (_lacking(row), row.note))),
        )
    console.print(table)
    data = plan_as_data(volume, rows, mbps)
    if data["complete"]:
        console.print("Nothing is to be fetched.")
        return
    unknown = f" and {', '.join(data['unknown_sizes'])} of unknown size" if data["unknown_sizes"] else ""
    about = "about " if data["estimated"] else ""
    console.print(
        f"To fetch: {about}{size(data['bytes_to_fetch'])}{unknown}; {duration(data['seconds'])} at {mbps:g} Mbit/s.", highlight=False
    )
    if data["loose"]:
        told = "no revision is held yet; the first fetch takes the present one and records it in models.lock.json."
        console.print(f"Loose: {', '.join(data['loose'])}: {told}", highlight=False)
    if data["estimated"]:
        console.print("Where no fetch has asked the source yet, sizes are estimated from the networks' parameters.", highlight=False)


def _lacking(row: Row) -> str:
    kinds: dict[str, list[str]] = {}
    for file, what in row.lacking.items():
        kinds.setdefault(what, []).append(file)
    if row.state in {"missing", "other source"}:
        return "" if row.state == "missing" else next(iter(kinds))
    return "; ".join(f"{', '.join(files)} {what}" for what, files in kinds.items())


def status_as_table(console: Console, status: Mapping[str, Any]) -> None:
    """A volume's status for a person."""
    table = Table("model", "state", "size", "revision", "licence", "commercial", title=status["volume"], title_justify="left", box=None)
    for name, row in status["models"].items():
        state = row["state"] if row["needed"] or row["state"] != "complete" else "complete, not needed"
        revision = (row["revision"] or "")[:16]
        table.add_row(name, state, size(row["bytes"]), revision, row["licence"] or "?", row["commercial"] or "?")
    console.print(table)
    triggers = {name: "no trigger known" if words is None else words or "no trigger needed" for name, words in status["triggers"].items()}
    told = ", ".join(f"{name} ({words})" for name, words in triggers.items()) or "none"
    console.print(f"style: {told}", highlight=False, markup=False)
    console.print(f"prompt's embeddings: {'there' if status['prompts'] else 'missing'}", highlight=False)
    console.print(f"in all: {size(status['bytes'])}, downloads: {size(status['downloads'])}", highlight=False)
    if status["builder"]:
        console.print(f"at work: {status['builder']}", highlight=False)
    console.print("ready to serve" if status["ready"] else "not ready to serve: python -m builder plan says what is missing")
