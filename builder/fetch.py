"""Filling the volume: each model's sources are brought, several at a time, and as soon as one is complete it is converted and placed."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from builder import local
from builder.errors import BuilderError, VolumeFull, writing
from builder.place import Origin, discard_downloads, empty_stage, place, record_stage, records_of, save_records
from builder.plan import bytes_there, parameters_bytes, served_as_published, state_of
from builder.resolve import resolve
from builder.sources import Hub, Pin, held_pin, is_commit, paths_of, pin_of_record, read_pin, source_of, write_pin
from builder.tell import Meter, Tell, size
from builder.transfer import Patience, Stopped, Wanted, WrongContent, digest_of, fetch_file, open_client
from builder.workspace import Workspace, remove
from model_cache.catalogue import IMPORTED, Model
from model_cache.manifest import FileRecord, ModelRecord, SourceRecord, digest

#: `convert(model, sources, out)` writes the model's files below `out` and says how, in a word or two.
Convert = Callable[[Model, Path, Path], str]
#: Free space that is left alone.
_SPARE = 64 << 20
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Task:
    """How to fetch. `folder`: import from there in place of the network; `update`: models whose source is resolved anew;
    `check`: read the content of what is there, too."""

    workspace: Workspace
    catalogue: Mapping[str, Model]
    convert: Convert
    hub: Hub
    tell: Tell
    meter: Meter
    jobs: int = 4
    folder: Path | None = None
    update: frozenset[str] = frozenset()
    keep_downloads: bool = False
    check: bool = False
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class _Job:
    """A model on its way: its pin and, where it is imported, where its files lie."""

    model: Model
    pin: Pin
    found: local.Found | None


def fetch(task: Task, names: Iterable[str]) -> None:
    """Bring every named model to the state that its pin says; what is complete is not touched.

    Raises `BuilderError` with all that failed, after everything else was done; at once when the volume is full.
    """
    records = records_of(task.workspace.volume)
    todo = [task.catalogue[name] for name in names if not _complete(task, task.catalogue[name], records.get(name))]
    if not todo:
        return
    failures: dict[str, BuilderError] = {}
    with open_client(task.patience) as client, ThreadPoolExecutor(task.jobs, "fetch") as pool:
        try:
            asked = {pool.submit(_job, task, client, model, records.get(model.name)): model.name for model in todo}
            jobs = [job for future, name in asked.items() if (job := _result(future, name, failures)) is not None]
            jobs = [job for job in jobs if not _same(task, job, records.get(job.model.name))]
            _check_space(task, jobs)
            _work(task, client, pool, jobs, failures)
        except BaseException:
            task.patience.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if failures:
        raise BuilderError("\n".join(f"{name}: {error.sentence}" for name, error in failures.items()))


def _result(future: Future[_Value], name: str, failures: dict[str, BuilderError]) -> _Value | None:
    """What a thread brought; None where it failed, which is noted. A full volume ends all work."""
    try:
        return future.result()
    except (VolumeFull, Stopped):
        raise
    except BuilderError as error:
        failures.setdefault(name, error)
        return None


def _complete(task: Task, model: Model, record: ModelRecord | None) -> bool:
    """Whether nothing is to be done; files that have another time stamp but the recorded content are recorded anew."""
    if model.name in task.update:
        return False
    state, _ = state_of(task.workspace.volume, model, record)
    if record is not None and (state == "changed" or (state == "complete" and task.check)):
        return _restamped(task, model, record)
    if state == "complete":
        task.tell(f"{model.name}: complete")
    return state == "complete"


def _restamped(task: Task, model: Model, record: ModelRecord) -> bool:
    home, renewed = task.workspace.model(model.name), dict[str, FileRecord]()
    for file in model.files:
        known, path = record.files.get(file), home / file
        if known is None or not path.is_file() or path.stat().st_size != known.size or digest(path) != known.sha256:
            return False
        renewed[file] = known.model_copy(update={"mtime_ns": path.stat().st_mtime_ns})
    if renewed == dict(record.files):
        task.tell(f"{model.name}: complete, its content is as recorded")
        return True
    records = records_of(task.workspace.volume)
    save_records(task.workspace.volume, {**records, model.name: record.model_copy(update={"files": renewed})})
    task.tell(f"{model.name}: complete; its time stamps had changed, its content has not")
    return True


def _job(task: Task, client: httpx.Client, model: Model, record: ModelRecord | None) -> _Job:
    """The model with its pin: held, or resolved now; kept before the first byte is fetched."""
    workspace = task.workspace
    held = None if model.name in task.update else held_pin(workspace, model, record)
    found = None if task.folder is None else local.find(task.folder, model, held)
    if held is not None and held.covers(model):
        pin = held
    else:
        pin = resolve(model, task.hub, client, held, task.patience) if found is None else local.pin_of(model, found)
    kept = read_pin(workspace, model.name)
    if kept != pin:
        if kept is not None and (kept.source, kept.revision) != (pin.source, pin.revision):
            remove(workspace.downloads(model.name))  # parts of another revision
        with writing(f"the pin of {model.name}"):
            write_pin(workspace, model.name, pin)
    return _Job(model, pin, found)


def _same(task: Task, job: _Job, record: ModelRecord | None) -> bool:
    """Whether an update found the revision that is there already, and it is complete."""
    if record is None or job.model.name not in task.update or job.pin.revision != record.revision:
        return False
    if state_of(task.workspace.volume, job.model, record)[0] != "complete" or (task.check and not _restamped(task, job.model, record)):
        return False
    task.tell(f"{job.model.name}: complete; {record.revision} is still its newest revision")
    return True


def _check_space(task: Task, jobs: list[_Job]) -> None:
    """Raise `VolumeFull` before the first byte when sources and what is made of them cannot fit.

    A conversion to 16 bits is never larger than its source. Downloads go when a model is placed: at any time each model is there
    as its source or as it is served, and one of them as both. An unknown size is estimated from the number of parameters.
    """
    sources = [_source_bytes(job) for job in jobs]
    made = sum(sources) if task.keep_downloads else max(sources, default=0)
    linked = task.folder is not None and task.folder.stat().st_dev == task.workspace.volume.stat().st_dev
    wanted = _SPARE + made + (0 if linked else sum(sources) - sum(_here(task.workspace, job) for job in jobs))
    free = shutil.disk_usage(task.workspace.volume).free
    if wanted > free:
        raise VolumeFull(
            f"The volume has {size(free)} free, and the models need {size(wanted)} for their sources and what is made of them. Nothing was "
            "fetched. Make room (python -m builder prune), or fetch fewer at a time with --only."
        )


def _source_bytes(job: _Job) -> int:
    known = [job.pin.files[path].size for path in paths_of(job.model)]
    return parameters_bytes(job.model) or 0 if None in known else sum(it or 0 for it in known)


def _here(workspace: Workspace, job: _Job) -> int:
    home = workspace.downloads(job.model.name)
    links = {path: served_as_published(workspace, job.model, job.pin, path) for path in paths_of(job.model)}
    return sum(it.stat().st_size if it else bytes_there(home / path) for path, it in links.items())


def _work(task: Task, client: httpx.Client, pool: ThreadPoolExecutor, jobs: list[_Job], failures: dict[str, BuilderError]) -> None:
    """Bring all files; convert and place each model, one at a time, when its last one is here."""
    futures = {pool.submit(_bring, task, client, job, path): (job, path) for job in jobs for path in paths_of(job.model)}
    brought: dict[str, dict[str, SourceRecord]] = {job.model.name: {} for job in jobs}
    for future in as_completed(futures):
        job, path = futures[future]
        name = job.model.name
        record = _result(future, name, failures)
        if record is None:
            continue
        brought[name][path] = record
        if len(brought[name]) == len(paths_of(job.model)):
            try:
                _make(task, job, brought[name])
            except VolumeFull:
                raise
            except BuilderError as error:
                failures[name] = error


def _bring(task: Task, client: httpx.Client, job: _Job, path: str) -> SourceRecord:
    """One source file into the downloads, as its pin says; what is there already is hashed, not fetched."""
    name, expected = job.model.name, job.pin.files[path]
    target, shown = task.workspace.downloads(name) / path, f"{name}/{path}"
    if task.patience.stop.is_set():
        raise Stopped
    if job.found is not None:
        local.bring(job.found.files[path], target, shown)  # anew each time: without hashes the file there may be any
        there = digest_of(target, expected)
        if fault := there.fault(expected):
            target.unlink()
            raise BuilderError(f"{job.found.files[path]} is not what is held of {name}: {fault}. --update {name} takes it all the same.")
        return SourceRecord(size=there.size, sha256=there.sha256.hexdigest())
    if not target.is_file() and (served := served_as_published(task.workspace, job.model, job.pin, path)):
        local.bring(served, target, shown)  # a link: it need not come again, if its hash is right
    if target.is_file():
        there = digest_of(target, expected)
        fault = there.fault(expected)
        if fault is None:
            return SourceRecord(size=there.size, sha256=there.sha256.hexdigest())
        task.tell(f"{shown}: {fault}; it is fetched again")
        target.unlink()
    address, headers = _address(task.hub, job, path)
    try:
        sha256 = fetch_file(Wanted(shown, address, target, expected, headers), client, task.meter, task.patience)
    except WrongContent as error:
        raise BuilderError(f"{error.sentence} If the source has changed on purpose, --update takes its present state.") from None
    count = target.stat().st_size
    task.tell(f"{shown}: fetched, {size(count)}")
    return SourceRecord(size=count, sha256=sha256)


def _address(hub: Hub, job: _Job, path: str) -> tuple[str, dict[str, str]]:
    if job.model.source.url is not None:
        return job.model.source.url, {}
    from huggingface_hub import hf_hub_url  # noqa: PLC0415 - takes a moment

    revision = job.pin.revision if is_commit(job.pin.revision) else "main"
    address = hf_hub_url(source_of(job.model), path, revision=revision, endpoint=hub.endpoint)
    return address, {"Authorization": f"Bearer {hub.token}"} if hub.token else {}


def _make(task: Task, job: _Job, sources: Mapping[str, SourceRecord]) -> None:
    """Convert a model whose sources are here, place it, and let the downloads go."""
    workspace, name = task.workspace, job.model.name
    task.tell(f"{name}: converting")
    pin = job.pin.model_copy(update={"revision": _revision(job, sources)})
    stage = empty_stage(workspace, name)
    with writing(f"the model {name}"):
        converted = task.convert(job.model, workspace.downloads(name), stage)
        record = record_stage(workspace, name, job.model.files, Origin(pin.source, pin.revision, sources, converted))
        write_pin(workspace, name, pin_of_record(record))
        if not task.keep_downloads:
            discard_downloads(workspace, name)
    place(workspace, name)
    task.tell(f"{name}: complete, {size(sum(it.size for it in record.files.values()))} ({record.converted})")


def _revision(job: _Job, sources: Mapping[str, SourceRecord]) -> str:
    """A commit stays; a single file is known by its digest, an imported folder without a commit by that of its files' digests."""
    if job.pin.revision:
        return job.pin.revision
    if job.model.source.url is not None:
        return next(iter(sources.values())).sha256
    text = "".join(f"{sources[path].sha256}  {path}\n" for path in sorted(sources))
    return f"{IMPORTED}{hashlib.sha256(text.encode()).hexdigest()}"


