"""What a volume is said to hold, and what is removed from it."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from builder.choose import Choice
from builder.errors import BuilderError
from builder.prune import prune, spare
from builder.shown import status_as_table
from builder.status import status_of
from builder.workspace import Workspace, at_work, only_builder
from model_cache.manifest import read_lock
from tests.builder.small import BIG, CATALOGUE
from tests.builder.test_plan import PROMPT, install


def choice(volume: Path, *names: str) -> Choice:
    return Choice(volume, CATALOGUE, names, False, PROMPT)


def test_a_volume_is_told_as_data(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "flat.safetensors").write_bytes(b"1234")
    it = status_of(choice(tmp_path, "net"))
    assert it["ready"]
    net = it["models"]["net"]
    assert (net["state"], net["revision"], net["licence"], net["commercial"]) == ("complete", "0" * 40, "MIT", "yes")
    assert it["bytes"] == net["bytes"] == len(BIG) + 8
    assert it["styles"] == {"flat.safetensors": 4}
    assert (it["prompts"], it["builder"]) == (False, None)
    json.dumps(it)
    assert not status_of(choice(tmp_path, "net", "other"))["ready"]
    assert not status_of(choice(tmp_path, "other"))["models"]["net"]["needed"]
    console = Console(record=True, width=160)
    status_as_table(console, it)
    assert "ready to serve" in console.export_text()


def test_a_model_that_the_catalogue_lost_is_shown(tmp_path: Path) -> None:
    install(tmp_path, name="gone")
    assert status_of(choice(tmp_path))["models"]["gone"]["state"] == "not in the catalogue"


def test_the_builder_at_work_is_named(tmp_path: Path) -> None:
    assert at_work(tmp_path) is None
    with only_builder(tmp_path):
        told = at_work(tmp_path)
        assert told is not None
        assert told.startswith("process ")
        with pytest.raises(BuilderError, match="Another builder is at work"), only_builder(tmp_path):
            pass
    assert at_work(tmp_path) is None


def test_prune_lists_and_removes_what_is_not_needed(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "models" / "stray").mkdir()
    (tmp_path / "models" / "stray" / "x").write_bytes(b"123")
    workspace = Workspace(tmp_path)
    workspace.downloads("net").mkdir(parents=True)
    (workspace.downloads("net") / "a.part").write_bytes(b"12345")
    assert {it.shown: it.size for it in spare(tmp_path, ["net"])} == {"models/stray": 3, ".builder/downloads/net": 5}
    with only_builder(tmp_path) as held:
        prune(held, spare(tmp_path, ["net"]))
    assert spare(tmp_path, ["net"]) == []
    assert status_of(choice(tmp_path, "net"))["ready"]
    with only_builder(tmp_path) as held:
        prune(held, spare(tmp_path, []))
    assert read_lock(tmp_path) == {}
    assert list((tmp_path / "models").iterdir()) == []
    assert workspace.pin("net").is_file()
