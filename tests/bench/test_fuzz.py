"""A short run of the fuzzers (`python -m bench.fuzz` is the long one), properties by hypothesis, and what fuzzing once found."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.fuzz import jobs as fuzz_jobs
from bench.fuzz import photos as fuzz_photos
from bench.fuzz import tally as fuzz_tally
from pipeline.errors import Code, JobError
from pipeline.input_limits import DEEPEST, MOST_VALUES
from pipeline.intake.photo import decode
from pipeline.job import Job, read
from pipeline.palette import MOST_LISTED
from pipeline.stored_keys import safe_prefix
from tests.support.pictures import matrix_profile, quarters, save

ROOT = Path(__file__).parents[2]
#: A decoder forked from a fresh process, given one sound picture; `BALLAST` makes that process hold more than 2 GB.
BASE = """
from io import BytesIO
import numpy as np
from PIL import Image
from bench.fuzz import photos as fuzz_photos, tally as fuzz_tally
from pipeline.intake import decoder
file = BytesIO()
Image.new("RGB", (99, 99)).save(file, "JPEG")
def forked(read, seconds=15.0):
    request = decoder.Request("JPEG", "The picture", True, 10**9, 10**5, 64, seconds)
    return fuzz_photos.forked(file.getvalue(), request, read)
"""
BALLAST = BASE + "held = np.ones(2_200_000_000, np.uint8)\nassert fuzz_tally.resident() > 2_000_000_000\n"
PHOTO = {"image_base64": "AAAA"}
KEYS = [field.alias or name for name, field in Job.model_fields.items()]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())) | st.just(10**4000)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner), max_leaves=20)


def refusal(raw: object) -> JobError:
    with pytest.raises(JobError) as caught:
        read(raw)
    assert fuzz_jobs.fault_of(caught.value.sentence) is None, caught.value.sentence
    return caught.value


def ran(*command: str) -> str:
    """What a fresh Python prints: a small process, whatever this one holds."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def short_run(*options: str) -> dict[str, Any]:
    tally = json.loads(ran("-m", "bench.fuzz", *options, "--seed", "1", "--json"))
    assert tally["faults"] == []
    assert tally["slowest"] < fuzz_tally.SLOWEST
    return tally


def test_jobs() -> None:
    answers = short_run("jobs", "--cases", "8000")["answers"]
    assert sum(answers.values()) == 8000
    assert answers["job: accepted"] > 800
    assert answers["job: INVALID_INPUT"] > 2000


def pictures(cases: int, real: int) -> None:
    tally = short_run("photos", "--cases", str(cases), "--real", str(real))
    answers, again = tally["answers"], min(50, len(tally["crashes"]))
    assert sum(n for answer, n in answers.items() if "first bytes" not in answer) == cases + real + again
    assert answers["decoded"] > cases // 15
    assert 0 < tally["largest"] < fuzz_tally.GROWTH


def test_pictures() -> None:
    pictures(300, 10)


def test_what_the_fuzzing_process_itself_holds_counts_for_nothing() -> None:
    """Both ways: the short run begun by a process of over 2 GB, and decoders forked from it."""
    code = "from tests.bench import test_fuzz; test_fuzz.pictures(60, 1); seen = forked(decoder.read); print(seen.bytes, seen.wrong)"
    said = ran("-c", BALLAST + code)
    added, wrong = said.split()
    assert wrong == "None"
    assert int(added) < 100_000_000


@pytest.mark.parametrize("ballast", [False, True])
def test_a_decoder_that_takes_too_much_is_caught(ballast: bool) -> None:
    greedy = "forked(lambda data, request: (np.ones(1_600_000_000, np.uint8), decoder.read(data, request))[1])"
    outcome = ran("-c", (BALLAST if ballast else BASE) + f"print({greedy})")
    assert "answer='decoded'" in outcome
    assert re.search(r"wrong='took 1,6\d\d,\d{3},\d{3} bytes'", outcome), outcome


def test_a_decoder_that_hangs_is_caught() -> None:
    outcome = ran("-c", BASE + "import time; print(forked(lambda *_: time.sleep(60), seconds=5.5))")
    assert "killed for its time" in outcome
    assert re.search(r"wrong='took 5\.\d s'", outcome), outcome


def test_parsers() -> None:
    table = ran("-m", "bench.fuzz_parsers", "--only", "url", "--seconds", "3")
    cases = re.search(r"url\s+│\s+([\d,]+)\s+│\s+(\d+)", table)
    assert cases is not None, table
    assert int(cases[1].replace(",", "")) > 500
    assert int(cases[2]) > 20


def test_a_parser_that_breaks_is_found(tmp_path: Path) -> None:
    """A stand-in that cannot bear two bytes which no seed holds: coverage leads there."""
    code = f"""
from pathlib import Path
import atheris
from bench import fuzz_parsers
@atheris.instrument_func
def fragile(data):
    if data[:1] == b"q":
        if data[1:2] == b"z":
            raise KeyError("two bytes")
fuzz_parsers._checks = lambda: {{"palette": fragile}}
fuzz_parsers.fuzz("palette", 60, Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "KeyError" in done.stdout + done.stderr
    assert [file.read_bytes()[:2] for file in tmp_path.glob("crash-*")] == [b"qz"]


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


@pytest.mark.parametrize("text", ["é/" + "#FFF" * 2_000_000, "<script>" * 2_000_000 + "/42", "a/" * 8_000_000], ids=len)
def test_a_long_prefix_is_refused_before_its_characters_are_looked_at(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(_: str) -> str:
        raise AssertionError("a character was looked at")

    monkeypatch.setattr("unicodedata.category", looked)
    with pytest.raises(JobError, match="longer than 512 bytes"):
        safe_prefix(text)


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
