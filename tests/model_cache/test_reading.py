"""Reading ahead: in order, several blocks at once, a failure by its group, no thread left."""

import os
import threading
from pathlib import Path

import pytest

from model_cache import reading
from model_cache.reading import ReadAhead, Stopped, pread


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Path]]:
    """Groups of files of a few blocks of 1000 bytes."""
    monkeypatch.setattr(reading, "BLOCK", 1000)
    groups: dict[str, list[Path]] = {"first": [], "second": [], "nothing": []}
    for name, size in (("first", 2500), ("first", 0), ("second", 1000), ("second", 1)):
        path = tmp_path / f"{name}{size}"
        path.write_bytes(os.urandom(size))
        groups[name].append(path)
    return groups


class Recorder:
    """A reader that notes what it was asked for, and waits before chosen files."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.got: dict[str, int] = {}
        self.gates: dict[str, threading.Event] = {}

    def __call__(self, file: int, buffer: memoryview, offset: int) -> int:
        name = Path(f"/proc/self/fd/{file}").readlink().name
        if gate := self.gates.get(name):
            gate.wait()
        got = pread(file, buffer, offset)
        self.seen.append((name, offset))
        self.got[name] = self.got.get(name, 0) + got
        return got


def no_readers() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_everything_is_read_once_in_order(files) -> None:
    record = Recorder()
    ahead = ReadAhead(files, readers=1, read=record).start()
    for name in files:
        ahead.wait(name)
    ahead.close()
    assert record.got == {"first2500": 2500, "second1000": 1000, "second1": 1}
    starts = [offset for name, offset in record.seen if name == "first2500" and offset % 1000 == 0]
    assert starts == [0, 1000, 2000]
    assert [name for name, _ in record.seen] == sorted((name for name, _ in record.seen), key=["first2500", "second1000", "second1"].index)
    assert no_readers()


def test_a_group_is_there_while_the_next_is_still_being_read(files) -> None:
    record = Recorder()
    gate = record.gates["second1000"] = threading.Event()
    ahead = ReadAhead(files, readers=2, read=record).start()
    ahead.wait("first")
    assert ahead.has("first")
    assert not ahead.has("second")
    gate.set()
    ahead.wait("second")
    ahead.close()


def test_several_blocks_are_under_way_at_once(files) -> None:
    together = threading.Barrier(3, timeout=20)

    def read(file: int, buffer: memoryview, offset: int) -> int:
        if offset % 1000 == 0 and os.fstat(file).st_size == 2500:
            together.wait()
        return pread(file, buffer, offset)

    ahead = ReadAhead(files, readers=3, read=read).start()
    ahead.wait("first")
    ahead.close()


def test_a_failure_is_told_to_those_who_wait_for_that_group(files) -> None:
    def read(file: int, buffer: memoryview, offset: int) -> int:
        if os.fstat(file).st_size == 2500:
            raise OSError(5, "Input/output error")
        return pread(file, buffer, offset)

    ahead = ReadAhead(files, readers=2, read=read).start()
    ahead.wait("second")
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            ahead.wait("first")
    ahead.close()
    assert no_readers()


def test_closing_ends_it_for_those_who_wait(files) -> None:
    record = Recorder()
    gate = record.gates["first2500"] = threading.Event()
    ahead = ReadAhead(files, readers=1, read=record).start()
    told: list[type] = []

    def wait() -> None:
        try:
            ahead.wait("second")
        except Stopped as error:
            told.append(type(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    closing = threading.Thread(target=ahead.close)
    closing.start()
    waiting.join(20)
    assert told == [Stopped]
    gate.set()
    closing.join(20)
    assert no_readers()
    assert "second1" not in record.got


def test_a_missing_file_is_told_before_anything_is_read(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        ReadAhead({"one": [tmp_path / "absent"]})
