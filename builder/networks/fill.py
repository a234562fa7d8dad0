"""Filling the folder of the embedded networks: each source in turn until one has a network, then written, placed and recorded."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from builder.errors import BuilderError, VolumeFull, WrongOption, writing
from builder.networks.children import run
from builder.networks.throwaway import WRITING, python_with
from builder.networks.ways import Brought, Task, ways
from builder.place import Origin, discard_downloads, empty_stage, place, record_stage, records_of, recover, save_records
from builder.tell import Tell, size, voices
from builder.transfer import Patience, Stopped
from builder.workspace import Workspace, only_builder
from model_cache import embedded
from model_cache.embedded import FETCH, ISNET, VARIABLE, Network
from model_cache.errors import BrokenModel
from model_cache.manifest import LOCK, ModelRecord, SourceRecord, digest, read_lock, record_of

#: The module that writes each network out of its published file.
WRITERS = {ISNET: "builder.networks.write_isnet", embedded.EFFICIENTNET: "builder.networks.write_efficientnet"}
_ROOT = Path(__file__).parents[2]


def fill(folder: Path, paths: Sequence[Path], check: bool) -> None:
    """Bring every network that the folder lacks; `paths`: the user's own files; `check`: hash what is there, too.

    Raises `BuilderError` with what to do when one could not be had from any source, `WrongOption` for a path that is not there.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise WrongOption(f"There is no {missing[0]} to import from.")
    with voices(Console()) as (tell, meter):
        todo = [network for network in embedded.networks().values() if not _settled(folder, network, check, tell)]
        if not todo and not _left(folder):
            return
        _usable(folder)
        with only_builder(folder) as workspace, _scratch(workspace, tell):
            patience = Patience(attempts=2, tell=tell)
            task = Task(workspace, tuple(paths), tell, meter, patience, _once(partial(_writing_python, workspace, tell, patience)))
            try:
                failed = [network.name for network in todo if not _bring(task, network)]
            except VolumeFull as error:
                raise VolumeFull(
                    f"{folder} is full. Nothing that was complete has changed; make room and run the same command again."
                ) from error
            except BaseException:
                patience.stop.set()
                raise
            for network in embedded.networks().values():
                if network.name not in failed:
                    discard_downloads(workspace, network.name)
    if failed:
        raise BuilderError(
            f"{' and '.join(failed)} could not be had from any source; the lines above say why. "
            f"On a machine that has them, {FETCH} fills a folder; here {FETCH} --from THAT_FOLDER takes them from it (docs/models.md)."
        )


def _settled(folder: Path, network: Network, check: bool, tell: Tell) -> bool:
    """Whether a network needs nothing; tells what is wrong with it."""
    record = embedded.stamps(folder).get(network.name)
    try:
        found = embedded.find(folder, network, None if check else record)
    except BrokenModel as error:
        tell(f"{network.name}: {error.reason}")
        return False
    if found is None:
        return False
    if embedded.is_recorded(found.path, record):
        tell(f"{network.name}: complete")
        return True
    if not os.access(folder, os.W_OK):
        tell(f"{network.name}: complete; its time stamp cannot be recorded here, so that each start hashes it")
        return True
    return False


def _left(folder: Path) -> bool:
    """Whether a killed builder left anything that can be removed."""
    workspace = Workspace(folder)
    homes = (workspace.scratch, *(workspace.root / name for name in ("staged", "old", "downloads")))
    return os.access(folder, os.W_OK) and any(home.is_dir() and any(home.iterdir()) for home in homes)


def _usable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuilderError(f"{folder} cannot be made ({error.strerror}); set {VARIABLE} to a folder that can be written.") from error
    if not os.access(folder, os.W_OK):
        raise BuilderError(f"{folder} cannot be written; set {VARIABLE} to a folder that can.")


