"""How long a cold worker takes until it is ready: `python -m bench.cold_start [--small] [--docs] [--folder FOLDER]`.

The published architectures at their published sizes, filled with random 16-bit numbers (12.5 GB), are written below FOLDER and deleted
afterwards, and so are the same networks as their publishers hold them (28 GB), each model when it is its turn. Every start is a process of
its own (`bench.cold_start.child` says what counts as ready); before it every file is dropped from the page cache, and what is left there
is counted. `--small`: phase 1's networks only, for looking whether this works.
"""

import argparse
import ctypes
import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cold_start import volume as volumes
from bench.cold_start.child import LAST_OF_PHASE_1
from model_cache.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks" / "cold_start.md"
#: Bytes a second of the simulated volume: RunPod's network volumes have 200 to 400 million.
RATE = 300_000_000
_PAGE = mmap.PAGESIZE


def drop(paths: Iterable[Path]) -> None:
    """Write files out and let the page cache forget them."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def cached(paths: Iterable[Path]) -> int:
    """Bytes of files that are in the page cache, by mincore(2)."""
    libc, found = ctypes.CDLL(None, use_errno=True), 0
    for path in paths:
        if size := path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
                pages = (ctypes.c_ubyte * (-(-size // _PAGE)))()
                start = ctypes.c_char.from_buffer(mapped)
                if libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages):
                    raise OSError(ctypes.get_errno(), "mincore")
                found += _PAGE * sum(page & 1 for page in bytes(pages))
                del start
    return found


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start: seconds until each model was ready (or read), memory in bytes, bytes that were cached before it."""

    seconds: dict[str, float]
    memory: dict[str, int]
    cached_before: int
    load_before: float

    @property
    def phase_1(self) -> float:
        """Seconds until the last model of the first phase."""
        return self.seconds[LAST_OF_PHASE_1]

    @property
    def everything(self) -> float:
        """Seconds until the last model of all."""
        return max(self.seconds.values())


def files_of(volume: Path, names: Iterable[str]) -> list[Path]:
    catalogue = load_catalogue()
    return [volume / "models" / name / file for name in names for file in catalogue[name].files]


