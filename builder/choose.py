"""Which models a deployment needs: read from the pipeline's settings, which are data, or named by the user."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, WrongOption
from model_cache import styles
from model_cache.catalogue import Model, load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.needed import FAST_LORA, TEXT, Chosen
from model_cache.needed import needed as model_names
from model_cache.volume import Volume
from pipeline.settings_file import SettingsError, merged, read_file
from pipeline.variables import variable

_DEFAULTS = Path(__file__).parents[1] / "pipeline" / "defaults.yaml"


def catalogue_of(volume: Path) -> Mapping[str, Model]:
    """The catalogue with the volume's own changes. Raises `BuilderError`."""
    own = volume / "catalogue.yaml"
    try:
        return load_catalogue(own if own.is_file() else None)
    except (ValueError, OSError) as error:
        raise BuilderError(f"{error}.") from error


def settings_of(config: Path | None) -> dict[str, Any]:
    """The pipeline's defaults, changed by the deployment's file: `config`, else PIPELINE_CONFIG. Raises `BuilderError`."""
    said = variable("PIPELINE_CONFIG")
    named = config or (Path(said) if said else None)
    try:
        settings = read_file(_DEFAULTS)
        return dict(settings) if named is None else merged(settings, read_file(named))
    except SettingsError as error:
        raise BuilderError(str(error)) from error


def needed(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that the neural engine uses under these settings, in the order of use; a step set to `classical` needs none.

    With drawing also the few-step LoRA, and last the text encoders, which make the prompt's embeddings.
    """
    steps, draw = settings["steps"], settings["phase2"]
    neural = [step for step in ("find", "matte", "mask", "inpaint", "draw", "upscale") if steps.get(step, "auto") != "classical"]
    first, second = settings["phase0"], settings["phase1"]
    chosen = Chosen(second["detector"], first["matte"], second["segmenter"], draw["depth"], draw["controlnet"]["nets"])
    names = model_names(neural, chosen)
    return (*names, FAST_LORA, TEXT) if "draw" in neural else names


@dataclass(frozen=True, slots=True)
class Choice:
    """The models to work on, in the order of use. `keep_text`: the text encoders are to stay on the volume. `prompt`: the default prompt
    and its negative as the drawing is told them, the style's trigger included: the volume is to hold their embeddings."""

    volume: Path
    catalogue: Mapping[str, Model]
    names: tuple[str, ...]
    keep_text: bool
    prompt: tuple[str, str]

    @property
    def to_serve(self) -> tuple[str, ...]:
        """Those that must be there now: the text encoders only while they are to stay, or the prompt's embeddings are lacking."""
        spared = not self.keep_text and self.has_prompts
        return tuple(name for name in self.names if name != TEXT or not spared)

    @property
    def has_prompts(self) -> bool:
        """Whether the embeddings of exactly these prompts are there, so that the text encoders need not be."""
        return Volume(self.volume, self.catalogue).has_prompts(self.prompt)


def choose(volume: Path, config: Path | None, only: str | None, everything: bool, text: bool) -> Choice:
    """The models to work on: `only` (names separated by commas), all of the catalogue, or those that the settings need; with `text` the
    text encoders stay, as they do where they are named.

    Raises `BuilderError` for a name that the catalogue has not, and for settings that cannot be read.
    """
    catalogue, settings = catalogue_of(volume), settings_of(config)
    try:
        names, prompt = needed(settings), prompt_of(settings, Volume(volume, catalogue))
    except (KeyError, TypeError) as error:
        raise BuilderError(f"The settings file does not have the form of the pipeline's defaults ({error}).") from error
    if everything:
        names = tuple(catalogue)
    elif only is not None:
        names = named(catalogue, only)
    elif unknown := [name for name in names if name not in catalogue]:
        raise BuilderError(f"The settings name {', '.join(unknown)}, which the catalogue has not.")
    if text and TEXT not in names:
        names = (*names, TEXT)
    asked_for = everything or (only is not None and TEXT in names)
    return Choice(volume, catalogue, names, text or asked_for, prompt)


def named(catalogue: Mapping[str, Model], text: str) -> tuple[str, ...]:
    """Names separated by commas, each once. Raises `WrongOption` for a name that is not in the catalogue, and for an empty list."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in catalogue]:
        raise WrongOption(f"The catalogue has no {', '.join(unknown)}; it has {', '.join(catalogue)}.")
    if not names:
        raise WrongOption(f"No model is named; the catalogue has {', '.join(catalogue)}.")
    return names


def prompt_of(settings: Mapping[str, Any], volume: Volume) -> tuple[str, str]:
    """The default prompt with the style's trigger, and its negative. While a style is missing, broken or one of several there is no
    trigger to be told; serving refuses such a volume."""
    sdxl, prompt = settings["phase2"]["sdxl"], str(settings["phase2"]["sdxl"]["prompt"])
    with suppress(MissingModels, BrokenModel):
        prompt = styles.in_force(volume.style(settings["phase2"]["lora"]["file"]), prompt)
    return prompt, str(sdxl["negative_prompt"])
