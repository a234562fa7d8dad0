"""Files into the system's page cache, in the order of their use, several blocks at once. No torch: it begins before that is imported.

A network volume is as fast as there are requests under way, and a mapped file that is read by page faults has one. So a few threads fetch
blocks of all files in one order and throw the bytes away: they stay in the page cache, where mapping the file finds them. Nothing is held
in the process but one block a thread.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: Bytes of one request, and how many are under way together. Not tuned on a network volume: none was at hand.
BLOCK = 8 << 20
READERS = 4

#: (file descriptor, buffer, offset) → bytes read, 0 at the end; as `os.preadv` of one buffer.
Read = Callable[[int, memoryview, int], int]


def pread(file: int, buffer: memoryview, offset: int) -> int:
    """Read from `offset` into `buffer`."""
    return os.preadv(file, [buffer], offset)


class Stopped(Exception):  # noqa: N818 - says what is the case
    """The reading was ended before this was read."""


@dataclass(frozen=True, slots=True)
class _Block:
    name: str
    path: Path
    offset: int


class ReadAhead:
    """Reads groups of files, each under a name, first group first. `start` begins, `close` ends it and leaves no thread behind."""

    def __init__(self, groups: Mapping[str, Sequence[Path]], readers: int = READERS, read: Read = pread) -> None:
        """`groups` in the order of use. Raises `OSError` for a file that is not there."""
        self._read = read
        blocks = [_Block(name, path, at) for name, files in groups.items() for path in files for at in range(0, path.stat().st_size, BLOCK)]
        self._blocks: Iterator[_Block] = iter(blocks)
        self._left = {name: sum(block.name == name for block in blocks) for name in groups}
        self._failed: dict[str, OSError] = {}
        self._stopped = False
        self._changed = threading.Condition()  # its lock can be taken again by its holder
        self._threads = [threading.Thread(target=self._work, name=f"read-ahead-{i}", daemon=True) for i in range(readers)]

    def start(self) -> Self:
        """Begin to read; returns at once."""
        for thread in self._threads:
            thread.start()
        return self

    def wait(self, name: str) -> None:
        """Until every file of the group was read. Raises the `OSError` of its reading, `Stopped` after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self.has(name))
            if name in self._failed:
                raise self._failed[name]
            if self._left[name]:
                raise Stopped

    def has(self, name: str) -> bool:
        """Whether the group was read, or will not be."""
        with self._changed:
            return self._left[name] == 0 or name in self._failed or self._stopped

    def close(self) -> None:
        """End the reading after the blocks under way, and the threads with it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _next(self) -> _Block | None:
        with self._changed:
            return None if self._stopped else next((block for block in self._blocks if block.name not in self._failed), None)

    def _work(self) -> None:
        buffer = memoryview(bytearray(BLOCK))
        while block := self._next():
            try:
                self._fetch(block, buffer)
            except OSError as error:
                with self._changed:
                    self._failed[block.name] = error
                    self._changed.notify_all()
                continue
            with self._changed:
                self._left[block.name] -= 1
                self._changed.notify_all()

    def _fetch(self, block: _Block, buffer: memoryview) -> None:
        file = os.open(block.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            done = 0
            while done < BLOCK and (got := self._read(file, buffer[done:], block.offset + done)):
                done += got
        finally:
            os.close(file)