def start(way: str, volume: Path, names: tuple[str, ...], rate: float, dtype: str = "card") -> Start:
    files = files_of(volume, names)
    drop(files)
    before, load = cached(files), os.getloadavg()[0]
    command = [sys.executable, "-m", "bench.cold_start.child", way, str(volume), str(rate), dtype, ",".join(names)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{way}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    made = Start(told["seconds"], told["memory"], before, load)
    print(f"{way:8} {rate / 1e6:5.0f} MB/s  phase 1 {made.phase_1:6.2f} s  all {made.everything:6.2f} s", end="")
    print(f"  cached before {before / 1e6:.0f} MB, load {load:.1f}  {told}", flush=True)
    return made


@dataclass(frozen=True, slots=True)
class Figures:
    """All starts of one run: `[0]` at `RATE`, `[1]` as fast as the disk is."""

    plain: tuple[Start, Start]
    ours: tuple[Start, Start]
    library: Start  # the publishers' own files
    variants: Start  # their 16-bit files, where they have any
    on_processor: Start | None
    sizes: dict[str, int]


def measure(folder: Path, small: bool) -> Figures:
    """Write the volumes, make all starts."""
    names = volumes.PHASE_1 if small else volumes.ALL
    served, wide, narrow = folder / "served", folder / "wide", folder / "narrow"
    volumes.write_volume(served, names)
    plain = start("plain", served, names, RATE), start("plain", served, names, 0)
    ours = start("ours", served, names, RATE), start("ours", served, names, 0)
    processor = None if small else start("ours", served, (*volumes.PHASE_1, "controlnet-depth"), 0, "float32")
    originals = volumes.write_originals(wide, narrow, served, names)
    sizes = {key: sum(f.stat().st_size for f in files_of(*at)) for key, at in {
        "phase 1": (served, volumes.PHASE_1), "served": (served, names), "library": (wide, originals), "variants": (narrow, originals),
    }.items()}  # fmt: skip
    variants = start("library", narrow, originals, RATE)
    return Figures(plain, ours, start("library", wide, originals, RATE), variants, processor, sizes)


def _excess(one: Start) -> float:
    """Most memory of its own at once, above what the process has in the end, GB."""
    return (one.memory["anon"] - one.memory["anon at the end"]) / 1e9


def document(figures: Figures) -> str:
    """The page of figures."""
    slow, fast = figures.ours
    one, quick = figures.plain
    sizes = {name: f"{size / 1e9:.2f} GB" for name, size in figures.sizes.items()}
    ways = {
        "plain reading, one file after the other": figures.plain,
        "the worker's warm-up": figures.ours,
    }
    rows = [
        ("ready for phase 1 / plain reading of its files", "at most 1.2", f"{slow.phase_1 / one.phase_1:.2f}"),
        ("ready for everything / plain reading of all files", "at most 1.25", f"{slow.everything / one.everything:.2f}"),
        ("`from_pretrained` of the publishers' files / ours", "at least 2", f"{figures.library.everything / slow.everything:.2f}"),
        ("the same of their 16-bit files, where there are any", "", f"{figures.variants.everything / slow.everything:.2f}"),
        ("most memory of its own above what stays, card's types", "at most 7.1 GB", f"{max(map(_excess, figures.ours)):.2f} GB"),
    ]
    if figures.on_processor:
        rows.append(("the same in float32, phase 1 and one control net", "at most 7.0 GB", f"{_excess(figures.on_processor):.2f} GB"))
    lines = [
        "# From a cold volume to a ready worker",
        "",
        "Written by `python -m bench.cold_start --docs`; `bench/cold_start/child.py` says what counts as ready,",
        "`bench/cold_start/volume.py` what is on the volume: the published architectures at their published sizes, random numbers.",
        "",
        "| figure | asked | measured |",
        "|---|---|---|",
        *(f"| {name} | {asked} | {got} |" for name, asked, got in rows),
        "",
        "| way | s to phase 1 at 300 MB/s | s to everything | s to phase 1, no limit | s to everything | cached before |",
        "|---|---|---|---|---|---|",
    ]
    for name, (a, b) in ways.items():
        left = max(a.cached_before, b.cached_before) / 1e6
        lines.append(f"| {name} | {a.phase_1:.1f} | {a.everything:.1f} | {b.phase_1:.1f} | {b.everything:.1f} | {left:.0f} MB |")
    for name, a in {"`from_pretrained`, the publishers' files": figures.library, "…their 16-bit files": figures.variants}.items():
        lines.append(f"| {name} | {a.phase_1:.1f} | {a.everything:.1f} | | | {a.cached_before / 1e6:.0f} MB |")
    loads = [one.load_before for one in (one, quick, slow, fast, figures.library, figures.variants)]
    return "\n".join([
        *lines,
        "",
        f"Read: phase 1 {sizes['phase 1']}, everything {sizes['served']}; the publishers' files with the text encoders {sizes['library']},",
        f"{sizes['variants']} where the 16-bit files of SDXL, its text encoders and its control nets are taken.",
        f"{os.cpu_count()} processors, load before the starts {min(loads):.1f} to {max(loads):.1f} (others used the machine too).",
        "Ready times begin with the process, imports included; plain reading has none.",
        "",
        "The limit of 300 MB/s lies in the reader, the same for all ways. `from_pretrained` reads by page faults, which no reader can slow",
        "down: each of its models' files are first read through the limited reader, then loaded from the page cache, so that it is",
        "spared the waiting of single page faults. A real network volume, its latency, and the upload to a card were not measured.",
        "",
    ])  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--small", action="store_true", help="phase 1's networks only")
    options.add_argument("--docs", action="store_true", help=f"write {DOCUMENT.relative_to(ROOT)}")
    options.add_argument("--folder", type=Path, help="on the disk to be measured; needs 45 GB")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        page = document(measure(Path(folder), chosen.small))
    print(page)
    if chosen.docs:
        DOCUMENT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
