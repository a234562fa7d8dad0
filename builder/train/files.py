"""Files that are whole or not there."""

import os
from pathlib import Path

from builder.errors import writing


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file at once, on the disk before it is visible. Raises `BuilderError`."""
    part = path.with_name(f".{path.name}.part")
    with writing(path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
