"""What is resident where: the one object that lives as long as the worker."""

import gc
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, dataclass
from typing import Any

import structlog
import torch

from model_cache.held import AS_LOADED, Held, host_memory
from model_cache.loaders import building, load
from model_cache.residency import Plan, Use, plan, to_evict, weight_budget
from model_cache.volume import Volume

log = structlog.get_logger()


@dataclass(frozen=True)
class Prepared:
    """A model changed once after loading (fused style, joint projections, …): `prepare` gets what the loader gave and returns what
    `take` yields. It is kept under `key`; another key, or the bare name, means: forget it, load it again from the volume, prepare.
    """

    name: str
    key: Hashable
    prepare: Callable[[Any], Any]


class ModelCache:
    """The networks of one worker. One job at a time uses it; a lock keeps a second thread from seeing a half-moved network."""

    def __init__(self, volume: Volume, device: torch.device, budget: int | None, plan: Plan | None = None) -> None:
        """`budget`: bytes of weights that may be on `device` at once, None for all; a test may give one on the processor too.

        `plan` says what stays there and what becomes of the others; without one they all take turns and wait in host memory.
        """
        self.volume = volume
        self.device = device
        self.budget = budget
        #: How often each model was read from the volume, was brought to the card, was there when asked for, and had to leave it.
        self.loads: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()
        #: Held by whoever computes with what was taken, for as long as it must not be moved away.
        self.busy = threading.RLock()
        self._plan = plan
        self._relieved = False
        self._kept: OrderedDict[str, Held] = OrderedDict()  # the least recently used first
        self._arriving: Mapping[str, Future[None]] = {}
        self._lock = threading.RLock()

    @property
    def lean(self) -> bool:
        """Steps must take one network at a time, and use tiles: memory ran out just now, or the plan says so."""
        return self._relieved or (self._plan is not None and self._plan.in_turn)

    @lean.setter
    def lean(self, relieved: bool) -> None:
        self._relieved = relieved

    def dtype(self, name: str) -> torch.dtype:
        """The catalogue's on a card, float32 on the processor, where 16 bits are slow and partly not there."""
        return getattr(torch, self.volume.catalogue[name].dtype) if self.device.type == "cuda" else torch.float32

    def take(self, *wanted: str | Prepared) -> tuple[Any, ...]:
        """All of `wanted` on the device together, in this order; see `loaders.load` for what each is. Waits for those that a warm-up
        is bringing, and for no other.

        Raises `MissingModels`, `BrokenModel`, `torch.OutOfMemoryError`; whatever is raised, also by a `prepare`, what was resident
        stays usable, and nothing half-made is kept.
        """
        asked = [one if isinstance(one, Prepared) else Prepared(one, AS_LOADED, _unchanged) for one in wanted]
        if len({one.name for one in asked}) < len(asked):
            raise ValueError("a model is taken twice in one call")
        for one in asked:
            self._wait(one.name)
        # The caller may be in inference mode: parameters made there could never be moved or fused outside of it.
        with self._lock, torch.inference_mode(False), torch.no_grad():
            for one in asked:
                self._read(one)
                self.hits[one.name] += self._kept[one.name].on_device
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
                if self._has_room(name):
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

    def counts(self) -> dict[str, int]:
        """The sums of `loads`, `moves`, `hits` and `evictions` since the start."""
        return {name: getattr(self, name).total() for name in ("loads", "moves", "hits", "evictions")}

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
        if kept is not None and kept.key not in (AS_LOADED, one.key):
            del self._kept[one.name]  # before the other one is read: never two of them in memory
            kept = None
        if kept is None:
            self._keep(one.name, self._load(one.name))
        self._kept.move_to_end(one.name)

    def _load(self, name: str) -> Held:
        start = time.perf_counter()
        kept = Held.of(load(self.volume, name, self.dtype(name)))
        log.info("model_loaded", model=name, seconds=round(time.perf_counter() - start, 3), bytes=kept.size)
        return kept

    def _keep(self, name: str, kept: Held) -> None:
        self._kept[name] = kept
        self.loads[name] += 1

    def _has_room(self, name: str) -> bool:
        """Whether a model that nobody asked for yet may be on the card: those that will stay there come first."""
        if self._relieved or self.budget is None:
            return not self._relieved
        stays = self._plan.resident if self._plan else frozenset()
        others = {other: self._kept[other].size for other in self.resident()}
        others |= {other: self.volume.catalogue[other].bytes() or 0 for other in stays if other not in others}
        return name in stays or sum(others.values()) + self._kept[name].size <= self.budget

    def _bring(self, names: list[str]) -> None:
        self._make_room(names)
        for name in names:
            kept = self._kept[name]
            if kept.on_device:
                continue
            kept.bring(self.device)
            self.moves[name] += 1
            log.info("model_brought", model=name, bytes=kept.size)

    def _make_room(self, names: list[str]) -> None:
        budget = 0 if self._relieved else self.budget
        if budget is None:
            return
        there = {name: self._kept[name].size for name in self.resident()}
        wanted = {name: self._kept[name].size for name in names}
        for name in to_evict(there, wanted, budget, self._plan.resident if self._plan else frozenset()):
            self._evict(name)

    def _prepare(self, one: Prepared) -> None:
        kept = self._kept[one.name]
        if kept.key == one.key:
            return
        try:
            with building:
                kept.changed(one.prepare(kept.loaded))
        except BaseException:
            del self._kept[one.name]  # it may be half changed
            raise
        kept.key = one.key

    def _evict(self, name: str) -> None:
        kept = self._kept[name]
        if self._plan is not None and name in self._plan.read_again:
            del self._kept[name]
        else:
            kept.release(pin=self._plan is not None and name in self._plan.host)
        self.evictions[name] += 1
        log.info("model_evicted", model=name, bytes=kept.size, waits=name in self._kept)


def _unchanged(loaded: Any) -> Any:
    return loaded


def open_cache(volume: Volume, device: torch.device, uses: Sequence[Use] = (), rounds: int = 1) -> ModelCache:
    """An empty cache that keeps to a plan for the card's free memory; on the processor everything stays.

    `uses`: what a job has on the card together, step by step; `rounds`: of its drawing, see `residency.plan`.
    """
    if device.type != "cuda":
        return ModelCache(volume, device, None)
    budget = weight_budget(torch.cuda.mem_get_info(device)[0])
    sizes = {name: volume.catalogue[name].bytes() or 0 for use in uses for name in use}
    made = plan(sizes, uses, budget, host_memory(), rounds) if uses else None
    log.info("residency", budget=budget, **({} if made is None else asdict(made)))
    return ModelCache(volume, device, budget, made)
