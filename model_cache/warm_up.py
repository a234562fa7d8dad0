"""From a cold volume to networks that are ready: files checked and read ahead in the order of use, networks built meanwhile.

A job need not wait for the end: `ModelCache.take` waits for the models that it is asked for, and for no other. What is wrong with a model
is kept and raised, by the model's name, to whoever asks for it.
"""

import contextlib
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

import structlog

from model_cache.catalogue import Model
from model_cache.errors import BrokenModel
from model_cache.headers import read_header
from model_cache.manifest import ModelRecord, digest, read_lock, suspects
from model_cache.reading import Read, ReadAhead, Stopped, pread
from model_cache.volume import Volume

if TYPE_CHECKING:
    from model_cache.cache import ModelCache

log = structlog.get_logger()

#: Model → its files of which only the time stamp is another than the recorded one.
Changed = Mapping[str, Sequence[str]]


def check(volume: Volume, names: Iterable[str]) -> Changed:
    """Refuse what can be told without reading the weights: sizes, time stamps, headers, JSON.

    What is returned must be hashed before it is trusted (`WarmUp` does); a model without a record has no hash to compare with.
    Raises `MissingModels`, `BrokenModel`.
    """
    names = tuple(names)
    volume.require(names)
    records = read_lock(volume.path)
    changed = {}
    for name in names:
        if name in records and volume.is_own(name):
            changed[name] = _changed(volume, name, records[name])
        for file in volume.catalogue[name].files:
            _check_form(volume, name, file)
    return {name: files for name, files in changed.items() if files}


def _changed(volume: Volume, name: str, record: ModelRecord) -> tuple[str, ...]:
    found = suspects(volume.path, name, record)
    for file, difference in found.items():
        path = volume.file(name, file)
        if not path.is_file() or path.stat().st_size != record.files[file].size:
            raise BrokenModel(name, f"{file}: {difference}")
    return tuple(found)


def _check_form(volume: Volume, name: str, file: str) -> None:
    path = volume.file(name, file)
    try:
        if file.endswith(".safetensors"):
            read_header(path)
        elif file.endswith(".json"):
            json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error) if file.endswith(".safetensors") else f"{file} is not JSON"
        raise BrokenModel(name, reason) from error


def read_ahead(volume: Volume, names: Iterable[str], read: Read = pread) -> ReadAhead:
    """The reading of all files of the models, not yet started."""
    return ReadAhead({name: [volume.file(name, file) for file in volume.catalogue[name].files] for name in names}, read=read)


class WarmUp:
    """Builds the models of a cache while their files are being read. `close` ends both and leaves no thread behind."""

    def __init__(
        self,
        cache: "ModelCache",
        names: Sequence[str],
        reading: ReadAhead,
        changed: Changed,
        last: Callable[[], None] | None = None,
        told: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`names` in the order of use, all in `reading`, which was started; `last`: done when all models are there, unless one failed.

        Whoever waits gets `MissingModels` and `BrokenModel` through `told`, in which a caller may turn them into errors of its own.
        """
        self._cache, self._names, self._reading, self._changed, self._last, self._told = cache, tuple(names), reading, changed, last, told
        self._arrivals: dict[str, Future[None]] = {name: Future() for name in self._names}
        self._ended: Future[None] = Future()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._build, name="warm-up", daemon=True)

    def start(self) -> Self:
        """Begin to build; returns at once. From here on the cache waits for the models that are to come."""
        self._cache.expect(self._arrivals)
        self._thread.start()
        return self

    def first(self) -> None:
        """Wait until the first model is ready. Raises what is wrong with it."""
        self.wait(self._names[:1])

    def join(self) -> None:
        """Wait until all are, and until `last` is done. Raises what is wrong with the first of them, and what `last` raised."""
        self.wait(self._names)
        self._thread.join()
        if self._ended.done():
            self._ended.result()

    def wait(self, names: Iterable[str]) -> None:
        """Wait until these models are ready. Raises what is wrong with the first of them that has something wrong."""
        with self._told():
            for name in names:
                self._arrivals[name].result()

    def close(self) -> None:
        """End reading and building, after the model under way. What had not arrived is read by whoever takes it."""
        self._stopped.set()
        self._reading.close()
        if self._thread.ident is not None:
            self._thread.join()
        for future in self._arrivals.values():
            future.cancel()

    def _build(self) -> None:
        start = time.perf_counter()
        for name in self._names:
            if self._stopped.is_set():
                return
            try:
                self._arrive(name)
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001 - it is kept for whoever takes the model
                log.error("model_failed", model=name, error=str(error))
                self._arrivals[name].set_exception(error)
            else:
                self._arrivals[name].set_result(None)
        failed = [name for name, future in self._arrivals.items() if future.exception()]
        log.info("warm_up_done", seconds=round(time.perf_counter() - start, 3), models=len(self._names), failed=failed)
        if self._last is not None and not failed and not self._stopped.is_set():
            self._end(self._last)

    def _end(self, last: Callable[[], None]) -> None:
        try:
            last()
        except BaseException as error:
            log.error("warm_up_ended_badly", exc_info=error)
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    def _arrive(self, name: str) -> None:
        self._import_meanwhile(name)
        try:
            self._reading.wait(name)
        except OSError as error:
            raise BrokenModel(name, f"it cannot be read ({error.strerror})") from error
        if files := self._changed.get(name):
            _hash(self._cache.volume, name, files)
        self._cache.arrive(name)

    def _import_meanwhile(self, name: str) -> None:
        """While a model is being read: the libraries, which take seconds, in the order of use. In this thread alone, because imports of
        the same library in two threads can meet half-made modules."""
        for model in map(self._cache.volume.catalogue.__getitem__, self._names):
            if self._stopped.is_set() or self._reading.has(name):
                return
            with contextlib.suppress(ImportError, AttributeError):  # the building of that model will raise it again
                _import_for(model)


def _hash(volume: Volume, name: str, files: Sequence[str]) -> None:
    """Compare content with the record, of files whose time stamp is another. Raises `BrokenModel`."""
    known = read_lock(volume.path)[name].files
    for file in files:
        start = time.perf_counter()
        if digest(volume.file(name, file)) != known[file].sha256:
            raise BrokenModel(name, f"{file} has another content than the one that was verified")
        log.warning("model_file_hashed", model=name, file=file, seconds=round(time.perf_counter() - start, 3))


def _import_for(model: Model) -> None:
    if model.kind in ("transformers", "diffusers"):  # both import a class's module when it is asked for
        library = importlib.import_module(model.kind)
        getattr(library, str(model.network))
        if model.processor:
            getattr(library, model.processor)
    elif model.kind == "sdxl-text":
        getattr(importlib.import_module("transformers"), "CLIPTextModel")  # noqa: B009 - imports its module
    elif model.kind == "spandrel":
        importlib.import_module("spandrel")
    elif model.kind == "birefnet":
        importlib.import_module("model_cache.birefnet")
