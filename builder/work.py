"""The commands that change a volume, one function each; `__main__` is their shell."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from builder.choose import Choice, choose
from builder.errors import BuilderError, WrongOption, writing
from builder.fetch import Task, fetch, make_again
from builder.place import recover, take_away
from builder.sources import Hub, hub_of_environment
from builder.tell import Tell, voices
from builder.transfer import Patience
from builder.workspace import Workspace, only_builder
from model_cache.catalogue import Model
from model_cache.needed import TEXT
from model_cache.volume import Volume


def convert_model(model: Model, sources: Path, out: Path) -> str:
    """`builder.convert.convert`, imported when the first model is converted: torch takes seconds."""
    from builder.convert import convert  # noqa: PLC0415

    return convert(model, sources, out)


@contextmanager
def at_work(choice: Choice, hub: Hub | None = None) -> Iterator[Task]:
    """The volume for this builder alone, with what a killed one left brought to its end."""
    with only_builder(choice.volume) as workspace, voices(Console()) as (tell, meter):
        with writing("what the builder before left"):
            recover(workspace, tell)
        yield Task(workspace, choice.catalogue, convert_model, hub or Hub(), tell, meter, patience=Patience(tell=tell))


def fill(choice: Choice, folder: Path | None, jobs: int, update: frozenset[str], keep_downloads: bool, check: bool) -> None:
    """Fetch or import the choice, then make the prompt's embeddings and let the text encoders go unless they are to stay."""
    hub = Hub() if folder is not None else hub_of_environment()
    _check_folder(folder)
    with at_work(choice, hub) as task:
        fetch(replace(task, jobs=jobs, folder=folder, update=update, keep_downloads=keep_downloads, check=check), choice.to_serve)
        _prompt(choice, task.workspace, task.tell)


def convert_again(choice: Choice, folder: Path | None) -> None:
    """Make the choice's models again from the downloads that were kept, or from a folder; nothing is fetched."""
    _check_folder(folder)
    with at_work(choice) as task:
        make_again(replace(task, folder=folder, keep_downloads=folder is None), choice.to_serve)
        _prompt(choice, task.workspace, task.tell)


def add_style(volume: Path, config: Path | None, file: Path, name: str | None, trigger: str | None) -> None:
    """Install a style; where the prompt in force changes by it, make the stored embeddings anew, with the text encoders that are there or
    are fetched for it."""
    from builder.add_style import add_style as install  # noqa: PLC0415 - imports torch

    with only_builder(volume), voices(Console()) as (tell, _):
        tell(str(install(volume, file, name, trigger, tell)))
    choice = choose(volume, config, None, False, False)
    stored = Volume(volume, choice.catalogue).prompts()
    if TEXT not in choice.names or stored is None or choice.has_prompts:
        return
    kept = Workspace(volume).model(TEXT).is_dir()
    try:
        fill(replace(choice, names=(TEXT,), keep_text=kept), None, 4, frozenset(), False, False)
    except BuilderError as error:
        told = "The style is installed, and the prompt's embeddings are not yet those of its trigger; python -m builder fetch makes them."
        raise BuilderError(f"{told} {error.sentence}") from error


def _prompt(choice: Choice, workspace: Workspace, tell: Tell) -> None:
    """The embeddings of the default prompt, where they are lacking; encoders that were needed for nothing else go."""
    if TEXT not in choice.names or choice.has_prompts:
        return
    from builder.prompts import make  # noqa: PLC0415 - imports torch

    make(choice.volume, *choice.prompt, tell)
    if not choice.keep_text:
        with writing(f"the removal of {TEXT}"):
            take_away(workspace, TEXT)
        tell(f"{TEXT}: removed, the prompt's embeddings are made (--text keeps it)")


def _check_folder(folder: Path | None) -> None:
    if folder is not None and not folder.is_dir():
        raise WrongOption(f"There is no folder {folder} to import from.")
