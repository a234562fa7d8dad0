"""What the folder of the embedded networks holds, as data: for `plan`, `verify` and `status`. Changes nothing, asks no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from builder.networks.throwaway import is_installed
from builder.plan import seconds
from builder.tell import duration, size
from builder.workspace import at_work
from model_cache import embedded
from model_cache.embedded import FETCH, Form, Network
from model_cache.errors import BrokenModel

State = Literal["complete", "missing", "wrong"]
#: Wheels that write ONNX (builder/networks/requirements-onnx.txt), bytes on the way; they come at most once a set-up.
_WRITING = 26_600_000


@dataclass(frozen=True, slots=True)
class Row:
    """One network: `form` where it is there, `what` is wrong where something is, as part of a sentence."""

    network: Network
    state: State
    form: Form | None
    bytes: int
    what: str = ""


def rows_of(folder: Path, deep: bool) -> list[Row]:
    """A row for each network. `deep`: hash every file; else one with the recorded size and time stamp is what was recorded."""
    known, rows = embedded.stamps(folder), list[Row]()
    for name, network in embedded.networks().items():
        path = embedded.path_of(folder, network)
        try:
            found = embedded.find(folder, network, None if deep else known.get(name))
        except BrokenModel as error:
            rows.append(Row(network, "wrong", None, 0, error.reason))
            continue
        if found is None:
            rows.append(Row(network, "missing", None, 0, f"{network.file} is missing"))
        else:
            form = next(form for form in network.forms if form.sha256 == found.sha256)
            rows.append(Row(network, "complete", form, path.stat().st_size))
    return rows


def plan(folder: Path, mbps: float) -> dict[str, Any]:
    """What a fetch would bring, as `plan --embedded --json` prints it; bytes and seconds."""
    rows = rows_of(folder, deep=False)
    lacking = [row for row in rows if row.state != "complete"]
    count = {row.network.name: _bytes_to_fetch(row.network) for row in lacking}
    total = sum(count.values()) + (_WRITING if lacking else 0)
    return {
        "folder": str(folder),
        "complete": not lacking,
        "bytes_to_fetch": total,
        "mbps": mbps,
        "seconds": round(seconds(total, mbps), 1),
        "networks": [
            {
                "name": row.network.name,
                "state": row.state,
                "what": row.what,
                "bytes_to_fetch": count.get(row.network.name, 0),
                "source": row.network.forms[0].source.shown,
            }
            for row in rows
        ],
    }


def _bytes_to_fetch(network: Network) -> int:
    """Bytes that the first source of a network sends; none for a wheel that is installed."""
    source = network.forms[0].source
    name, _, wanted = (source.wheel or "").partition("==")
    if name and is_installed(name, wanted):
        return 0
    return source.transferred or source.bytes or 0


def status(folder: Path) -> dict[str, Any]:
    """What is there, as `status --embedded --json` prints it. `ready`: every network is there, with known bytes."""
    rows = rows_of(folder, deep=False)
    return {
        "folder": str(folder),
        "ready": all(row.state == "complete" for row in rows),
        "builder": at_work(folder),
        "bytes": sum(row.bytes for row in rows),
        "networks": {
            row.network.name: {
                "state": row.state,
                "what": row.what,
                "bytes": row.bytes,
                "sha256": row.form.sha256 if row.form else None,
                "source": row.form.source.shown if row.form else None,
                "licence": row.network.licence,
                "terms": row.network.terms,
                "commercial": row.network.commercial,
            }
            for row in rows
        },
    }


def plan_as_table(console: Console, data: Mapping[str, Any]) -> None:
    """`plan` for a person."""
    table = Table("network", "state", "to fetch", "first source", title=data["folder"], title_justify="left", box=None, pad_edge=False)
    for row in data["networks"]:
        count = size(row["bytes_to_fetch"]) if row["bytes_to_fetch"] else ""
        table.add_row(row["name"], row["state"], count, "" if row["state"] == "complete" else row["source"])
    console.print(table)
    if data["complete"]:
        console.print("Nothing is to be fetched.")
    else:
        count, time = size(data["bytes_to_fetch"]), duration(data["seconds"])
        console.print(f"To fetch: {count}, with what writes ONNX; {time} at {data['mbps']:g} Mbit/s: {FETCH}", highlight=False)


def status_as_table(console: Console, data: Mapping[str, Any]) -> None:
    """`status` for a person."""
    table = Table("network", "state", "size", "sha256", "licence", "commercial", title=data["folder"], title_justify="left", box=None)
    for name, row in data["networks"].items():
        table.add_row(name, row["state"], size(row["bytes"]), (row["sha256"] or "")[:16], row["licence"], row["commercial"])
    console.print(table)
    for name, row in data["networks"].items():
        console.print(f"{name}: {row['what'] or row['terms']}", highlight=False)
    if data["builder"]:
        console.print(f"at work: {data['builder']}", highlight=False)
    console.print("ready to serve" if data["ready"] else f"not ready to serve: {FETCH}", highlight=False)
