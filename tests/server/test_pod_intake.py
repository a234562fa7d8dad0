"""Form fields become a job's keys: text to the type that each key has."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import JobError
from pipeline.job import Job, read
from server.intake import job_keys

PICTURE = {"image_url": "https://example.com/car.jpg"}

VALUES = {
    "palette_hex_list": st.lists(
        st.from_regex(r"#?[0-9a-fA-F]{6}", fullmatch=True), min_size=3, max_size=8, unique_by=lambda c: c.lstrip("#").lower()
    ),
    "seed": st.integers(0, 2**32 - 1),
    "preset": st.sampled_from(["draft", "standard", "best"]),
    "guidance_scale": st.floats(0, 30),
    "num_inference_steps": st.integers(1, 150),
    "remove": st.lists(st.from_regex(r"[a-z][a-z ]{0,20}[a-z]", fullmatch=True), max_size=5, unique=True),
    "vehicle_box": st.tuples(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.5, 1), st.floats(0.5, 1)).map(list),
    "stroke": st.fixed_dictionaries({"mode": st.sampled_from(["both", "none"]), "width": st.floats(1, 64)}),
    "detail": st.floats(0, 0.05),
    "size": st.integers(1024, 8192),
    "canvas": st.sampled_from(["square", "photo", "vehicle"]),
    "outputs": st.lists(st.sampled_from(["svg", "png", "pdf"]), min_size=1, max_size=3, unique=True),
    "allow_low_iou": st.booleans(),
    "prompt": st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=50),
}


def as_text(key: str, value: object, style: str) -> list[tuple[str, str]]:
    if isinstance(value, list) and style == "repeated" and value:
        return [(key, item if isinstance(item, str) else repr(item)) for item in value]
    if isinstance(value, list) and style == "commas":
        return [(key, ",".join(item if isinstance(item, str) else repr(item) for item in value))]
    if isinstance(value, list | dict | bool):
        return [(key, json.dumps(value))]
    return [(key, value if isinstance(value, str) else repr(value))]


@given(raw=st.fixed_dictionaries({}, optional=VALUES), style=st.sampled_from(["repeated", "commas", "json"]))
def test_fields_mean_what_options_mean(raw: dict[str, object], style: str) -> None:
    fields = [pair for key, value in raw.items() for pair in as_text(key, value, style)]
    assert read(job_keys(fields) | PICTURE) == read(job_keys([("options", json.dumps(raw))]) | PICTURE) == read(raw | PICTURE)


@given(st.lists(st.tuples(st.sampled_from([*Job.model_fields, "options", "nonsense", "stroke"]), st.text(max_size=40)), max_size=4))
def test_any_text_is_a_job_or_a_typed_error(fields: list[tuple[str, str]]) -> None:
    try:
        read(job_keys(fields))
    except JobError as error:
        assert error.code in ("INVALID_INPUT", "INVALID_PALETTE") and error.sentence.endswith((".", "?")) and "\n" not in error.sentence


@pytest.mark.parametrize("text", ["true", "True", "1", "on", "yes"])
def test_words_for_yes(text: str) -> None:
    assert job_keys([("allow_low_iou", text)]) == {"allow_low_iou": True}


def test_twice_is_once_too_often() -> None:
    for fields in ([("seed", "1"), ("seed", "1")], [("options", "{}"), ("options", "{}")], [("options", '{"seed": 1}'), ("seed", "1")]):
        with pytest.raises(JobError, match="twice"):
            job_keys(fields)
