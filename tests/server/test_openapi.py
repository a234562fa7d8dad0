"""The API's description, by itself: requests made from it, right and wrong ones, are answered as it says."""

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.serving import QUICK, Server, serving

#: More by hand: `SCHEMATHESIS_EXAMPLES=1000 pytest tests/server/test_openapi.py`, with other requests every time.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))
#: Not asked: a form that fits the schema holds no picture, and its fields are texts that may be read as what they have to be.
EXCLUDED = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("described"), WORKERS="0") as running:
        yield running


@pytest.fixture(scope="module")
def job_id(described: Server, photo: bytes) -> str:
    return described.submit(photo, **QUICK)


def ask(operation: schemathesis.APIOperation, mode: schemathesis.GenerationMode, job_id: str) -> None:
    """Requests for one operation; where there is a job in the path, also for one that there is, which is only read, so that it stays."""
    excluded = [*EXCLUDED, *([not_a_server_error] if operation.path == "/ready" else [])]  # 503 is a good answer there

    @settings(
        max_examples=EXAMPLES or 10,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=excluded)
        # events would be followed for as long as the job waits
        if case.method == "GET" and "job_id" in case.path_parameters and not case.path.endswith("/events"):
            case.path_parameters["job_id"] = job_id
            case.call_and_validate(excluded_checks=excluded)

    answered()


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described(described: Server, job_id: str, mode: schemathesis.GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(str(described.client.base_url.join("/openapi.json")))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 21
    for operation in operations:
        try:
            ask(operation, mode, job_id)
        except Unsatisfiable:  # nothing about such an operation can be wrong
            asked = [*operation.query, *operation.headers, *operation.body]
            assert mode is schemathesis.GenerationMode.NEGATIVE and not asked, operation.label


def test_the_checks_that_are_made() -> None:
    """Those that the suite stands for are still among the library's own."""
    names = {check.__name__ for check in CHECKS.get_all()} - {check.__name__ for check in EXCLUDED}
    assert {"not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"} <= names


def test_nothing_went_wrong_inside(described: Server) -> None:
    """After all of these requests."""
    assert described.metric('errors_total{code="INTERNAL"}') == 0 and "Traceback" not in described.log.read_text()
