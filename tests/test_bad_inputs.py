import tempfile
import time
from pathlib import Path

import pytest

from pipeline import service
from pipeline.errors import JobError
from pipeline.progress import Progress
from tests.support.bad_inputs import JOBS


@pytest.mark.parametrize(("raw", "code"), [job[1:] for job in JOBS], ids=[job[0] for job in JOBS])
def test_a_bad_input_gives_its_code_soon_and_leaves_nothing(raw, code, worker, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    began = time.monotonic()
    with pytest.raises(JobError) as error:
        service.perform("bad", raw, worker, Progress())
    assert error.value.code is code
    assert time.monotonic() - began < 20  # a hang, not a measurement: bench/bad_inputs.py measures
    assert [p for p in tmp_path.rglob("*") if p != scratch] == []
    text = str(error.value)
    assert text.startswith(f"{code}: ")
    assert text.endswith((".", "?", ")"))
    assert "\n" not in text
    assert len(text) < 500
    for secret in ("secret", "Traceback", str(Path(__file__).parents[1])):
        assert secret not in text


def test_there_are_enough_of_them():
    assert len(JOBS) >= 40
    assert len({name for name, _, _ in JOBS}) == len(JOBS)
