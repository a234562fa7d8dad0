"""Local delivery: all or nothing, and what was there stays."""

import os
import resource
import signal
import urllib.request
from pathlib import Path

import pytest

from delivery import Artifact, deliver_local, local_urls
from pipeline.errors import Code, JobError

FILES = [Artifact.of("result.json", b"{}"), Artifact.of("illustration.svg", b"<svg/>"), Artifact.of("preview.png", b"png")]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below `folder`, hidden ones too, with its bytes (None for a folder)."""
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in sorted(folder.rglob("*"))}


def fails_after(calls: int):
    left = [calls]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise JobError(Code.CANCELLED, "The job was cancelled.")

    return check


def test_writes_exactly_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "orders" / "a b#ü"
    deliver_local(FILES, folder)
    assert tree(tmp_path) == {"orders": None, "orders/a b#ü": None} | {f"orders/a b#ü/{a.name}": a.data for a in FILES}
    with urllib.request.urlopen(local_urls(["illustration.svg"], folder)["illustration.svg"]) as answer:
        assert answer.read() == b"<svg/>"


def test_relative_folder_gives_an_absolute_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_urls(["preview.png"], Path("out"))["preview.png"] == (tmp_path / "out" / "preview.png").as_uri()


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"mine")
    (tmp_path / "illustration.svg").write_bytes(b"old")
    deliver_local(FILES, tmp_path)
    assert tree(tmp_path) == {"notes.txt": b"mine"} | {a.name: a.data for a in FILES}


@pytest.mark.parametrize("calls", range(6))  # two checks a file: before it is written and before it is renamed
def test_any_interruption_restores_what_was_there(tmp_path: Path, calls: int) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "illustration.svg").write_bytes(b"old")
    (tmp_path / "old" / "notes.txt").write_bytes(b"mine")
    before, inode = tree(tmp_path), (tmp_path / "old" / "notes.txt").stat().st_ino
    for folder in (tmp_path / "old", tmp_path / "new" / "deep"):
        with pytest.raises(JobError, match="CANCELLED"):
            deliver_local(FILES, folder, check=fails_after(calls))
        assert tree(tmp_path) == before
    assert (tmp_path / "old" / "notes.txt").stat().st_ino == inode


def test_a_name_that_cannot_be_replaced_undoes_the_others(tmp_path: Path) -> None:
    (tmp_path / "preview.png").mkdir()
    (tmp_path / "preview.png" / "inside.txt").write_bytes(b"x")
    (tmp_path / "illustration.svg").write_bytes(b"old")
    before = tree(tmp_path)
    with pytest.raises(JobError, match="DELIVERY_FAILED: The files could not be written locally: Is a directory") as failed:
        deliver_local(FILES, tmp_path)
    assert str(tmp_path) not in str(failed.value)
    assert tree(tmp_path) == before


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"x")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "deeper"):
        with pytest.raises(JobError, match="DELIVERY_FAILED"):
            deliver_local(FILES, folder)
    assert tree(tmp_path) == {"taken": b"x"}


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the real write fail as a full disk does (in a child, because the limit is the process's)."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            deliver_local([*FILES, Artifact.of("labels.png", b"x" * 1000)], tmp_path / "new")
        except JobError as error:
            status = 0 if error.code is Code.DELIVERY_FAILED else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tree(tmp_path) == {}


def test_a_symbolic_link_is_replaced_and_restored_as_a_link(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.svg"
    target.write_bytes(b"the user's")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "illustration.svg").symlink_to(target)
    with pytest.raises(JobError):
        deliver_local(FILES, folder, check=fails_after(5))
    assert (folder / "illustration.svg").readlink() == target
    deliver_local(FILES, folder)
    assert not (folder / "illustration.svg").is_symlink() and target.read_bytes() == b"the user's"


def test_a_late_file_is_made_when_the_others_are_in_place(tmp_path: Path) -> None:
    seen: list[dict[str, bytes | None]] = []

    def make() -> bytes:
        seen.append({name: data for name, data in tree(tmp_path).items() if not name.startswith(".")})
        return b"late"

    deliver_local([Artifact.late("result.json", make), *FILES[1:]], tmp_path)
    assert seen == [{a.name: a.data for a in FILES[1:]}]
    assert tree(tmp_path)["result.json"] == b"late"
    with pytest.raises(ValueError, match=r"only result\.json"):
        deliver_local([Artifact.late("preview.png", make)], tmp_path)


def test_a_late_file_that_cannot_be_made_undoes_the_others(tmp_path: Path) -> None:
    def make() -> bytes:
        raise JobError(Code.CANCELLED, "The job was cancelled.")

    with pytest.raises(JobError, match="CANCELLED"):
        deliver_local([Artifact.late("result.json", make), *FILES[1:]], tmp_path / "new")
    assert tree(tmp_path) == {}
