"""Named palettes and presets: what the project ships, and what a deployment's folders add."""

import json
import tempfile
from pathlib import Path

import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings
from pipeline.color import srgb_to_lab
from pipeline.errors import Code, JobError
from pipeline.job import read
from pipeline.library import SHIPPED, SHIPPED_PALETTES, SHIPPED_PRESETS, Library
from pipeline.palette import DEFAULT

PHOTO = {"image_base64": "-"}
NAMES = yaml.safe_load(SHIPPED_PALETTES.read_text())
PRESETS = sorted(file.stem for file in SHIPPED_PRESETS.glob("*.yaml"))


def refusal(raw: object, library: Library = SHIPPED) -> JobError:
    with pytest.raises(JobError) as caught:
        read(raw, library)
    return caught.value


@pytest.fixture
def library(tmp_path: Path) -> Library:
    for folder in ("palettes", "presets"):
        (tmp_path / folder).mkdir()
    return Library(tmp_path / "palettes", tmp_path / "presets")


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_palette_can_be_named_and_is_that_job(name):
    job = read({**PHOTO, "palette_name": name})
    assert job == read({**PHOTO, "palette_hex_list": list(SHIPPED.palette(name).colors)})
    light = srgb_to_lab(job.palette.rgb)[:, 0]
    assert light.min() < 20
    assert light.max() > 92
    assert not job.palette.repeated


def test_the_default_palette_has_its_name():
    assert SHIPPED.palette("default").colors == DEFAULT


@pytest.mark.parametrize("name", PRESETS)
def test_every_shipped_preset_is_a_job(name):
    assert read({**PHOTO, "job_preset": name}) != read(PHOTO)


def test_an_unknown_palette_lists_those_that_there_are(library):
    (library.palettes / "brands.yaml").write_text("acme: [C8102E, '#FFFFFF']\n")
    error = refusal({**PHOTO, "palette_name": "acmee"}, library)
    assert error.code is Code.INVALID_PALETTE
    assert "did you mean acme?" in error.sentence
    assert all(name in error.sentence for name in ["acme", *NAMES])


def test_a_long_list_of_names_is_cut(library):
    (library.palettes / "many.yaml").write_text("".join(f"palette-number-{n}: 000,FFF\n" for n in range(300)))
    sentence = refusal({**PHOTO, "palette_name": "x"}, library).sentence
    assert len(sentence) < 400
    assert sentence.endswith(" more.")


@pytest.mark.parametrize("text", ["a: [000000, 808080, c8102e]", "a: 000000,808080,C8102E", '{"a": ["#000", "#808080", "#C8102E"]}'])
def test_a_palettes_file(library, text):
    (library.palettes / "a.json").write_text(text)
    assert read({**PHOTO, "palette_name": "a"}, library).palette.colors == ("#000000", "#808080", "#C8102E")


