"""What the builder's commands are given: the options that several share, and the volume's folder."""

from pathlib import Path
from typing import Annotated

import typer

from builder.errors import BuilderError, WrongOption
from pipeline.variables import variable

#: Where RunPod mounts a network volume for serverless workers, and the pods' default of this project.
MOUNTS = (Path("/runpod-volume"), Path("/models"))

_VOLUME = typer.Option(
    "--volume", help="The volume's folder (default: MODEL_VOLUME_PATH, else /runpod-volume or /models).", metavar="PATH", show_default=False
)
_ONLY = typer.Option(
    "--only", help="These models alone (default: those that the neural engine needs).", metavar="NAME,…", show_default=False
)
_ALL = typer.Option("--all", help="Every model of the catalogue.")
_TEXT = typer.Option("--text", help="Keep the text encoders (1.6 GB), to serve other prompts than the stored one.")
_CONFIG = typer.Option(
    "--config",
    help="The deployment's settings file, which says what is needed (default: PIPELINE_CONFIG).",
    metavar="FILE",
    show_default=False,
)
_JSON = typer.Option("--json", help="Print one JSON object alone.")
_FROM = typer.Option(
    "--from",
    help="Import in place of fetching: PATH holds NAME/FILES, org--name/FILES, or a hub cache (models--org--name/snapshots/…).",
    metavar="PATH",
    show_default=False,
)
_GIVEN = typer.Option(
    "--from",
    help="Import in place of fetching: PATH holds NAME/FILES, org--name/FILES, or a hub cache (models--org--name/snapshots/…). With "
    "--embedded: a file or a folder, recognised by its content; may be given several times.",
    metavar="PATH",
    show_default=False,
)
_EMBEDDED = typer.Option("--embedded", help="The classical engine's two networks (NETWORKS_PATH; default: .networks beside the code).")

UPDATE = typer.Option("--update", help="Take the present revision of these models.", metavar="NAME,…", show_default=False)
TRIGGER = typer.Option(
    "--trigger",
    help="The words that the style answers to; '' where it needs none (default: as the file's metadata or its trainer's files say).",
    metavar="WORDS",
    show_default=False,
)

Volume = Annotated[Path | None, _VOLUME]
Only = Annotated[str | None, _ONLY]
All = Annotated[bool, _ALL]
Text = Annotated[bool, _TEXT]
Config = Annotated[Path | None, _CONFIG]
Json = Annotated[bool, _JSON]
From = Annotated[Path | None, _FROM]
Given = Annotated[list[Path] | None, _GIVEN]
Embedded = Annotated[bool, _EMBEDDED]


def volume_of(given: Path | None, must_exist: bool = True) -> Path:
    """The volume's folder. Raises `WrongOption` where none is named, `BuilderError` where it is not there."""
    set_ = variable("MODEL_VOLUME_PATH")
    path = given or (Path(set_) if set_ else next((it for it in MOUNTS if it.is_dir()), None))
    if path is None:
        raise WrongOption("No volume is named: give --volume, or set MODEL_VOLUME_PATH.")
    if path.exists() and not path.is_dir():
        raise BuilderError(f"{path} is not a folder.")
    if must_exist and not path.is_dir():
        raise BuilderError(f"There is no folder {path}; fetch makes one.")
    return path.resolve()
