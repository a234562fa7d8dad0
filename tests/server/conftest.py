"""What the server's tests share: one server with an engine, one that only takes jobs, a small photo."""

from collections.abc import Iterator

import pytest

from tests.support.serving import Server, sample_photo, serving


@pytest.fixture(scope="session")
def photo() -> bytes:
    """For quick jobs."""
    return sample_photo(320)


@pytest.fixture(scope="session")
def large() -> bytes:
    """For jobs that take long enough to be interrupted."""
    return sample_photo(640)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an engine that is warm."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        running.ready()
        yield running


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose jobs stay pending: it has no engine."""
    with serving(tmp_path_factory.mktemp("intake"), WORKERS="0") as running:
        yield running


@pytest.fixture
def intake_only(intake: Server) -> Iterator[Server]:
    """The same, without any job."""
    yield intake
    for job in intake.client.get("/api/v1/jobs", params={"limit": 100}).json()["jobs"]:
        assert intake.client.delete(f"/api/v1/jobs/{job['job_id']}").status_code == 204
