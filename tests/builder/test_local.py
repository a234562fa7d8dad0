"""Importing from a folder in place of the network."""

import os
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.place import records_of
from tests.builder.small import BIG, NETS, SMALL, Fetcher
from tests.support.hub_server import Hub

COMMITS = ("1" * 40, "2" * 40)


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    """Without a hub: any question to the network fails."""
    return Fetcher(tmp_path / "volume", Hub(port=1))


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def cache(folder: Path, commit: str, files: dict[str, bytes]) -> Path:
    """A hub cache as huggingface_hub lays it: snapshots of links into blobs."""
    home = folder / "hub" / "models--org--net"
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir(exist_ok=True)
    for name, content in files.items():
        blob = home / "blobs" / f"{commit[:4]}{name}"
        blob.write_bytes(content)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return home


@pytest.mark.parametrize("layout", ["net", "org--net"])
def test_plain_folders(fetcher: Fetcher, tmp_path: Path, layout: str) -> None:
    folder = lay(tmp_path / "from" / layout, NETS).parent
    fetcher.fetch("net", folder=folder)
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG
    record = records_of(fetcher.volume)["net"]
    assert record.revision.startswith("content-")
    assert record.source == "org/net"
    fetcher.fetch("net", folder=folder)
    assert fetcher.said[-1] == "net: complete"


def test_files_are_linked_while_they_wait(fetcher: Fetcher, tmp_path: Path) -> None:
    folder = lay(tmp_path / "from" / "net", NETS).parent
    fetcher.fetch("net", folder=folder, keep_downloads=True)
    kept = fetcher.volume / ".builder" / "downloads" / "net" / "model.safetensors"
    assert kept.samefile(folder / "net" / "model.safetensors")


def test_without_links_files_are_copied(fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("builder.local.os.link", no_link)
    folder = lay(tmp_path / "from" / "net", NETS).parent
    fetcher.fetch("net", folder=folder)
    assert fetcher.file("net", "config.json").read_bytes() == SMALL


def test_a_hub_cache_tells_the_commit(fetcher: Fetcher, tmp_path: Path) -> None:
    home = cache(tmp_path / "cache", COMMITS[0], NETS)
    cache(tmp_path / "cache", COMMITS[1], NETS | {"config.json": b"{}"})
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMITS[1])
    fetcher.fetch("net", folder=tmp_path / "cache")
    assert records_of(fetcher.volume)["net"].revision == COMMITS[1]
    # held from then on, whatever main is now
    (home / "refs" / "main").write_text(COMMITS[0])
    fetcher.file("net", "config.json").unlink()
    fetcher.fetch("net", folder=tmp_path / "cache" / "hub")
    assert fetcher.file("net", "config.json").read_bytes() == b"{}"


def test_other_content_than_the_held_is_refused(fetcher: Fetcher, tmp_path: Path) -> None:
    fetcher.fetch("net", folder=lay(tmp_path / "from" / "net", NETS).parent)
    other = lay(tmp_path / "other" / "net", NETS | {"config.json": b"{}"}).parent
    fetcher.file("net", "config.json").unlink()
    fetcher.file("net", "model.safetensors").unlink()
    with pytest.raises(BuilderError, match=r"is not what is held of net: 2 bytes instead of 8\. --update net takes it all the same"):
        fetcher.fetch("net", folder=other)
    fetcher.fetch("net", folder=other, update=frozenset({"net"}))
    assert fetcher.file("net", "config.json").read_bytes() == b"{}"


def test_a_second_folder_is_not_mixed_with_the_first(fetcher: Fetcher, tmp_path: Path) -> None:
    def failing(*_: object) -> str:
        raise BuilderError("No.")

    with pytest.raises(BuilderError, match="No"):
        fetcher.fetch("net", folder=lay(tmp_path / "first" / "net", NETS).parent, convert=failing)
    second = lay(tmp_path / "second" / "net", NETS | {"config.json": SMALL[::-1]}).parent
    fetcher.fetch("net", folder=second)
    assert fetcher.file("net", "config.json").read_bytes() == SMALL[::-1]


def test_what_is_missing_is_named(fetcher: Fetcher, tmp_path: Path) -> None:
    folder = lay(tmp_path / "from" / "net", {"config.json": SMALL}).parent
    with pytest.raises(BuilderError) as refusal:
        fetcher.fetch(folder=folder)
    assert f"net: net is not in {folder}: {folder / 'net'} lacks model.safetensors." in refusal.value.sentence
    assert f"other: other is not in {folder}: there is no folder other and no copy of org/other." in refusal.value.sentence
