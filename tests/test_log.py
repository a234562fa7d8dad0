import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pipeline import log

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9000) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="ascii"), min_size=1, max_size=20), VALUES, max_size=12))
def test_a_line_is_json_and_never_longer_than_runpod_keeps(event):
    line = log.bounded_json(None, "info", dict(event))
    assert len(line.encode()) <= log.MOST
    assert "\n" not in line
    assert set(json.loads(line)) == set(event)


def test_what_is_short_is_kept_when_a_long_value_has_to_give():
    line = json.loads(log.bounded_json(None, "info", {"event": "x", "job_id": "j", "long": "a" * 5000 + "the end"}))
    assert (line["event"], line["job_id"]) == ("x", "j")
    assert line["long"].startswith("aaa")
    assert line["long"].endswith("the end")


@pytest.fixture
def _restored():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("_restored")
def test_a_traceback_stays_below_the_limit_and_is_still_json(capsys):
    log.configure("info")

    def deep(n):
        if n == 0:
            raise ValueError("the cause " + "x" * 10000)
        deep(n - 1)

    try:
        deep(80)
    except ValueError as error:
        structlog.get_logger().error("internal_error", error_id="abc", exc_info=error)
    line = capsys.readouterr().err
    assert len(line.encode()) <= log.MOST + 1
    told = json.loads(line)
    assert told["error_id"] == "abc"
    assert "test_log.py" in json.dumps(told)
