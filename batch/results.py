"""What a batch leaves for others: `results.jsonl`, `results.csv` and `gallery.html`, each written whole or not at all."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batch.collect import AFTER, BEFORE, FILES
from batch.gallery import Gallery
from batch.ledger import Ledger, Row

#: What a file is called in the results.
_KINDS = {"illustration.svg": "svg", "preview.png": "png", "report.html": "report", "illustration.pdf": "pdf"}
_COLUMNS = (
    "id", "source", "status", "error", "warnings", "engine", "iou", "matte_confidence", "colors_used", "svg", "png", "report", "pdf",
    "same_as", "tries", "seconds", "cost",
)  # fmt: skip


def write(folder: Path, ledger: Ledger, title: str) -> None:
    """Write all three from the ledger, a row at a time."""
    names = ("results.jsonl", "results.csv", "gallery.html")
    # Half a character may stand in an answer: errors="replace".
    lines_at, table_at, page_at = (folder / f".{name}.new" for name in names)
    with (
        lines_at.open("w", encoding="utf-8", errors="replace") as lines,
        table_at.open("w", encoding="utf-8", errors="replace", newline="") as table,
        page_at.open("wb") as page,
    ):
        cells = csv.DictWriter(table, _COLUMNS)
        cells.writeheader()
        gallery = Gallery(page, folder, title)
        for row in ledger.rows():
            told = told_of(row)
            lines.write(json.dumps(told, ensure_ascii=False) + "\n")
            cells.writerow(_cells(told))
            gallery.add(row, told)
        gallery.close()
    for made, name in zip((lines_at, table_at, page_at), names, strict=True):
        made.replace(folder / name)


def told_of(row: Row) -> dict[str, Any]:
    """A line of `results.jsonl`. Files are named relative to the folder; a picture that stands there twice cost once."""
    completed = row.state == "completed"
    told: dict[str, Any] = {
        "id": row.id,
        "source": row.origin,
        "status": "completed" if completed else "failed",
        "error": None if completed else row.error,
        "files": _files(row),
        "tries": row.tries,
        "seconds": round(row.seconds, 3) if row.first == row.id else 0.0,
        "cost": round(row.cost, 6) if row.first == row.id else 0.0,
        "iou": quality_of(row.result or {}).get("iou") if completed else None,
        "result": row.result if completed else None,
    }
    return told | ({"same_as": row.first} if row.first != row.id else {})


def _files(row: Row) -> dict[str, str]:
    if row.state != "completed" or not row.placed:
        return {}
    names = [name for name in row.shown.get("files", []) if name not in (BEFORE, AFTER, "result.json")]
    return {_KINDS.get(name, name.rpartition(".")[0]): f"{FILES}/{row.id}/{name}" for name in names}


def _cells(told: dict[str, Any]) -> dict[str, Any]:
    result = told["result"] or {}
    quality = quality_of(result)
    cells = {
        **{key: told.get(key) for key in ("id", "source", "status", "error", "same_as", "tries", "seconds", "cost")},
        **{kind: told["files"].get(kind) for kind in ("svg", "png", "report", "pdf")},
        **{key: quality.get(key) for key in ("iou", "matte_confidence", "colors_used")},
        "engine": result.get("engine"),
        "warnings": " ".join(codes(result)),
    }
    return {key: _plain(value) for key, value in cells.items()}


def codes(result: dict[str, Any]) -> Iterator[str]:
    """The codes of a result's warnings, each once."""
    warnings = result.get("warnings")
    return iter(dict.fromkeys(str(each).partition(":")[0][:60] for each in warnings) if isinstance(warnings, list) else ())


def quality_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was measured; empty where a result does not say."""
    quality = result.get("quality")
    return quality if isinstance(quality, Mapping) else {}


def _plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
