"""The same drawing in every way there is to compute it, so that one run tells which of them holds on a card."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.gpu.measure import median
from bench.gpu.source import Bench, redraw_of
from bench.gpu.stages import Scene, drawn
from pipeline.phase2_illustrate.diffusion.nets import save_compiled
from pipeline.steps import Brief


@dataclass(frozen=True, slots=True)
class Way:
    """`settings` of the drawing (`DrawSettings`), and what is set around it."""

    name: str
    settings: dict[str, Any]
    around: Callable[[], contextlib.AbstractContextManager[Any]] = field(default=contextlib.nullcontext)


@dataclass(frozen=True, slots=True)
class Option:
    """How a way did: median seconds of the whole drawing, seconds of its first, which compiles and records, and how far its picture is from
    the plain one's, mean of 0..255. `failed`: why there is no figure, if there is none."""

    name: str
    seconds: float = 0.0
    first: float = 0.0
    apart: float = 0.0
    failed: str = ""


HEADINGS = f"{'drawing':42}{'ms':>10}{'first ms':>10}{'apart':>8}"


def line(row: Option) -> str:
    """One way of the table."""
    told = f"{row.seconds * 1000:>10.1f}{row.first * 1000:>10.1f}{row.apart:>8.2f}"
    return f"{row.name:42}" + (f"  failed: {row.failed}" if row.failed else told)


@contextlib.contextmanager
def _flag(owner: Any, **wanted: Any) -> Iterator[None]:
    """Attributes of one of torch's backends, for a while."""
    before = {name: getattr(owner, name) for name in wanted}
    for name, value in wanted.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


PLAIN = {"fuse_qkv": False, "channels_last": False}
BOTH = {"fuse_qkv": True, "channels_last": True}
ANYWHERE = (
    Way("plain", PLAIN),
    Way("joint projections", {**PLAIN, "fuse_qkv": True}),
    Way("channels last", {**PLAIN, "channels_last": True}),
    Way("both", BOTH),
)
ON_CARD = (
    Way("both, cuDNN tries its kernels", BOTH, lambda: _flag(torch.backends.cudnn, deterministic=False, benchmark=True)),
    Way("both, attention by cuDNN", BOTH, lambda: sdpa_kernel(SDPBackend.CUDNN_ATTENTION)),
    Way("both, attention by FlashAttention", BOTH, lambda: sdpa_kernel(SDPBackend.FLASH_ATTENTION)),
    Way("both, one union net", {**BOTH, "nets": "union"}),
    Way("both, compiled", {**BOTH, "compile": True}),
)


def ways(bench: Bench, picture: Scene, told: Brief, repeats: int) -> list[Option]:
    """Every way, told as it is done. One that fails is told with its reason, for the others' sake."""
    rows: list[Option] = []
    reference: np.ndarray | None = None
    with tempfile.TemporaryDirectory() as folder:
        for way in (*ANYWHERE, *(ON_CARD if bench.device.type == "cuda" else ())):
            try:
                begun = {"compile_cache": _begun(Path(folder), bench.device)} if way.settings.get("compile") else {}
                redraw = redraw_of(bench, **way.settings, **begun)
                with way.around():
                    first, rgb = drawn(redraw, picture, told, bench.device)
                    times = [drawn(redraw, picture, told, bench.device)[0].whole for _ in range(repeats)]
            except Exception as error:  # noqa: BLE001 — whatever a way stumbles over is its result, and is printed
                rows.append(Option(way.name, failed=f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"))
            else:
                reference = rgb if reference is None else reference
                rows.append(Option(way.name, median(times), first.whole, float(np.abs(rgb.astype(int) - reference).mean())))
            print(line(rows[-1]), flush=True)
    return rows


def _begun(folder: Path, device: torch.device) -> Path:
    """A kept compile cache with next to nothing in it: the drawing asks for compiled blocks only where there is one."""
    torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    save_compiled(folder, device)
    return folder
