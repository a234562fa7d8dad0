"""What the builder says while it works: sentences, and how far the bytes are. Bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

#: A sentence for the user.
Tell = Callable[[str], None]
#: `meter(file, done, total)`: bytes of a file that are there, and its size where it is known. Called from several threads.
Meter = Callable[[str, int, int | None], None]

_LINE_SECONDS = 15.0


def size(count: float | None) -> str:
    """Bytes as a person reads them, in powers of 1000."""
    if count is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.{2 if unit == 'GB' else 1}f} {unit}"
        count /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def voices(console: Console) -> Iterator[tuple[Tell, Meter]]:
    """Where sentences and bytes go for as long as the work lasts."""
    if not console.is_terminal:
        yield lambda sentence: console.print(sentence, highlight=False, markup=False, soft_wrap=True), _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield lambda sentence: bars.console.print(sentence, highlight=False, markup=False, soft_wrap=True), _Bars(bars)


class _Bars:
    """One bar for each file under way."""

    def __init__(self, bars: Progress) -> None:
        self._bars, self._tasks, self._lock = bars, dict[str, TaskID](), Lock()

    def __call__(self, file: str, done: int, total: int | None) -> None:
        with self._lock:
            if file not in self._tasks:
                self._tasks[file] = self._bars.add_task(file, total=total)
            self._bars.update(self._tasks[file], completed=done, total=total)
            if total is not None and done >= total:
                self._bars.remove_task(self._tasks.pop(file))


class _Lines:
    """A line for each large file now and then, for logs."""

    def __init__(self, console: Console) -> None:
        self._console, self._said, self._lock = console, dict[str, float](), Lock()

    def __call__(self, file: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._said.setdefault(file, now) >= _LINE_SECONDS:
                self._said[file] = now
                self._console.print(f"{file}: {size(done)} of {size(total)}", highlight=False, markup=False, soft_wrap=True)
