"""What a training is asked for, and what it tells while it works. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

#: Told what happens: the kind of event, and its fields (plain values).
Hear: TypeAlias = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """A training's numbers; the defaults are those of SDXL's usual LoRA trainings.

    `trigger` stands before every caption. `rate` and `decay` are AdamW's. `gamma` bounds the weight of easy timesteps (min-SNR, Hang and
    others, 2023); 0 weighs all alike. `noise_offset` lets pictures be darker and brighter than noise is. `mirror`: each epoch shows a pair
    as it is or mirrored. `held_back` is the share of the pairs that is not trained with and judges; training ends when it has not judged
    better for `patience` epochs.
    """

    trigger: str = "<flt_vctr_style>"
    licence: str = "not stated"
    rank: int = 32
    alpha: float = 16.0
    rate: float = 1e-4
    decay: float = 1e-2
    epochs: int = 10
    patience: int = 3
    seed: int = 42
    gamma: float = 5.0
    noise_offset: float = 0.0
    mirror: bool = True
    held_back: float = 0.2

    def data(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)
