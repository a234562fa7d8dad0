"""How far a batch is: a bar on a terminal, else a line now and then."""

import asyncio
import time
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from batch.ledger import Ledger

if TYPE_CHECKING:
    from batch.dispatch import Run

#: Seconds between two looks at the ledger, and between two lines where there is no terminal.
_LOOK, _LINE = 1.0, 30.0


class Bar:
    """Progress with rate, estimate and cost so far, on standard error."""

    def __init__(self, ledger: Ledger, *, priced: bool) -> None:
        self._ledger, self._priced = ledger, priced
        self._console = Console(stderr=True)
        columns = (TextColumn("batch"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, sentence: str) -> None:
        """Print a line above the bar."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    async def follow(self, run: "Run") -> None:
        """Show how the run stands, until cancelled. The rate is that of this run."""
        began, before, said = time.monotonic(), None, time.monotonic()
        while True:
            await asyncio.sleep(_LOOK)
            count = self._ledger.count()
            over = count.completed + count.failed
            before = over if before is None else before
            rate = (over - before) / max(time.monotonic() - began - _LOOK, _LOOK)
            words = [f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"]
            if rate > 0 and run.scanned and over < count.items:
                words.append(f"about {timedelta(seconds=round((count.items - over) / rate))} to go")
            words += [f"{run.in_flight} in flight"] + ([f"{count.failed} failed"] if count.failed else [])
            words += [f"cost {self._ledger.spent:.2f}"] if self._priced else []
            self._progress.update(self._task, completed=over, total=count.items, description=", ".join(words))
            if not self._console.is_terminal and time.monotonic() - said >= _LINE:
                said = time.monotonic()
                self.say(f"{over} of {count.items}: {', '.join(words)}")
