"""What is refused of an input before anything recursive sees it."""

import itertools
import math
from collections.abc import Mapping

from pipeline.errors import Code, JobError
from pipeline.palette import shown

#: Values that an input may hold in all, and how deep they may lie; an honest job has three levels and far below two hundred.
MOST_VALUES, DEEPEST = 2000, 8


def check_values(raw: object) -> None:
    """Refuse with `INVALID_INPUT` what no job holds: numbers that are not finite, great depth, thousands of values."""
    waiting: list[tuple[str, object, int]] = [("", raw, 0)]
    for count in itertools.count():
        if not waiting:
            return
        place, value, depth = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise JobError(Code.INVALID_INPUT, f"{place or 'A number'}: must be a finite number.")
        if not isinstance(value, Mapping | list):
            continue
        if count + len(waiting) + len(value) > MOST_VALUES:
            raise JobError(Code.INVALID_INPUT, f"The job's input holds more than {MOST_VALUES:,} values.")
        if depth == DEEPEST:
            raise JobError(Code.INVALID_INPUT, f"The job's input is nested more than {DEEPEST} levels deep.")
        if isinstance(value, Mapping):
            inner = [(shown(f"{place}.{key}" if place else str(key), 80), item) for key, item in value.items()]
        else:
            inner = [(place, item) for item in value]
        waiting += [(name, item, depth + 1) for name, item in reversed(inner)]