def test_a_deployments_palette_wins_over_the_shipped_one(library):
    (library.palettes / "own.yml").write_text("greys: 000,FFF\n")
    assert read({**PHOTO, "palette_name": "greys"}, library).palette.colors == ("#000000", "#FFFFFF")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n- #FF0000\n- '#00FF00'\n", "quotation marks"),
        ("a: [red, blue]", "not 'red'"),
        ("a: FF0000", "2 to 64"),
        ("a: {b: FF0000}", "must be a list"),
        ("a: [[FF0000], 000000]", "hex digits"),
        ("- FF0000", "a mapping of names"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_palettes_file_is_named(library, text, told):
    (library.palettes / "brand.yaml").write_text(text)
    error = refusal({**PHOTO, "palette_name": "a"}, library)
    assert error.code is Code.INVALID_PALETTE
    assert error.sentence.startswith("brand.yaml")
    assert told in error.sentence


def test_a_palette_in_two_files_is_refused(library):
    for name in ("one", "two"):
        (library.palettes / f"{name}.yaml").write_text("acme: 000,FFF\n")
    assert "one.yaml and two.yaml" in refusal({**PHOTO, "palette_name": "acme"}, library).sentence


@pytest.mark.parametrize("pair", [("palette_hex_list", "palette_name"), ("palette_name", "palette_from_url")])
def test_one_way_to_give_the_palette(pair):
    values = {"palette_hex_list": "000,FFF", "palette_name": "greys", "palette_from_url": "https://a.test/b.png"}
    error = refusal({**PHOTO, **{key: values[key] for key in pair}})
    assert (error.code, "at most one of" in error.sentence) == (Code.INVALID_INPUT, True)


def test_the_background_has_to_be_in_the_named_palette():
    assert read({**PHOTO, "palette_name": "greys", "background": "fff"}).background == "#FFFFFF"
    assert refusal({**PHOTO, "palette_name": "greys", "background": "#FF0000"}).code is Code.INVALID_PALETTE


@pytest.fixture
def studio(library: Library) -> Library:
    keys = {"palette_name": "greys", "size": 2048, "stroke": {"mode": "none", "width": 3}, "remove": ["text"]}
    (library.presets / "studio.yaml").write_text(yaml.safe_dump(keys))
    return library


def test_a_preset_is_its_keys(studio):
    job = read({**PHOTO, "job_preset": "studio"}, studio)
    assert job == read({**PHOTO, "palette_name": "greys", "size": 2048, "stroke": {"mode": "none", "width": 3.0}, "remove": ["text"]})


@pytest.mark.parametrize(
    ("own", "want"),
    [
        ({"size": 1024}, {"size": 1024, "palette_name": "greys"}),
        ({"palette_hex_list": "000,FFF"}, {"palette_hex_list": ["#000000", "#FFFFFF"]}),
        ({"palette_name": "poster"}, {"palette_name": "poster"}),
        ({"stroke": {"width": 5.0}}, {"stroke": {"mode": "none", "width": 5.0}, "palette_name": "greys"}),
        ({"remove": []}, {"remove": [], "palette_name": "greys"}),
        ({"detail": None, "palette_hex_list": None}, {"palette_name": "greys"}),
    ],
)
def test_the_jobs_own_keys_win(studio, own, want):
    preset = {"size": 2048, "stroke": {"mode": "none", "width": 3.0}, "remove": ["text"]}
    job, same = read({**PHOTO, "job_preset": "studio", **own}, studio), read({**PHOTO, **preset, **want}, studio)
    assert job.model_dump(exclude={"palette_hex_list"}) == same.model_dump(exclude={"palette_hex_list"})
    assert job.palette.colors == same.palette.colors


def test_an_unknown_preset_lists_those_that_there_are(studio):
    for name in ("studios", "../presets/studio", "studio.yaml", "\ud800"):
        error = refusal({**PHOTO, "job_preset": name}, studio)
        assert error.code is Code.INVALID_INPUT
        assert all(name in error.sentence for name in ["studio", *PRESETS])


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("palete_name: greys", Code.INVALID_INPUT, "Unknown key 'palete_name'; did you mean 'palette_name'?"),
        ("size: big", Code.INVALID_INPUT, "size: "),
        ("palette_name: graue", Code.INVALID_PALETTE, "There are: "),
        ("palette_hex_list: red", Code.INVALID_PALETTE, "not 'red'"),
        ("job_preset: lineart", Code.INVALID_INPUT, "job_preset belongs to one job"),
        ("image_url: https://a.test/a.jpg", Code.INVALID_INPUT, "image_url belongs to one job"),
        ("size: .inf", Code.INVALID_INPUT, "size: must be a finite number"),
        ("[size]", Code.INVALID_INPUT, "must hold a mapping"),
        ("&a [*a]", Code.INVALID_INPUT, "must hold a mapping"),
        ("remove: &a [*a]", Code.INVALID_INPUT, "nested"),
    ],
)
def test_a_wrong_preset_names_file_and_key(library, text, code, told):
    (library.presets / "shop.yaml").write_text(text)
    error = refusal({**PHOTO, "job_preset": "shop"}, library)
    assert error.code is code
    assert "shop.yaml" in error.sentence
    assert told in error.sentence


WHOLE = {
    "palette_name": "poster",
    "seed": 7,
    "remove": ["text"],
    "background": "#F4EBD9",
    "vehicle_box": [0.1, 0.2, 0.8, 0.9],
    "stroke": {"mode": "none", "width": 3.0, "color": "#FF0000"},
    "detail": 0.001,
    "size": 2048,
    "canvas": "photo",
    "outputs": ["pdf"],
    "delivery": "local",
}


@hypothesis.settings(deadline=None)
@given(st.sets(st.sampled_from(sorted(WHOLE))), st.sets(st.sampled_from(sorted(WHOLE["stroke"]))))
def test_keys_say_the_same_in_a_preset_and_in_the_job(saved, saved_of_stroke):
    preset, own = {key: WHOLE[key] for key in saved}, {key: value for key, value in WHOLE.items() if key not in saved}
    if "stroke" in own:
        preset["stroke"] = {key: WHOLE["stroke"][key] for key in saved_of_stroke}
        own["stroke"] = {key: value for key, value in WHOLE["stroke"].items() if key not in saved_of_stroke}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "split.json").write_text(json.dumps(preset))
        assert read({**PHOTO, **own, "job_preset": "split"}, Library(presets=Path(folder))) == read({**PHOTO, **WHOLE})


def test_the_folders_are_settings(tmp_path):
    (tmp_path / "a.yaml").write_text("acme: 000,FFF\n")
    environment = settings.environment({"PALETTES_PATH": str(tmp_path), "JOB_PRESETS_PATH": str(tmp_path)})
    assert environment.library == Library(tmp_path, tmp_path)
    for name in ("PALETTES_PATH", "JOB_PRESETS_PATH"):
        with pytest.raises(settings.SettingsError, match=name):
            settings.environment({name: str(tmp_path / "absent")})


def test_files_that_come_later_are_found(studio):
    (studio.presets / "later.json").write_text(json.dumps({"size": 1024}))
    assert read({**PHOTO, "job_preset": "later"}, studio).size == 1024
