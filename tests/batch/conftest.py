"""Batches against a stand-in endpoint, called in this process."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from batch import command, dispatch
from tests.support.instant_plane import KEY, InstantPlane


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """The command sets up the log of its process, which is the tests' own here."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[InstantPlane]:
    """An endpoint whose jobs are done at once; the environment names it."""
    with InstantPlane() as made:
        monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", made.base)
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        monkeypatch.setattr(dispatch, "_AGAIN", 0.05)
        yield made


@dataclass
class Ended:
    status: int
    out: str
    err: str
    folder: Path

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Id → its line of the results; each stands there once."""
        lines = [json.loads(line) for line in (self.folder / "results.jsonl").read_text().splitlines()]
        rows = {line["id"]: line for line in lines}
        assert len(rows) == len(lines)
        return rows


@pytest.fixture
def batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`python -m batch SOURCE -o out --endpoint e …`."""

    def run(source: Path | str, *more: str, endpoint: str = "e", folder: Path | None = None) -> Ended:
        where = folder or tmp_path / "out"
        status = command.main([str(source), "-o", str(where), "--endpoint", endpoint, *more])
        told = capsys.readouterr()
        return Ended(status, told.out, told.err, where)

    return run


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """A JSON-lines manifest of the given lines, or of so many pictures."""

    def write(*lines: dict[str, Any], count: int = 0) -> Path:
        path = tmp_path / "cars.jsonl"
        given = lines or [{"id": f"car-{n}", "image_url": f"https://example.com/{n}.jpg"} for n in range(count)]
        path.write_text("".join(json.dumps(line) + "\n" for line in given))
        return path

    return write
