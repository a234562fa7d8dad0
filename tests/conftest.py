"""What all tests share: the photographs beside the project, the embedded engine's networks, its worker, and the rule for skips in CI."""

import csv
import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
# Test processes share the cores already; torch's further threads spin while they wait for one, and tiny networks gain nothing by them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from model_cache import embedded
from model_cache.errors import BrokenModel
from pipeline import service, settings
from tests.support import quick
from tests.support import torchvision_shim as _shim  # noqa: F401 - before anything that imports torchvision
from tests.support.s3_service import s3_service

__all__ = ["s3_service"]

PHOTOS = Path(__file__).parents[2] / "shared" / "photos"
#: The folder of the embedded engine's networks, and why tests with the marker `networks` are skipped where it does not hold both.
NETWORKS = Path(os.environ.get(embedded.VARIABLE) or embedded.DEFAULT).resolve()
NO_NETWORKS = "the embedded engine's networks are not here"


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photographs with hand-made masks; they are not part of the project."""
    if not PHOTOS.is_dir():
        pytest.skip("the photographs of ../shared/photos are not here")
    return PHOTOS


@pytest.fixture(scope="session")
def vehicles(photos: Path) -> dict[str, list[float]]:
    """File name → vehicle box, for the photographs that show a vehicle."""
    rows = csv.DictReader((photos / "index.csv").open())
    return {r["file"]: [float(v) for v in r["vehicle_bbox"].split(",")] for r in rows if r["vehicle_bbox"]}


@cache
def has_networks() -> bool:
    """Whether both networks are here."""
    try:
        return set(embedded.served(NETWORKS)) == set(embedded.networks())
    except BrokenModel:
        return False


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the networks where they are not here."""
    if item.get_closest_marker("networks") is not None and not has_networks():
        pytest.skip(NO_NETWORKS)


def without_networks(reporter: pytest.TerminalReporter) -> int:
    """How many tests were skipped for want of the networks."""
    return sum(NO_NETWORKS in str(report.longrepr) for report in reporter.stats.get("skipped", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI tests that were skipped for want of the networks are a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and os.environ.get("CI") == "true" and without_networks(reporter) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last how many tests were skipped for want of the networks, and what brings them."""
    if count := without_networks(terminalreporter):
        terminalreporter.write_line(f"{count} tests were skipped, because {NO_NETWORKS}; {embedded.FETCH} brings them.", yellow=True)


@pytest.fixture(scope="session")
def tiny_volume(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A complete model volume of tiny random models, built once a run and shared by all workers. Never write into it: `copy_volume`."""
    from tests.support import tiny_volume as volumes

    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder, done = shared / "tiny_volume", shared / "tiny_volume.done"
    with (shared / "tiny_volume.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            volumes.build(folder)
            done.touch()
    return folder


@pytest.fixture(scope="module")
def small_windows() -> Iterator[None]:
    """LaMa, which is as large as the published one, is shown 256 pixels of a hole's surroundings at most: a sixteenth of the work."""
    from pipeline.phase1_sanitize import inpaint_neural

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inpaint_neural, "LARGEST_WINDOW", 256)
        patch.setattr(inpaint_neural, "LEAN_WINDOW", 128)
        yield


@pytest.fixture(scope="session")
def engine() -> service.Worker:
    """A worker with the classical engine, no bucket, no environment of this machine."""
    return service.start(settings.environment({"ENGINE": "classical", embedded.VARIABLE: str(NETWORKS)}), settings.load())


@pytest.fixture
def worker(engine: service.Worker, tmp_path: Path) -> service.Worker:
    """The same worker with an output folder of its own."""
    environment = settings.environment({"ENGINE": "classical", "OUTPUT_DIR": str(tmp_path / "out"), embedded.VARIABLE: str(NETWORKS)})
    return service.Worker(environment, engine.settings, engine.steps, None)


@pytest.fixture
def quick_worker(worker: service.Worker) -> service.Worker:
    """The same for tests that do not look at the drawing: it has a sixteenth of the pixels."""
    return replace(worker, settings=settings.load(quick.CONFIG))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of this machine reaches a test, but for where the networks are."""
    for name in os.environ:
        if name.lower() in settings.Environment.model_fields or name.startswith("RUNPOD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(embedded.VARIABLE, str(NETWORKS))


#: What takes longest is begun first, so that no process works alone at the end.
LONG = (
    "worker",
    "server",
    "batch",
    "test_neural.py",
    "builder",
    "model_cache",
    "shell",
    "bench",
    "test_secrets.py",
    "test_handler.py",
    "test_service.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of `LONG` before all others."""
    items.sort(key=lambda item: item.path.relative_to(Path(__file__).parent).parts[0] not in LONG)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a skip is a failure, unless it says which network, card or photographs are missing."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(word in reason for word in ("network", "GPU", "../shared")):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI: {reason}"
