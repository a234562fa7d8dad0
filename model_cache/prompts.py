"""Prompt embeddings: computed once, kept on the volume, so that serving the default prompt needs no text encoder (1.6 GB)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model_cache.errors import BrokenModel
from model_cache.loaders import Text

#: What `encode` gives and a file of prompts holds.
NAMES = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


def encode(text: Text, prompt: str, negative_prompt: str, device: torch.device | str) -> dict[str, Tensor]:
    """SDXL's conditioning of a prompt and its negative: `NAMES` → tensors in the encoders' dtype on `device`.

    (1, 77, 2048) hidden states before the last layer of both encoders side by side, and (1, 1280) the second one's pooled projection;
    a prompt longer than 77 tokens is cut, as in training. Podell et al., SDXL (2023), section 2.1. The encoders must be on `device`.
    """
    hidden, pooled = _encode(text, prompt, device)
    negative_hidden, negative_pooled = _encode(text, negative_prompt, device)
    return dict(zip(NAMES, (hidden, negative_hidden, pooled, negative_pooled), strict=True))


@torch.inference_mode()
def _encode(text: Text, prompt: str, device: torch.device | str) -> tuple[Tensor, Tensor]:
    hidden, pooled = [], None
    for tokenizer, encoder in ((text.tokenizer, text.text_encoder), (text.tokenizer_2, text.text_encoder_2)):
        tokens = tokenizer(prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
        output: Any = encoder(tokens.input_ids.to(device), output_hidden_states=True)
        hidden.append(output.hidden_states[-2])
        pooled = output[0]  # of the second encoder: its projection
    assert pooled is not None
    return torch.cat(hidden, dim=-1), pooled


def write(path: Path, prompt: str, negative_prompt: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep `encode`'s result with the texts that it belongs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: tensors[name].detach().cpu().contiguous() for name in NAMES}
    save_file(kept, path, metadata={"prompt": prompt, "negative_prompt": negative_prompt})
    path.chmod(0o644)  # safetensors makes it 0600, which another user than the builder's, such as the image's, cannot read


def read(path: Path, prompt: str, negative_prompt: str) -> dict[str, Tensor] | None:
    """The embeddings of exactly these texts, on the CPU; None where the file holds those of others. Raises `BrokenModel`."""
    name = f"prompts/{path.name}"
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            if (texts.get("prompt"), texts.get("negative_prompt")) != (prompt, negative_prompt):
                return None
            if missing := set(NAMES) - set(file.keys()):
                raise BrokenModel(name, f"it lacks {', '.join(sorted(missing))}")
            return {key: file.get_tensor(key) for key in NAMES}
    except SafetensorError as error:
        raise BrokenModel(name, f"its header cannot be read ({error})") from error
