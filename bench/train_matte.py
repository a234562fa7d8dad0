"""Grows the trees of the classical matte from the photographs' hand-made outlines.

    python -m bench.train_matte          the shipped trees, and for each photograph those grown without it (bench/out/)
    python -m bench.train_matte --folds  only the latter

Two stages: the first sees the crop; the second also sees the first one's guess. The guesses that the second stage learns
from come from first stages that were grown without the photograph guessed, so it meets the mistakes it will meet later.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.grow_trees import Growth, bin_edges, binned, grow
from bench.matte_photos import Example, examples, jittered, mirrored
from pipeline.phase2_illustrate import matte_classical
from pipeline.phase2_illustrate.matte_classical import cut_out, probability
from pipeline.phase2_illustrate.matte_features import Crop, base_features, context_features
from pipeline.phase2_illustrate.matte_trees import Trees

OUT = Path(__file__).parent / "out"
SHIPPED = Path(matte_classical.__file__).with_name("matte_trees.npz")
SIDE = 1024
VARIANTS = 8
ROWS = 2500
GROUPS = 3
FIRST, SECOND = Growth(trees=100), Growth(trees=140)


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop: its photograph's name, base features (h, w, K), truth (h, w) 0..1 and the pixels that are learnt from."""

    name: str
    crop: Crop
    base: NDArray[np.float32]
    truth: NDArray[np.float32]
    rows: NDArray[np.int64]


def main() -> None:
    """See the module's docstring."""
    OUT.mkdir(exist_ok=True)
    started = time.monotonic()
    samples = [sample for number, example in enumerate(examples(SIDE)) for sample in variants(example, number)]
    names = list(dict.fromkeys(s.name for s in samples))
    print(f"{len(samples)} crops, {samples[0].base.shape[2]} features, {time.monotonic() - started:.0f} s", flush=True)
    jobs: list[str | None] = [*names, None] if "--folds" not in sys.argv else [*names]
    # forked, so that the workers share the samples without copying them
    with ProcessPoolExecutor(2, mp_context=get_context("fork"), initializer=_keep, initargs=(samples,)) as pool:
        for path in pool.map(_grow_one, jobs):
            print(f"{path.name}: {time.monotonic() - started:.0f} s", flush=True)


_kept: list[Sample] = []


def _keep(samples: list[Sample]) -> None:
    _kept[:] = samples


def _grow_one(left_out: str | None) -> Path:
    """Trees from all photographs, or without one of them."""
    path = SHIPPED if left_out is None else OUT / f"trees_without_{left_out}.npz"
    save(path, train([s for s in _kept if s.name != left_out]))
    return path


def variants(example: Example, number: int) -> list[Sample]:
    """Crops of one photograph: mirrored or not, box as drawn or moved, light and colour cast changed."""
    rng = np.random.default_rng(number)
    out = []
    for i in range(VARIANTS):
        e = mirrored(example) if i % 2 else example
        box = e.box if i < 2 else jittered(e.box, e.frame, 0.02 + 0.015 * (i // 2), rng)
        rgb = e.rgb if i < 2 else _relit(e.rgb, rng)
        crop, (x0, y0, x1, y1) = cut_out(rgb, e.frame, box)
        pad = max(0, -x0, -y0, x1 - SIDE, y1 - SIDE)
        truth = np.pad(e.truth.astype(np.float32), pad)[y0 + pad : y1 + pad, x0 + pad : x1 + pad]
        small = cv2.resize(truth, crop.lab.shape[1::-1], interpolation=cv2.INTER_AREA)
        rows = rng.choice(small.size, ROWS, replace=False)
        out.append(Sample(e.name, crop, base_features(crop), small, rows))
    return out


def _relit(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma and a slight colour cast at random."""
    gamma, cast = np.exp(rng.uniform(-0.35, 0.35)), np.exp(rng.uniform(-0.06, 0.06, 3))
    table = 255 * (np.arange(256) / 255) ** gamma
    out: NDArray[np.uint8] = np.clip(np.rint(table[rgb] * cast), 0, 255).astype(np.uint8)
    return out


def train(samples: list[Sample]) -> tuple[Trees, ...]:
    """Both stages from these crops alone."""
    names = list(dict.fromkeys(s.name for s in samples))
    groups = [set(names[g::GROUPS]) for g in range(GROUPS)]
    guesses = {}
    for group in groups:
        trees = fit([s for s in samples if s.name not in group], None, FIRST)
        guesses |= {id(s): probability(trees.log_odds(s.base)) for s in samples if s.name in group}
    first = fit(samples, None, FIRST)
    return first, fit(samples, guesses, SECOND)


def fit(samples: list[Sample], guesses: dict[int, NDArray[np.float32]] | None, growth: Growth) -> Trees:
    """One stage; `guesses` by the sample's identity for the stages after the first."""
    parts = []
    for s in samples:
        x = s.base.reshape(-1, s.base.shape[-1])[s.rows]
        if guesses is not None:
            context = context_features(s.crop, guesses[id(s)])
            x = np.concatenate([x, context.reshape(-1, context.shape[-1])[s.rows]], 1)
        parts.append(x)
    x, y = np.concatenate(parts), np.concatenate([s.truth.ravel()[s.rows] for s in samples])
    edges = bin_edges(x)
    return grow(binned(x, edges), edges, y, np.ones(len(y), np.float32), growth, np.random.default_rng(0))


def save(path: Path, stages: tuple[Trees, ...]) -> None:
    """Write the stages where `matte_trees.load` reads them."""
    arrays = {}
    for i, trees in enumerate(stages):
        arrays |= {f"feature{i}": trees.feature, f"threshold{i}": trees.threshold, f"leaf{i}": trees.leaf}
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()
