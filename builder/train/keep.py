"""Checkpoints: a training as it stands after a step, in one file that is whole or not there."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from builder.train.files import write_bytes
from builder.train.nets import Nets

#: How many of the newest checkpoints stay, beside the best one.
KEPT = 2


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch: the mean loss of its steps, the loss of the pairs that judge, the seconds of a step. `number` 0 is the untouched net."""

    number: int
    step: int
    loss: float | None
    judged: float
    seconds: float


@dataclass(slots=True)
class State:
    """How far a training is: steps done, epochs ended, the losses of the epoch under way, and whether it had to go leaner."""

    step: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    lean: bool = False

    @property
    def best(self) -> Epoch | None:
        """The trained epoch that judged best, the earliest of them; None before there is one."""
        return min((one for one in self.epochs if one.number), key=lambda one: one.judged, default=None)


def save_state(folder: Path, state: State, nets: Nets, optimizer: torch.optim.Optimizer) -> None:
    """Write the checkpoint of a step, and delete those that are neither new nor the best."""
    tensors: dict[str, Tensor] = {f"lora.{name}": parameter.detach() for name, parameter in nets.learning.items()}
    plain: dict[str, Any] = {}
    for number, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            if isinstance(value, Tensor):
                tensors[f"moment.{number}.{key}"] = value
            else:
                plain[f"{number}.{key}"] = value
    told = {"state": json.dumps(asdict(state)), "plain": json.dumps(plain)}
    content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata=told)
    write_bytes(path_of(folder, state.step), content)
    stay = {state.best.step} if state.best else set[int]()
    for old in steps_of(folder)[:-KEPT]:
        if old not in stay:
            path_of(folder, old).unlink()


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:07d}.safetensors"


def steps_of(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, ascending."""
    names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in folder.glob("step-*.safetensors"))
    return sorted(int(name[1]) for name in names if name)


def load_state(folder: Path, steps: Sequence[int], nets: Nets, optimizer: torch.optim.Optimizer) -> State:
    """Take up the newest of these checkpoints that is whole; a new state where there is none."""
    for step in sorted(steps, reverse=True):
        try:
            told, tensors = _read(path_of(folder, step))
        except (OSError, SafetensorError):
            continue  # a disk that failed; the one before goes
        nets.take({name.removeprefix("lora."): tensor for name, tensor in tensors.items() if name.startswith("lora.")})
        _restore(optimizer, tensors, json.loads(told["plain"]))
        kept = json.loads(told["state"])
        return State(**{**kept, "epochs": [Epoch(**one) for one in kept["epochs"]]})
    return State()


def factors_at(folder: Path, step: int) -> dict[str, Tensor]:
    """The LoRA's factors as they were after a step of which there is a checkpoint."""
    _, tensors = _read(path_of(folder, step))
    return {name.removeprefix("lora."): tensor for name, tensor in tensors.items() if name.startswith("lora.")}


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    whole = optimizer.state_dict()
    moments: dict[int, dict[str, Any]] = {}
    for name, value in [
        *plain.items(),
        *((name.removeprefix("moment."), it) for name, it in tensors.items() if name.startswith("moment.")),
    ]:
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**whole, "state": moments})
