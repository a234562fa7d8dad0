"""Form fields become a job's keys: text to the type that each key has."""

import json
import tracemalloc
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import JobError
from pipeline.job import Job, read
from pipeline.text_fields import job_keys
from server import routes
from server.problems import Problem

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
    "prompt": st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=50).filter(
        lambda text: not text.isspace()
    ),
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


@pytest.mark.parametrize("empty", ["", " ", "\r\n", "\N{NO-BREAK SPACE}"])
@pytest.mark.parametrize("key", [*Job.model_fields, "options", "schema", "no such key"])
def test_an_empty_field_is_as_none_but_for_remove(key: str, empty: str) -> None:
    """A browser's form sends every field; those that nobody has filled in say nothing, also beside `options` and beside a full one."""
    assert job_keys([(key, empty)]) == ({"remove": []} if key == "remove" else {})
    assert job_keys([("options", '{"seed": 1}'), ("seed", empty)]) == {"seed": 1}
    assert job_keys([("outputs", empty), ("outputs", "svg")]) == {"outputs": ["svg"]}


@given(VALUES["palette_hex_list"])
def test_a_comma_at_the_end_counts_for_nothing(colors: list[str]) -> None:
    text = ",".join(colors)
    for fields in (
        [("palette_hex_list", f"{text},")],
        [("palette_hex_list", f"{text} , ")],
        [("options", json.dumps({"palette_hex_list": f"{text},"}))],
    ):
        assert read(job_keys(fields) | PICTURE).palette == read({"palette_hex_list": colors} | PICTURE).palette
    with pytest.raises(JobError, match="INVALID_PALETTE"):
        read(job_keys([("palette_hex_list", text.replace(",", ",,", 1))]) | PICTURE)


def test_a_comma_at_the_end_of_other_lists() -> None:
    fields = [("remove", "text,"), ("outputs", "svg,png,"), ("vehicle_box", "0.1,0.1,0.9,0.9,")]
    assert job_keys(fields) == {"remove": ["text"], "outputs": ["svg", "png"], "vehicle_box": [0.1, 0.1, 0.9, 0.9]}


@pytest.mark.parametrize(
    "fields",
    [
        [("remove", "," * 2000_000)],
        [("palette_hex_list", "f00," * 500_000)],
        [("vehicle_box", "0," * 1000_000)],
        [("remove", f"[{'[],' * 600_000}[]]")],
        [("outputs", ",".join(["svg"] * 200))] * 60,
        [("options", f'{{"remove": [{"[]," * 600_000}[]]}}')],
        [("options", f'{{"remove": {"[" * 2000_000}')],
        [("options", f"{{{','.join(f'{n}:0' for n in range(20_000))}}}")],
        [("prompt", "x" * 2000_000)],
        [("x" * 20_000_000, "1")],
    ],
    ids=lambda fields: f"{fields[0][0][:20]} {len(fields[0][1])}",
)
def test_many_values_are_counted_before_they_are_taken_apart(fields: list[tuple[str, str]]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(JobError, match="INVALID_INPUT") as refused:
            read(job_keys(fields) | PICTURE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 and len(refused.value.sentence) < 300


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=300)), max_size=5), st.integers(3, 40))
def test_a_form_without_files_is_decoded_piece_by_piece(fields: list[tuple[str, str]], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "_PIECE", piece)
        body = urlencode(fields).encode()
        assert routes._urlencoded(body).multi_items() == parse_qsl(body.decode(), keep_blank_values=True)


def test_a_form_without_files_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        form = routes._urlencoded(b"remove=" + b"%2C" * 1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert form["remove"] == "," * 1_000_000 and peak < 20_000_000
    with pytest.raises(Problem, match="more than 100 fields"):
        routes._urlencoded(b"&".join([b"a=1"] * 101))


def test_twice_is_once_too_often() -> None:
    for fields in ([("seed", "1"), ("seed", "1")], [("options", "{}"), ("options", "{}")], [("options", '{"seed": 1}'), ("seed", "1")]):
        with pytest.raises(JobError, match="twice"):
            job_keys(fields)
