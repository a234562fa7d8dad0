"""Time, memory and arithmetic of something that runs on a card (or, for the smoke test, on the processor)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from tests.support import (
    torchvision_shim as _shim,  # noqa: F401 — before anything that imports torchvision; beside a torch for a card it does nothing
)

#: Packages whose versions decide the figures.
PACKAGES = ("torch", "diffusers", "transformers", "spandrel", "triton", "nvidia-cudnn-cu13")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `seconds` the median, `peak_gb` of everything on the card while it ran, `tflop` counted; None: not known."""

    stage: str
    seconds: float
    peak_gb: float | None
    tflop: float | None


class Marks:
    """Moments on the device's own clock: events on a card, which cost no waiting, the wall clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._marks = device, []

    def mark(self, *_: object) -> None:
        """Note this moment: for a card, when everything asked of it until now is done."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Between each two neighbouring marks."""
        settle(self.device)
        pairs = zip(self._marks, self._marks[1:], strict=False)
        return [a.elapsed_time(b) / 1000 if self.device.type == "cuda" else b - a for a, b in pairs]


def settle(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def memory(device: torch.device) -> float:
    """GB that tensors take on the card now."""
    return torch.cuda.memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


def measured(stage: str, call: Callable[[], Any], device: torch.device, repeats: int, count: bool = True) -> Figure:
    """The median of `repeats` runs of `call`, after one that is counted and warms it up; without `count` it has to be warm already."""
    tflop = counted(call) if count else None
    settle(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(repeats):
        marks = Marks(device)
        marks.mark()
        call()
        marks.mark()
        seconds += marks.seconds()
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return Figure(stage, median(seconds), peak, tflop)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """The processor's own attention kernel, which torch's table of formulas has forgotten."""
    return int(sdpa_flop_count(query, key, value))


def _deformed(_: Any, weight: Any, *__: Any, out_shape: Any = None, **___: Any) -> int:
    """torchvision's deformable convolution multiplies like a plain one; finding the samples is not counted."""
    out, into, high, wide = weight
    return 2 * out_shape[0] * out_shape[2] * out_shape[3] * out * into * high * wide


def _formulas() -> dict[Any, Any]:
    import torchvision.ops  # noqa: F401, PLC0415 — registers its operators; only now: see the shim above

    return {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention, torch.ops.torchvision.deform_conv2d: _deformed}


class Counter(FlopCounterMode):
    """TFLOP of what runs inside: matrix products, convolutions and attention; a multiplication and an addition are two."""

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=_formulas())

    @property
    def tflop(self) -> float:
        """What was counted until now."""
        return float(self.get_total_flops()) / 1e12


def counted(call: Callable[[], Any]) -> float:
    """TFLOP of one call."""
    counter = Counter()
    with counter:
        call()
    return counter.tflop


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """TFLOP/s of a square matrix product on random numbers: the mean of ten after three that are not counted."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    marks = Marks(device)
    marks.mark()
    for _ in range(10):
        a @ b
    marks.mark()
    return 10 * 2 * side**3 / marks.seconds()[0] / 1e12


def relative_error(of: torch.Tensor, reference: torch.Tensor) -> float:
    """‖of − reference‖ / ‖reference‖ in float64."""
    one, other = of.double().cpu(), reference.double().cpu()
    return float((one - other).norm() / other.norm())


def versions() -> str:
    """The libraries' versions, those that are installed."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def card(device: torch.device) -> str:
    """The card's name and its memory, or what is there instead of one."""
    if device.type != "cuda":
        return f"no card: {torch.get_num_threads()} threads of the processor"
    told = torch.cuda.get_device_properties(device)
    return f"{told.name}, {told.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
