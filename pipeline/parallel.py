"""Independent work on all cores: numpy, OpenCV and numba leave the interpreter's lock while they work."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def each(function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """The answers in the order of the items; the first exception is raised."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def both(first: Callable[[], Item], second: Callable[[], Answer]) -> tuple[Item, Answer]:
    """The answers of two functions that run at once: the second in a thread of its own, the first in the caller's."""
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(second)
        return first(), beside.result()