@contextmanager
def _scratch(workspace: Workspace, tell: Tell) -> Iterator[None]:
    """The workspace with what a killed builder left brought to its end, and its scratch folder for as long as the work lasts."""
    with writing("what the builder before left"):
        try:
            read_lock(workspace.volume)
        except BrokenModel as error:  # only contents decide here, and the record is made again from them
            tell(f"{error}; it is written anew")
            (workspace.volume / LOCK).unlink()
        recover(workspace, tell)
        workspace.scratch.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(workspace.scratch, ignore_errors=True)


def _once(make: Callable[[], Path]) -> Callable[[], Path]:
    """`make`, called at most once, its error kept like its answer."""
    kept: list[Path | BuilderError] = []

    def answer() -> Path:
        if not kept:
            try:
                kept.append(make())
            except BuilderError as error:
                kept.append(error)
        if isinstance(kept[0], BuilderError):
            raise kept[0]
        return kept[0]

    return answer


def _writing_python(workspace: Workspace, tell: Tell, patience: Patience) -> Path:
    tell("onnx, which writes the networks: into an environment that is thrown away")
    return python_with(WRITING, workspace.scratch / "writing", patience)


def _bring(task: Task, network: Network) -> bool:
    """Try each way in turn until the network is in its place; tells why one did not work."""
    if _recorded_anew(task, network):
        return True
    for told, way in ways(task, network):
        try:
            brought = way()
            if brought is not None:
                _place(task, network, brought)
                return True
        except (VolumeFull, Stopped):
            raise
        except BuilderError as error:
            task.tell(f"{network.name}: {told}: {error.sentence}")
    return False


def _recorded_anew(task: Task, network: Network) -> bool:
    """Record a file that has the right content and not the recorded stamp; whether there was one."""
    folder = task.workspace.volume
    try:
        found = embedded.find(folder, network, None)
    except BrokenModel:
        return False  # `fill` has told it
    if found is None:
        return False
    source = next(form.source for form in network.forms if form.sha256 == found.sha256)
    record = ModelRecord(source=source.shown, revision=source.sha256, sources={}, files={network.file: record_of(found.path)})
    save_records(folder, {**records_of(folder), network.name: record})
    task.tell(f"{network.name}: complete; its content is right, and recorded now")
    return True


def _place(task: Task, network: Network, brought: Brought) -> None:
    """Make the file that is served, prove it and put it in place."""
    workspace, form = task.workspace, brought.form
    stage = empty_stage(workspace, network.name)
    file = stage / network.file
    content = digest(brought.path)
    if content == form.sha256:
        with writing(network.file):
            shutil.copyfile(brought.path, file)
    else:
        _write(task, network, brought.path, file)
    if digest(file) != form.sha256:
        raise BuilderError(f"what was written is not {network.file} as it is pinned (sha256 {digest(file)} instead of {form.sha256}).")
    # Whole seconds: a layer of an image keeps no more, and another stamp would cost every start the hashing.
    now = int(time.time())
    os.utime(file, (now, now))
    published = {Path(form.source.path or network.file).name: SourceRecord(size=brought.path.stat().st_size, sha256=content)}
    as_it_was = content == form.sha256 and not form.as_published
    origin = Origin(
        form.source.shown, form.source.sha256, {} if as_it_was else published, "" if form.as_published else "ONNX, float32 arithmetic"
    )
    record = record_stage(workspace, network.name, [network.file], origin)
    discard_downloads(workspace, network.name)
    place(workspace, network.name)
    task.tell(f"{network.name}: complete, {size(record.files[network.file].size)} ({form.source.shown})")


def _write(task: Task, network: Network, published: Path, out: Path) -> None:
    """Have the network written in an environment that has onnx; this process never imports it."""
    python = task.python()
    task.tell(f"{network.name}: writing")
    command: list[str | Path] = [python, "-m", WRITERS[network.name], published, out]
    ended = run(command, task.patience, task.workspace.scratch, {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"})
    if ended.status != 0 or not out.is_file():
        last = (ended.said.strip().splitlines() or ["it does not say why"])[-1]
        raise BuilderError(f"it could not be written: {last}.")
