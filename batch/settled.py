"""Whether a file is whole, or somebody is still writing it."""

import fcntl
import os
import sys
import time
from pathlib import Path

#: Seconds that a file must have been left alone, and those for a picture whose end is missing: a copy may pause.
SETTLE, PATIENCE = 2.0, 12.0
#: Bytes of a file's end in which its last mark is looked for; cameras add some after it.
_TAIL = 1 << 16


def settled(path: Path, now: float | None = None) -> bool:
    """Whether nobody writes the file any more: nothing has it open for writing, it was left alone for `SETTLE` seconds, and a JPEG, PNG or
    WebP has its end; one without is given `PATIENCE` seconds, and then is as it is. Raises OSError where it cannot be read."""
    now = time.time() if now is None else now
    with path.open("rb") as file:
        there = os.fstat(file.fileno())
        age = now - there.st_mtime
        if age < -SETTLE:  # a clock that is ahead says nothing
            age = SETTLE if now - there.st_ctime >= SETTLE else 0.0
        if age < SETTLE or (not there.st_size and age < PATIENCE):
            return False
        if _is_open_for_writing(file.fileno()):
            return False
        return age >= PATIENCE or _has_its_end(file.read(16), path, there.st_size)


def _is_open_for_writing(fd: int) -> bool:
    """Whether a process has the file open for writing, as far as the system says: Linux gives a read lease (fcntl(2)) only if none has."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a file system without leases
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _has_its_end(head: bytes, path: Path, size: int) -> bool:
    """Whether the formats that have an end have it; all others are taken as whole."""
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        tail = file.read(_TAIL)
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in tail
    if head.startswith(b"\x89PNG\r\n"):
        return b"IEND" in tail
    if head.startswith(b"RIFF"):
        return size >= int.from_bytes(head[4:8], "little") + 8
    return True
