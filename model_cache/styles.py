"""What is known of a style LoRA beside its factors: the words that it answers to, and how its trainer scaled it. No torch.

`VOLUME/styles/NAME.style.json` beside `NAME.safetensors`, written by `builder add-style`:
`{"trigger": "<words>", "adapter": {"r": 32, "lora_alpha": 16, …}}`. Without it the file's own metadata say it, where they do.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_cache.errors import BrokenModel
from model_cache.headers import read_metadata

#: Most characters of a trigger: more would leave a prompt no room in the text encoders' 77 tokens.
LONGEST_TRIGGER = 200
#: Where tools write a trigger as such: the ModelSpec standard (sd-scripts, SwarmUI), and the model card of diffusers' training scripts.
_PLAIN_KEYS = ("modelspec.trigger_phrase", "instance_prompt")
#: What of a PEFT configuration says how strong the factors are (peft.LoraConfig).
ADAPTER_KEYS = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")


@dataclass(frozen=True, slots=True)
class Beside:
    """`trigger`: the words that a style answers to, empty where it is said to need none, None where nothing is known. `adapter`: what
    PEFT's adapter_config.json said of rank and alpha (`ADAPTER_KEYS`), None where it was not there."""

    trigger: str | None = None
    adapter: Mapping[str, Any] | None = None


def sidecar(style: Path) -> Path:
    """Where what is known of a style lies."""
    return style.with_suffix(".style.json")


def beside(style: Path) -> Beside:
    """What is known of an installed style. Raises `BrokenModel` for a file beside it that is not of this form."""
    path = sidecar(style)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        trigger, adapter = said["trigger"], said.get("adapter")
        if not isinstance(trigger, str | None) or not isinstance(adapter, dict | None):
            raise TypeError
        return Beside(trigger if trigger is None else clean(trigger), adapter)
    except FileNotFoundError:
        return Beside(trigger_of(metadata_of(style)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BrokenModel(f"styles/{path.name}", "it does not say a style's trigger; python -m builder add-style writes it anew") from error


def metadata_of(style: Path) -> dict[str, str]:
    """The metadata of a LoRA file; none where it cannot be read, which whoever reads its factors tells."""
    try:
        return read_metadata(style)
    except (OSError, ValueError):
        return {}


def clean(trigger: str) -> str:
    """A trigger on one line. Raises `ValueError` with the reason for one that cannot be used."""
    words = " ".join(trigger.split()).strip(" ,")
    if len(words) > LONGEST_TRIGGER:
        raise ValueError(f"a trigger has at most {LONGEST_TRIGGER} characters, this one has {len(words)}")
    if not words.isprintable():
        raise ValueError("a trigger is printable text")
    return words


def trigger_of(metadata: Mapping[str, Any]) -> str | None:
    """The trigger that a LoRA's metadata name: outright, else as the tag that every training picture has. None where they name none."""
    for key in _PLAIN_KEYS:
        found = metadata.get(key)
        if isinstance(found, str) and (trigger := _usable(found)):
            return trigger
    return _usable(_common_tag(metadata) or "")


def _usable(text: str) -> str | None:
    try:
        return clean(text) or None
    except ValueError:
        return None


def _common_tag(metadata: Mapping[str, Any]) -> str | None:
    """sd-scripts' `ss_tag_frequency`, {folder: {tag: pictures that have it}}, in the order of the captions: the first tag that all pictures
    of all folders have. How many pictures there are `ss_dataset_dirs` says; the output's name is no trigger."""
    try:
        folders = {name: tags for name, tags in json.loads(metadata["ss_tag_frequency"]).items() if tags}
        told = json.loads(metadata.get("ss_dataset_dirs", "{}"))
        counts = {name: int(told.get(name, {}).get("img_count", 0)) or max(tags.values()) for name, tags in folders.items()}
        first: Mapping[str, int] = next(iter(folders.values()), {})
        common = (tag for tag in first if all(tags.get(tag, 0) >= counts[name] for name, tags in folders.items()))
        return next(common, None)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def prompted(trigger: str | None, prompt: str) -> str:
    """The prompt with the trigger in front; unchanged where it holds the trigger already, or there is none."""
    if not trigger or re.search(_whole(trigger), prompt, re.IGNORECASE):
        return prompt
    return f"{trigger}, {prompt}" if prompt.strip() else trigger


def _whole(trigger: str) -> str:
    """The trigger as words of their own: "car" is not in "scarlet"."""
    before, after = (r"(?<!\w)" if trigger[0].isalnum() else "", r"(?!\w)" if trigger[-1].isalnum() else "")
    return f"{before}{re.escape(trigger)}{after}"


def in_force(style: Path | None, prompt: str) -> str:
    """The prompt as the drawing is told it with this style, None without one. Raises `BrokenModel`."""
    return prompt if style is None else prompted(beside(style).trigger, prompt)
