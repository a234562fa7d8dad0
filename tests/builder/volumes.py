"""A tiny volume that the builder recorded."""

from pathlib import Path

from builder.sources import source_of
from model_cache.catalogue import load_catalogue
from model_cache.manifest import ModelRecord, record_of, write_lock

CATALOGUE = load_catalogue()


def recorded(volume: Path) -> Path:
    """Write the lock file of what is there, and return the volume."""
    records = {}
    for path in sorted((volume / "models").iterdir()):
        model = CATALOGUE[path.name]
        extra = [p for p in path.rglob("*") if p.is_file() and p.relative_to(path).as_posix() not in model.files]
        for file in extra:  # what the libraries write beside it
            file.unlink()
        files = {file: record_of(path / file) for file in model.files}
        records[path.name] = ModelRecord(
            source=source_of(model), revision=(model.source.revision or "").ljust(40, "0"), sources={}, files=files
        )
    write_lock(volume, records)
    return volume
