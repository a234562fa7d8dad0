"""One model in memory: moved to the card for its use and back to the host, where it may wait in pinned memory."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from model_cache.loaders import modules

#: The key of a model that is as its loader gave it.
AS_LOADED: Hashable = ("as loaded",)

#: A container's limit of memory and what of it is in use, by the second and the first version of control groups.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def _tensors(networks: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Parameters and buffers, tied ones once."""
    seen: set[int] = set()
    for network in networks:
        for tensor in (*network.parameters(), *network.buffers()):
            place = tensor.data_ptr() or id(tensor)
            if place not in seen:
                seen.add(place)
                yield tensor


@dataclass
class Held:
    """What `take` yields as `loaded`, the networks inside it, and their bytes. `key` says how it was prepared.

    A tensor's bytes are pinned when it first leaves the card, and stay so: weights do not change in use, so that leaving the card again
    copies nothing.
    """

    loaded: Any
    networks: tuple[nn.Module, ...] = ()
    size: int = 0
    key: Hashable = AS_LOADED
    on_device: bool = False
    _pinned: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def of(cls, loaded: Any) -> Self:
        """A model as its loader gave it, in host memory."""
        held = cls(loaded)
        held.changed(loaded)
        return held

    def changed(self, loaded: Any) -> None:
        """After a preparation: other networks, or other tensors in them."""
        self.loaded = loaded
        self.networks = modules(loaded) or self.networks
        self.size = sum(t.numel() * t.element_size() for t in _tensors(self.networks))
        self._pinned = []

    def bring(self, device: torch.device) -> None:
        """To the card. Where that fails, what had arrived already goes back, and the failure is raised."""
        try:
            for tensor, waiting in self._pinned:
                tensor.data = waiting.to(device, non_blocking=True)
            if not self._pinned:
                for network in self.networks:
                    network.to(device)
        except BaseException:
            self.release(pin=False)
            raise
        self.on_device = True

    def release(self, pin: bool) -> None:
        """Back to host memory; `pin`: to wait there for the next turn."""
        self.on_device = False
        if pin and not self._pinned:
            self._pinned = [(tensor, _pinned_copy(tensor)) for tensor in _tensors(self.networks) if _is_on_card(tensor)]
        for tensor, waiting in self._pinned:
            tensor.data = waiting
        if not self._pinned:
            for network in self.networks:
                network.to(torch.device("cpu"))


def _is_on_card(tensor: Tensor) -> bool:
    return tensor.device.type == "cuda"


def _pinned_copy(tensor: Tensor) -> Tensor:
    waiting = torch.empty_like(tensor, device="cpu", pin_memory=True)  # in the same memory layout
    waiting.copy_(tensor)
    return waiting


def host_memory() -> int:
    """Bytes of host memory in which networks may wait: half of what is free, to the system and within the container's limit."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    for limit, used in _LIMITS:
        if limit.is_file() and (bound := limit.read_text(encoding="ascii").strip()) != "max":
            free = min(free, max(0, int(bound) - int(used.read_text(encoding="ascii"))))
    return free // 2
