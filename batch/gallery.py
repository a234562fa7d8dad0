"""`gallery.html`: one page that opens from disk and shows every picture before and after."""

import base64
import hashlib
import json
import os
import re
from html import escape
from importlib.resources import files as package_files
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from batch.collect import AFTER, BEFORE, FILES
from batch.ledger import Row

#: Photos of these names a browser can show itself.
_BROWSERS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp"})


class Gallery:
    """The page while it is written: its head, a line of data for each row, its end."""

    def __init__(self, file: IO[bytes], folder: Path, title: str) -> None:
        head, self._end = _page(title)
        self._file, self._folder = file, folder
        self._between = b""
        file.write(head.encode())

    def add(self, row: Row, told: dict[str, Any]) -> None:
        """One picture. Absent keys are null, to keep ten thousand rows small."""
        result = told["result"] or {}
        data = {
            "id": row.id,
            "before": self._before(row, told),
            "after": self._after(row),
            "png": _href(told["files"].get("png")),
            "svg": _href(told["files"].get("svg")),
            "report": _href(told["files"].get("report")),
            "rect": row.shown.get("rect"),
            "iou": told["iou"],
            "warnings": result.get("warnings") or None,
            "error": told["error"],
            "same": told.get("same_as"),
            "seconds": told["seconds"] or None,
        }
        line = json.dumps({key: value for key, value in data.items() if value is not None}, ensure_ascii=True, separators=(",", ":"))
        self._file.write(self._between + line.replace("<", "\\u003c").encode())
        self._between = b",\n"

    def close(self) -> None:
        """Write the page's end."""
        self._file.write(self._end.encode())

    def _before(self, row: Row, told: dict[str, Any]) -> str | None:
        """The photo: our small picture of it, else itself where a browser can show it and its address is no secret."""
        if row.placed and BEFORE in row.shown.get("files", []):
            return _href(f"{FILES}/{row.id}/{BEFORE}")
        if row.photo is not None and row.photo.suffix.lower() in _BROWSERS:
            return _href(os.path.relpath(row.photo, self._folder))
        source = str(told["source"])
        return source if source.startswith(("http://", "https://")) else None

    @staticmethod
    def _after(row: Row) -> str | None:
        names = row.shown.get("files", []) if row.placed else []
        name = next((each for each in (AFTER, "preview.png", "illustration.svg") if each in names), None)
        return None if name is None else _href(f"{FILES}/{row.id}/{name}")


def _href(path: str | None) -> str | None:
    """A relative path as an address."""
    return None if path is None else quote(os.fsencode(path))


def _page(title: str) -> tuple[str, str]:
    """The page before and after the rows. Its policy allows no script but its own, and no request but for pictures."""
    here, viewer = package_files("batch") / "page", package_files("pipeline.outputs") / "viewer"
    script = (here / "gallery.js").read_text("utf-8")
    parts = {
        "{{title}}": escape(title),
        "{{style}}": (viewer / "viewer.css").read_text("utf-8") + (here / "gallery.css").read_text("utf-8"),
        "{{script}}": script,
        "{{digest}}": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    page = re.sub(r"\{\{(title|style|script|digest)\}\}", lambda found: parts[found[0]], (here / "gallery.html").read_text("utf-8"))
    head, _, end = page.partition("{{rows}}")
    return head, end
