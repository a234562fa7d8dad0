"""A builder killed before each of its changes to the volume: the lock file never vouches for what is not there, a rerun finishes."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.place import records_of, take_away
from builder.sources import path_at_source
from builder.workspace import Workspace, only_builder
from model_cache.manifest import suspects
from tests.builder.small import BIG, CATALOGUE, NETS, SMALL, Fetcher, make_hub
from tests.support.hub_server import serving

CHANGES = [(Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (shutil, "rmtree")]


class Killed(BaseException):
    """The process is gone: nothing that it would have done afterwards happens."""


@contextmanager
def killed_before(change: int) -> Iterator[list[str]]:
    """Every change to the file system from number `change` on raises; the list says which were made."""
    made: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(made) >= change:
                raise Killed
            made.append(f"{name} {args[0]}")
            return real(*args, **kwargs)

        return act

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CHANGES:
            patch.setattr(owner, name, watched(name, getattr(owner, name)))
        yield made


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def assert_truthful(volume: Path) -> None:
    """What the lock file vouches for by size and time stamp has the recorded content."""
    for name, record in records_of(volume).items():
        if not suspects(volume, name, record):
            for file, known in record.files.items():
                assert hashlib.sha256((volume / "models" / name / file).read_bytes()).hexdigest() == known.sha256


def complete(fetcher: Fetcher) -> dict[str, int]:
    """Files at the hub that are here as a whole, and so need not come again → their size."""
    found = {}
    for name, model in CATALOGUE.items():
        for file in model.files:
            path, here = path_at_source(model, file), Workspace(fetcher.volume)
            if name in records_of(fetcher.volume) or (here.downloads(name) / path).exists() or here.staged_record(name).exists():
                content = fetcher.hub.repositories[f"org/{name}"][fetcher.hub.heads[f"org/{name}"]][path]
                found[f"org/{name}/{path}"] = len(content)
    return found


def kill_everywhere(prepare: Callable[[], None], work: Callable[[], None], check: Callable[[], None]) -> int:
    """Do the work, killed before its change 0, then 1, … of a fresh start each time, until it ends; how many changes there were."""
    for change in range(1000):
        prepare()
        with killed_before(change) as made:
            try:
                work()
            except Killed:
                pass
            else:
                return len(made)
        check()
    raise AssertionError("it never ends")


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator[Fetcher]:
    with serving(make_hub()) as hub:
        yield Fetcher(tmp_path / "volume", hub)


def test_a_killed_first_fetch(fetcher: Fetcher) -> None:
    def prepare() -> None:
        shutil.rmtree(fetcher.volume, ignore_errors=True)
        fetcher.hub.sent.clear()

    def check() -> None:
        assert_truthful(fetcher.volume)
        whole = complete(fetcher)
        fetcher.fetch(jobs=1)
        assert {file: fetcher.hub.bytes_of(file) for file in whole} == whole
        assert fetcher.file("net", "model.safetensors").read_bytes() == BIG
        assert fetcher.file("other", "a.safetensors").read_bytes() == BIG[::-1]
        assert set(records_of(fetcher.volume)) == {"net", "other"}
        assert_truthful(fetcher.volume)
        assert not any((fetcher.volume / ".builder" / corner / name).exists() for corner in ("staged", "old") for name in CATALOGUE)

    assert kill_everywhere(prepare, lambda: fetcher.fetch(jobs=1), check) > 20


def test_a_killed_update_leaves_the_old_model_or_the_new_one(fetcher: Fetcher, tmp_path: Path) -> None:
    hub, new = fetcher.hub, b'{"a": 3}'
    Fetcher(tmp_path / "seed", hub).fetch("net")
    hub.commit("org/net", NETS | {"config.json": new})

    def prepare() -> None:
        shutil.rmtree(fetcher.volume, ignore_errors=True)
        shutil.copytree(tmp_path / "seed", fetcher.volume)
        hub.sent.clear()

    def update() -> None:
        fetcher.fetch("net", update=frozenset({"net"}), jobs=1)

    def check() -> None:
        assert_truthful(fetcher.volume)
        config = fetcher.file("net", "config.json")
        assert not config.exists() or config.read_bytes() in {SMALL, new}
        whole = (Workspace(fetcher.volume).downloads("net") / "config.json").exists()
        update()
        assert config.read_bytes() == new
        assert_truthful(fetcher.volume)
        assert not whole or hub.bytes_of("org/net/config.json") == len(new)

    assert kill_everywhere(prepare, update, check) > 10


def test_a_killed_removal_is_finished(fetcher: Fetcher, tmp_path: Path) -> None:
    Fetcher(tmp_path / "seed", fetcher.hub).fetch()
    revision = records_of(tmp_path / "seed")["net"].revision

    def prepare() -> None:
        shutil.rmtree(fetcher.volume, ignore_errors=True)
        shutil.copytree(tmp_path / "seed", fetcher.volume)

    def check() -> None:
        assert_truthful(fetcher.volume)
        with only_builder(fetcher.volume) as workspace:
            take_away(workspace, "net")
        assert set(records_of(fetcher.volume)) == {"other"}
        assert not (fetcher.volume / "models" / "net").exists()
        fetcher.fetch()
        assert records_of(fetcher.volume)["net"].revision == revision

    assert kill_everywhere(prepare, lambda: take_away(Workspace(fetcher.volume), "net"), check) > 3


def test_a_lock_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "models.lock.json").write_text("[]")
    with pytest.raises(BuilderError, match=r"models.lock.json cannot be used: it is no lock file"):
        records_of(tmp_path)
