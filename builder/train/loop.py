"""The order of a training: steps, epochs, judging, checkpoints, the leaner mode, and when it ends."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builder.errors import BuilderError
from builder.train.examples import Example
from builder.train.keep import Epoch, State, load_state, save_state, steps_of
from builder.train.nets import Nets
from builder.train.objective import Draw, Lesson, NotFinite, drawn, error, random_of
from builder.train.options import Hear, Options
from pipeline.phase2_illustrate.diffusion.denoise import UNET

#: Where in the noise the pairs that judge are looked at: the middles of equal parts of the timesteps.
PARTS = 8
#: Most that a step may change: gradients are scaled down to this norm.
NORM = 1.0


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained, with what, and where its checkpoints lie. `shown` is called after each epoch, and with epoch 0 before the first."""

    nets: Nets
    lesson: Lesson
    taught: Sequence[Example]
    judges: Sequence[Example]
    folder: Path
    hear: Hear
    shown: Callable[[State], None]

    @property
    def options(self) -> Options:
        """The training's numbers."""
        return self.lesson.options


def optimizer_of(nets: Nets, options: Options) -> tuple[torch.optim.Optimizer, str]:
    """AdamW over the LoRA's factors, and its name; with moments of 8 bits on a card where bitsandbytes is installed."""
    kind: Any = torch.optim.AdamW
    if nets.device.type == "cuda":
        try:
            import bitsandbytes  # type: ignore[import-not-found]  # noqa: PLC0415 - optional

            kind = bitsandbytes.optim.AdamW8bit
        except ImportError:
            pass
    return kind(list(nets.learning.values()), lr=options.rate, weight_decay=options.decay), kind.__name__


def train(work: Training, from_step: int | None = None) -> State:
    """Train from the newest checkpoint, or that of `from_step`, until the last epoch or until judging finds nothing better any more.

    Raises `BuilderError` where the card's memory does not suffice, or the loss is not finite.
    """
    optimizer, name = optimizer_of(work.nets, work.options)
    steps = [step for step in steps_of(work.folder) if from_step is None or step <= from_step]
    state = load_state(work.folder, steps, work.nets, optimizer)
    work.nets.lean = state.lean
    work.hear("training", {"step": state.step, "steps": work.options.epochs * len(work.taught), "optimizer": name})
    if not state.epochs:
        with work.nets.untouched():
            state.epochs.append(Epoch(0, 0, None, _careful(work, state, lambda: judged(work)), 0.0))
            work.shown(state)
    while state.epochs[-1].number < work.options.epochs and not _settled(state, work.options.patience):
        _epoch(work, state, optimizer)
    return state


def _settled(state: State, patience: int) -> bool:
    """Whether judging has found nothing better for so many epochs."""
    return state.best is not None and state.epochs[-1].number - state.best.number >= patience


def _epoch(work: Training, state: State, optimizer: torch.optim.Optimizer) -> None:
    number, size = state.epochs[-1].number + 1, len(work.taught)
    order = torch.randperm(size, generator=random_of(work.options.seed, "epoch", number)).tolist()
    began, first = time.perf_counter(), state.step
    for index in order[state.step - size * (number - 1) :]:
        loss = _careful(work, state, partial(gradients, work, state.step, work.taught[index]))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.losses.append(loss)
        told = {"step": state.step, "steps": work.options.epochs * size, "epoch": number, "loss": round(loss, 6), "lean": state.lean}
        work.hear("step", told)
    seconds = (time.perf_counter() - began) / max(1, state.step - first)
    value = _careful(work, state, lambda: judged(work))
    state.epochs.append(Epoch(number, state.step, sum(state.losses) / len(state.losses), value, seconds))
    state.losses = []
    work.hear("epoch", {"epoch": number, "loss": state.epochs[-1].loss, "judged": value, "seconds": round(seconds, 4)})
    work.shown(state)
    save_state(work.folder, state, work.nets, optimizer)


def gradients(work: Training, step: int, example: Example) -> float:
    """The loss of a step; its gradients are left at the LoRA's factors."""
    for parameter in work.nets.learning.values():
        parameter.grad = None  # of a try that failed
    missed = error(work.nets, example, drawn(example, step, work.lesson), work.lesson)
    missed.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(work.nets.learning.values(), NORM)
    return float(missed.detach())


def _careful(work: Training, state: State, call: Callable[[], float]) -> float:
    """The call's answer; where the card's memory does not suffice, once more in the leaner mode, which stays."""
    try:
        return call()
    except torch.OutOfMemoryError:
        if state.lean:
            raise BuilderError(NO_ROOM) from None
    except NotFinite as fault:
        raise BuilderError(f"The training went wrong: {fault}; a lower --rate may help.") from fault
    # Out of the handler: the traceback is gone, and with it what the failed try holds on the card.
    state.lean = work.nets.lean = True
    relieve(work.nets)
    work.hear(
        "told", {"sentence": "The card's memory did not suffice; from here on the control nets wait in host memory, which is slower."}
    )
    try:
        return call()
    except torch.OutOfMemoryError:
        raise BuilderError(NO_ROOM) from None


NO_ROOM = (
    "The card's memory did not suffice, even with one network at a time. The last checkpoint is kept: end what else is on the card, or "
    "lower --rank or phase2.side, and run the same command again."
)


def relieve(nets: Nets) -> None:
    """Free what is not needed now, and give it back to the driver."""
    nets.ask(UNET)
    gc.collect()
    if nets.device.type == "cuda":
        torch.cuda.empty_cache()


@torch.no_grad()
def judged(work: Training) -> float:
    """The mean loss of the pairs that judge: each at the same timesteps under the same noise every time."""
    length, values = len(work.lesson.noises.alphas_cumprod), []
    for example in work.judges:
        noise = torch.randn((1, *example.latents.shape[1:]), generator=random_of(work.options.seed, "judge", example.stem))
        for part in range(PARTS):
            timestep = int((part + 0.5) * length / PARTS)
            values.append(_of(work, example, timestep, noise))
    return sum(values) / len(values)


def _of(work: Training, example: Example, timestep: int, noise: Tensor) -> float:
    return float(error(work.nets, example, Draw(timestep, noise, mirrored=False), work.lesson))