def make_again(task: Task, names: Iterable[str]) -> None:
    """Convert and place models from the downloads that were kept, or from `task.folder`; no network.

    Raises `BuilderError` with all that failed, after everything else was done.
    """
    records, failures = records_of(task.workspace.volume), dict[str, BuilderError]()
    with open_client(task.patience) as client:
        for name in names:
            model = task.catalogue[name]
            try:
                job = _job(task, client, model, records.get(name)) if task.folder else _kept(task.workspace, model, records.get(name))
                _make(task, job, {path: _bring(task, client, job, path) for path in paths_of(model)})
            except VolumeFull:
                raise
            except BuilderError as error:
                failures[name] = error
    if failures:
        raise BuilderError("\n".join(f"{name}: {error.sentence}" for name, error in failures.items()))


def _kept(workspace: Workspace, model: Model, record: ModelRecord | None) -> _Job:
    """The model with its downloads as its source. Raises `BuilderError` where they are not all there."""
    pin, home = held_pin(workspace, model, record), workspace.downloads(model.name)
    missing = [path for path in paths_of(model) if not (home / path).is_file()]
    if missing or pin is None or not pin.covers(model):
        raise BuilderError(
            f"its downloads are not here ({', '.join(missing) or 'of unknown revision'}); "
            "fetch --keep-downloads keeps them, --from names others."
        )
    return _Job(model, pin, None)
