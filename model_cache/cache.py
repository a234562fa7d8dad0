"""What is resident where: the one object that lives as long as the worker."""

import gc
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

import structlog
import torch

from model_cache.loaders import load, modules
from model_cache.volume import Volume

log = structlog.get_logger()

#: A card with this many bytes or more keeps everything: the weights of all steps (about 14 GB) and the largest activations fit.
ALL_RESIDENT_FROM = 30_000_000_000
#: On a smaller card weights and activations together stay below this, so that a 24 GB card serves and has room for its display.
PEAK = 18_000_000_000
#: Of the peak, what is kept for activations. Not measured on a card: SDXL at 1024² with guidance, and the VAE's decoder, are the largest.
ACTIVATIONS = 5_000_000_000


def weight_budget(card_bytes: int) -> int | None:
    """Bytes of weights that may be on a card with `card_bytes` of memory; None: all of them."""
    if card_bytes >= ALL_RESIDENT_FROM:
        return None
    return max(0, min(card_bytes, PEAK) - ACTIVATIONS)


def to_evict(resident: Mapping[str, int], wanted: Mapping[str, int], budget: int | None) -> tuple[str, ...]:
    """What leaves the card so that `wanted` can be there together. Sizes in bytes; `resident` from the least to the most recently used.

    As few as make room, the least recently used first, never a wanted one. Where even `wanted` alone is above the budget, all others.
    """
    if budget is None:
        return ()
    others = {name: size for name, size in resident.items() if name not in wanted}
    excess = sum(wanted.values()) + sum(others.values()) - budget
    leaving = []
    for name, size in others.items():
        if excess <= 0:
            break
        leaving.append(name)
        excess -= size
    return tuple(leaving)


@dataclass(frozen=True)
class Prepared:
    """A model changed once after loading (fused style, joint projections, …): `prepare` gets what the loader gave and returns what
    `take` yields. It is kept under `key`; another key, or the bare name, means: forget it, load it again from the volume, prepare.
    """

    name: str
    key: Hashable
    prepare: Callable[[Any], Any]


#: The key of a model that is as its loader gave it.
_AS_LOADED: Hashable = ("as loaded",)


