"""One loader for each kind of file on the volume."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network of transformers and what makes its inputs."""

    model: Any
    processor: Any


@dataclass(frozen=True, slots=True)
class Text:
    """SDXL's two text encoders with their tokenizers."""

    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any
