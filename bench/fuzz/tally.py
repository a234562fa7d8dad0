"""What a fuzz run saw, and the memory of this process as Linux tells it.

Not `getrusage`: its peak outlives exec and begins, in a forked child, at what the parent held.
"""

import json
import re
import resource
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

#: Seconds that one case may take; bytes that one picture's decoder, and that the fuzzing process, may grow by.
SLOWEST, GROWTH = 5.0, 1_500_000_000


@dataclass(slots=True)
class Tally:
    """Answers counted; faults as (case, what); cases that crashed a decoder; seconds of the slowest case; bytes that were grown by."""

    answers: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    crashes: list[int] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0
    grown: int = 0

    def as_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most bytes of this process that were in memory at once."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("the kernel does not tell a process its peak")
    return int(found[1]) * 1024
