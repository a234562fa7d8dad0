"""A short run of the fuzzers (`python -m bench.fuzz` is the long one), properties by hypothesis, and what fuzzing once found."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench import fuzz_jobs, fuzz_photos
from pipeline.errors import Code, JobError
from pipeline.job import DEEPEST, MOST_VALUES, Job, read
from pipeline.palette import MOST_LISTED
from pipeline.photo import decode
from tests.pictures import matrix_profile, quarters, save

PHOTO = {"image_base64": "AAAA"}
KEYS = [field.alias or name for name, field in Job.model_fields.items()]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())) | st.just(10**4000)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner), max_leaves=20)


def refusal(raw: object) -> JobError:
    with pytest.raises(JobError) as caught:
        read(raw)
    assert fuzz_jobs.fault_of(caught.value.sentence) is None, caught.value.sentence
    return caught.value


def test_jobs() -> None:
    tally = fuzz_jobs.fuzz(1, 20_000, lambda _: None)
    assert tally.faults == []
    assert sum(tally.answers.values()) == 20_000
    assert tally.answers["job", "accepted"] > 2000
    assert tally.answers["job", Code.INVALID_INPUT] > 5000


def test_pictures() -> None:
    tally = fuzz_photos.fuzz(1, 300, 10, lambda _: None)
    assert tally.faults == []
    assert sum(n for answer, n in tally.answers.items() if "first bytes" not in answer) == 310 + min(50, len(tally.crashes))
    assert tally.answers["decoded"] > 20


def test_a_case_can_be_made_again() -> None:
    assert fuzz_photos.case(5, 17) == fuzz_photos.case(5, 17)
    assert fuzz_jobs.tell(5, 17) == fuzz_jobs.tell(5, 17)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
def test_any_values_of_known_keys(more: dict[str, object]) -> None:
    _answer, wrong = fuzz_jobs.judge("job", {**PHOTO, **more})
    assert wrong is None


@settings(max_examples=200, deadline=None)
@given(values)
def test_anything_at_all(raw: object) -> None:
    assert fuzz_jobs.judge("job", raw)[1] is None
    assert fuzz_jobs.judge("s3Config", raw)[1] is None


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text(raw: str) -> None:
    assert fuzz_jobs.judge("output_prefix", raw)[1] is None
    assert fuzz_jobs.judge("base64", raw)[1] is None


def test_what_is_deep_is_refused_before_anything_recurses() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert "nested" in refusal({**PHOTO, "remove": deep}).sentence
    shallow: object = "x"
    for _ in range(DEEPEST - 1):
        shallow = [shallow]
    assert "nested" not in refusal({**PHOTO, "remove": shallow}).sentence


@pytest.mark.parametrize("key", ["outputs", "remove", "palette_hex_list", "vehicle_box"])
def test_what_is_long_is_refused_before_every_item_makes_an_error(key: str) -> None:
    assert "values" in refusal({**PHOTO, key: [1] * (MOST_VALUES + 1)}).sentence
    refusal({**PHOTO, key: [1] * (MOST_VALUES - 10)})


def test_a_palette_as_text_is_bounded_too() -> None:
    error = refusal({**PHOTO, "palette_hex_list": "fff," * 3_000_000})
    assert error.code is Code.INVALID_PALETTE
    assert f"{MOST_LISTED:,}" in error.sentence


@pytest.mark.parametrize("schema", [10**5000, "1\n2", "\ud800", 1.5, {"a": "b" * 99}, ["x"]], ids=lambda schema: type(schema).__name__)
def test_a_schema_of_any_kind(schema: object) -> None:
    assert "this worker speaks schema 1" in refusal({**PHOTO, "schema": schema}).sentence


@pytest.mark.parametrize("key", ["k" * 5_000_000, "a\nb", "\ud800", "\U000e0001" * 80], ids=["long", "lines", "surrogate", "unseen"])
@pytest.mark.parametrize("value", [1, math.nan])
def test_a_key_of_any_kind(key: str, value: float) -> None:
    json.dumps(refusal({**PHOTO, key: value}).sentence).encode()
    refusal({**PHOTO, "stroke": {key: value}})
    refusal({**PHOTO, "background": key, "palette_hex_list": [key]})


@pytest.mark.parametrize("space", [b"RG\xb8 ", b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_a_profile_whose_colour_space_has_no_name(space: bytes) -> None:
    profile = matrix_profile(2.2, primaries=((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)))
    photo = decode(save(Image.fromarray(quarters()), "JPEG", icc_profile=profile[:16] + space + profile[20:]))
    assert [warning.split(":")[0] for warning in photo.warnings] == ["PROFILE_IGNORED"]