def _bytes(networks: Iterable[torch.nn.Module]) -> int:
    """Of parameters and buffers; tied ones count once."""
    tensors = {t.data_ptr() or id(t): t for network in networks for t in (*network.parameters(), *network.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


@dataclass
class _Kept:
    loaded: Any  # what `take` yields
    networks: tuple[torch.nn.Module, ...]
    size: int
    key: Hashable = _AS_LOADED
    on_device: bool = False

    def move(self, device: torch.device) -> None:
        for network in self.networks:
            network.to(device)


class ModelCache:
    """The networks of one worker. One job at a time uses it; a lock keeps a second thread from seeing a half-moved network."""

    def __init__(self, volume: Volume, device: torch.device, budget: int | None) -> None:
        """`budget`: bytes of weights that may be on `device` at once, None for all; a test may give one on the processor too."""
        self.volume = volume
        self.device = device
        self.budget = budget
        #: True while a step is run again after memory ran out: one network at a time is on the card, and steps use tiles.
        self.lean = False
        #: How often each model was read from the volume, and how often it left the card for want of room.
        self.loads: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the least recently used first
        self._arriving: Mapping[str, Future[None]] = {}
        self._lock = threading.RLock()
        #: Held by whoever computes with what was taken, for as long as it must not be moved away.
        self.busy = threading.RLock()

    def dtype(self, name: str) -> torch.dtype:
        """The catalogue's on a card, float32 on the processor, where 16 bits are slow and partly not there."""
        return getattr(torch, self.volume.catalogue[name].dtype) if self.device.type == "cuda" else torch.float32

    def take(self, *wanted: str | Prepared) -> tuple[Any, ...]:
        """All of `wanted` on the device together, in this order; see `loaders.load` for what each is. Waits for those that a warm-up
        is bringing, and for no other.

        Raises `MissingModels`, `BrokenModel`, `torch.OutOfMemoryError`; whatever is raised, also by a `prepare`, what was resident
        stays usable, and nothing half-made is kept.
        """
        asked = [one if isinstance(one, Prepared) else Prepared(one, _AS_LOADED, _unchanged) for one in wanted]
        if len({one.name for one in asked}) < len(asked):
            raise ValueError("a model is taken twice in one call")
        for one in asked:
            self._wait(one.name)
        # The caller may be in inference mode: parameters made there could never be moved or fused outside of it.
        with self._lock, torch.inference_mode(False), torch.no_grad():
            for one in asked:
                self._read(one)
            self._bring([one.name for one in asked])
            for one in asked:
                self._prepare(one)
            self._bring([one.name for one in asked])  # a preparation may have changed sizes
            return tuple(self._kept[one.name].loaded for one in asked)

    def expect(self, arriving: Mapping[str, "Future[None]"]) -> None:
        """From here on `take` waits for these models' futures and raises what they raise; a cancelled one is read by `take` itself."""
        self._arriving = arriving

    def arrive(self, name: str) -> None:
        """Read a model before it is asked for, and bring it to the device where there is room. Does not wait for what is expected.

        Raises `MissingModels`, `BrokenModel`. Jobs that take other models go on meanwhile, but for the moment of moving.
        """
        with torch.inference_mode(False), torch.no_grad():
            kept = self._load(name)
            with self._lock:
                self._keep(name, kept)
                if self._has_room(kept):
                    try:
                        self._bring([name])
                    except torch.OutOfMemoryError:  # no fault of the model: whoever takes it makes room
                        log.warning("model_left_in_host_memory", model=name, bytes=kept.size)

    def _wait(self, name: str) -> None:
        if name in self._arriving:
            try:
                self._arriving[name].result()
            except CancelledError:
                log.info("model_not_awaited", model=name)  # it is read by this thread then

    def resident(self) -> tuple[str, ...]:
        """The models on the device, the least recently used first."""
        return tuple(name for name, kept in self._kept.items() if kept.on_device)

    def relieve(self) -> None:
        """Move everything off the card and give its memory back to the driver, for a fresh try after memory ran out."""
        with self._lock:
            for name in self.resident():
                self._evict(name)
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        log.info("phase2_memory_flushed", device=str(self.device))

    def _read(self, one: Prepared) -> None:
        """Have the model in memory, as loaded or under this very key, and marked as used last."""
        kept = self._kept.get(one.name)
        if kept is not None and kept.key not in (_AS_LOADED, one.key):
            del self._kept[one.name]  # before the other one is read: never two of them in memory
            kept = None
        if kept is None:
            self._keep(one.name, self._load(one.name))
        self._kept.move_to_end(one.name)

    def _load(self, name: str) -> _Kept:
        start = time.perf_counter()
        loaded = load(self.volume, name, self.dtype(name))
        kept = _Kept(loaded, modules(loaded), _bytes(modules(loaded)))
        log.info("model_loaded", model=name, seconds=round(time.perf_counter() - start, 3), bytes=kept.size)
        return kept

    def _keep(self, name: str, kept: _Kept) -> None:
        self._kept[name] = kept
        self.loads[name] += 1

    def _has_room(self, kept: _Kept) -> bool:
        there = sum(self._kept[name].size for name in self.resident())
        return not self.lean and (self.budget is None or there + kept.size <= self.budget)

    def _bring(self, names: list[str]) -> None:
        resident = {name: self._kept[name].size for name in self.resident()}
        wanted = {name: self._kept[name].size for name in names}
        for name in to_evict(resident, wanted, 0 if self.lean else self.budget):
            self._evict(name)
        for name in names:
            kept = self._kept[name]
            if kept.on_device:
                continue
            try:
                kept.move(self.device)
            except BaseException:
                kept.move(torch.device("cpu"))  # what had arrived already
                raise
            kept.on_device = True

    def _prepare(self, one: Prepared) -> None:
        kept = self._kept[one.name]
        if kept.key == one.key:
            return
        try:
            kept.loaded = one.prepare(kept.loaded)
        except BaseException:
            del self._kept[one.name]  # it may be half changed
            raise
        kept.key = one.key
        kept.networks = modules(kept.loaded) or kept.networks
        kept.size = _bytes(kept.networks)

    def _evict(self, name: str) -> None:
        kept = self._kept[name]
        kept.on_device = False
        kept.move(torch.device("cpu"))
        self.evictions[name] += 1
        log.info("model_evicted", model=name, bytes=kept.size)


def _unchanged(loaded: Any) -> Any:
    return loaded


def open_cache(volume: Volume, device: torch.device) -> ModelCache:
    """An empty cache whose budget fits the card; on the processor everything stays."""
    if device.type != "cuda":
        return ModelCache(volume, device, None)
    return ModelCache(volume, device, weight_budget(torch.cuda.get_device_properties(device).total_memory))
