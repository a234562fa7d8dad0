# ruff: noqa: PLC0415, E402 — importing a library is part of what is measured
"""One cold start, in a process of its own: `python -m bench.cold_start.child WAY VOLUME RATE DTYPE NAMES`, told as one line of JSON.

WAY is `plain` (the files one after the other, read and thrown away), `ours` (the worker's warm-up) or `library` (each model's files read,
then `from_pretrained`, one after the other). The clock starts before anything heavy is imported. RATE, bytes a second, bounds the reading
in all three alike; 0: as fast as the disk is. Nothing here has a card: a network counts as ready when every byte of it has been copied once
into a scratch buffer, as an upload would copy it.
"""

import time

START = time.perf_counter()

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_cache.catalogue import load_catalogue
from model_cache.reading import BLOCK, Read, pread
from model_cache.volume import Volume
from model_cache.warm_up import WarmUp, check, read_ahead

#: The last model of the first phase.
LAST_OF_PHASE_1 = "lama"
_SCRATCH = 1 << 26


def throttled(rate: float) -> Read:
    """A reader that shares `rate` bytes a second among all who use it; 0: the plain one. What was not used in the last tenth of a second
    may be used now, so that the disk's own time is not added to that of the simulated volume."""
    if rate == 0:
        return pread
    lock, free_at = threading.Lock(), [0.0]

    def read(file: int, buffer: memoryview, offset: int) -> int:
        got = pread(file, buffer, offset)
        with lock:
            free_at[0] = max(time.perf_counter() - 0.1, free_at[0]) + got / rate
            until = free_at[0]
        time.sleep(max(0.0, until - time.perf_counter()))
        return got

    return read


def _read_through(path: Path, read: Read, buffer: memoryview) -> None:
    file, at = os.open(path, os.O_RDONLY), 0
    try:
        while got := read(file, buffer, at):
            at += got
    finally:
        os.close(file)


def _since() -> float:
    return round(time.perf_counter() - START, 3)


def plain(volume: Volume, names: list[str], read: Read, dtype: str) -> tuple[dict[str, float], Any]:  # noqa: ARG001 - one signature for all
    """Seconds until the files of each model are read, and what stays in memory: nothing."""
    buffer, told = memoryview(bytearray(BLOCK)), {}
    begun = time.perf_counter()
    for name in names:
        for file in volume.catalogue[name].files:
            _read_through(volume.file(name, file), read, buffer)
        told[name] = round(time.perf_counter() - begun, 3)
    return told, None


def _cache_of(volume: Volume, dtype: str) -> Any:
    """The worker's cache, with a card's types, whose arrivals copy every tensor once."""
    import torch

    from model_cache.cache import ModelCache

    scratch = torch.empty(_SCRATCH, dtype=torch.uint8)

    class Cache(ModelCache):
        def dtype(self, name: str) -> torch.dtype:
            return getattr(torch, self.volume.catalogue[name].dtype if dtype == "card" else dtype)

        def arrive(self, name: str) -> None:
            super().arrive(name)
            for network in self._kept[name].networks:
                for tensor in (*network.parameters(), *network.buffers()):
                    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
                    for at in range(0, flat.numel(), _SCRATCH):
                        piece = flat[at : at + _SCRATCH]
                        scratch[: piece.numel()].copy_(piece)

    return Cache(volume, torch.device("cpu"), None)


def ours(volume: Volume, names: list[str], read: Read, dtype: str) -> tuple[dict[str, float], Any]:
    """Seconds until each model is ready, as the engine starts, and the cache that holds them."""
    changed = check(volume, names)
    reading = read_ahead(volume, names, read).start()
    told = {"reading begins": _since()}
    from tests.support import torchvision_shim  # noqa: F401 - imports torch

    told["torch imported"] = _since()
    cache = _cache_of(volume, dtype)
    warm_up = WarmUp(cache, names, reading, changed).start()
    for name in names:
        warm_up.wait([name])
        told[name] = _since()
    warm_up.close()
    return told, cache


def library(volume: Volume, names: list[str], read: Read, dtype: str) -> tuple[dict[str, float], Any]:
    """Seconds until each model is ready, one after the other: its files through the bounded reader, then from the page cache."""
    from tests.support import torchvision_shim  # noqa: F401 - imports torch

    cache, buffer, told = _cache_of(volume, dtype), memoryview(bytearray(BLOCK)), {}
    for name in names:
        if read is not pread:
            for file in volume.catalogue[name].files:
                _read_through(volume.file(name, file), read, buffer)
        cache.arrive(name)
        told[name] = _since()
        cache._kept[name].loaded = None  # it is on the card
        cache._kept[name].networks = ()
    return told, None


@contextmanager
def _memory() -> Iterator[dict[str, int]]:
    """The peak of this process's memory while it goes on, bytes: its own (anon) and with mapped files (all), and where they end."""
    told, done = {"anon": 0, "all": 0}, threading.Event()

    def look() -> tuple[int, int]:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(int(lines[key].split()[0]) * 1024 for key in ("RssAnon", "VmRSS"))

    def watch() -> None:
        while not done.wait(0.05):
            anon, everything = look()
            told["anon"], told["all"] = max(told["anon"], anon), max(told["all"], everything)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield told
        told["anon at the end"], told["all at the end"] = look()
    finally:
        done.set()
        watching.join()


def main(way: str, folder: str, rate: str, dtype: str, names: str) -> None:
    volume = Volume(Path(folder), load_catalogue())
    run = {"plain": plain, "ours": ours, "library": library}[way]
    with _memory() as memory:
        seconds, _kept = run(volume, names.split(","), throttled(float(rate)), dtype)
    print(json.dumps({"seconds": seconds, "memory": memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
