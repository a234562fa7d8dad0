import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from typer.main import get_command

from delivery.bucket import Bucket
from pipeline.intake.photo import Limits
from pipeline.job import Job, StrokeSpec
from pipeline.settings import DEFAULTS, Environment, Settings, SettingsError, check_output_folder, environment, environment_of, load
from pipeline.shell import phases as phases_module
from pipeline.shell.illustrate import app
from pipeline.variables import cleaned
from server.settings import PodEnvironment

ROOT = Path(__file__).parents[1]


def override(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_the_defaults_are_valid():
    assert load().phase2.sdxl.num_inference_steps == 30
    assert load().phase2.iou_retry.allow_skip_on_failure is False


def test_one_key_is_overridden_and_the_others_stay(tmp_path):
    settings = load(override(tmp_path, "phase2: {sdxl: {num_inference_steps: 25}}"))
    assert settings.phase2.sdxl.num_inference_steps == 25
    assert settings.phase2.sdxl.guidance_scale == 7.5


def test_two_loads_with_different_files_differ(tmp_path):
    """Configuration passed by path must not be ignored after the first call."""
    a = load(override(tmp_path, "phase3: {detail: 0.001}"))
    b = load(override(tmp_path, "phase3: {detail: 0.002}"))
    assert (a.phase3.detail, b.phase3.detail) == (0.001, 0.002)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phase3: {detial: 0.1}", "Unknown setting phase3.detial; did you mean phase3.detail?"),
        ("phase9: {}", "Unknown setting phase9"),
        ("phase3: {detail: much}", "phase3.detail"),
        ("phase3: {detail: -1}", "phase3.detail"),
        ("phase4: {tracer: potrace}", "phase4.tracer"),
        ("phase4: {stroke: {color: reddish}}", "phase4.stroke.color"),
        ("[1, 2]", "must hold a mapping"),
        ("a: [", "not valid YAML"),
        ("phase2: 3", "Setting phase2: Input should be a section, not 3."),
        ("phase2: {sdxl: {num_inference_steps: true}}", "phase2.sdxl.num_inference_steps: Input should be no true or false"),
        ("phase3: {detail: 0.01}\nphase4: {}\nphase3: {budget: 0.01}", "phase3 stands there twice"),
        ("phase3.detail: 0.01", "did you mean phase3: {detail: …}?"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said.replace("?", r"\?").replace("[", r"\[")):
        load(override(tmp_path, text))


def test_a_section_in_which_nothing_stands_changes_nothing(tmp_path):
    assert load(override(tmp_path, "phase2:\n  sdxl:\n  # num_inference_steps: 20\nphase3:\n")) == load()


def test_every_setting_stands_in_the_defaults():
    """By them the builder, too, knows which there are."""

    def complete(section: type[BaseModel], data: dict[str, object]) -> None:
        assert section.model_fields.keys() == data.keys(), section
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                complete(field.annotation, data[name])

    complete(Settings, yaml.safe_load(DEFAULTS.read_text()))


def test_variables_have_their_names_in_capitals():
    assert environment({"engine": "neural", "workers": "lots", "Engine": "nonsense"}) == environment({})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")


def test_environment():
    env = environment(
        {"ENGINE": "classical", "MAX_INPUT_MB": "5", "LOG_LEVEL": "DEBUG", "ALLOW_PRIVATE_URLS": "1", "HOME": "/x", "BUCKET_NAME": ""}
    )
    assert (env.engine, env.max_input_mb, env.log_level, env.allow_private_urls, env.bucket_name) == ("classical", 5, "debug", True, None)


@pytest.mark.parametrize("name", ["ENGINE", "MAX_INPUT_MB", "JOB_TIMEOUT_SECONDS", "LOG_LEVEL", "URL_EXPIRY_SECONDS"])
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(name):
    with pytest.raises(SettingsError, match=name) as error:
        environment({name: "s3cret"})
    assert "s3cret" not in str(error.value)


HERE, FILE, LONG = Path(__file__).parent, Path(__file__), "a" * 5000
URLS = ["files.test", "//files.test", "ftp://files.test", "https://", "https:///art", "https://files test", "https://a:b@files.test", "http://[::1",
        "https://files.test?x=1", "https://files.test/#a", "https://files.test:99999", "https://files.test:", "https://https://files.test",
        "none", "https:files.test", "https://files..test", "https://files.test/a b", "https://files.test\\a",
        "https://filés.test"]  # fmt: skip
NUMBERS = ["", "many", "nan", "-1", "1e99", "1,5", "0x10", "5 s", "--", "None"]
LIMITLESS = [text for text in NUMBERS if text != "1e99"]
FOLDERS = [str(FILE), f"{FILE}/below", LONG]

#: Every variable of docs/settings.md: what is taken (with the value that becomes of it), and what stops the start.
VARIABLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "ENGINE": ({"classical": "classical", "Neural": "neural"}, ["fast", "1"]),
    "MODEL_VOLUME_PATH": ({"/nowhere/at all": Path("/nowhere/at all"), str(HERE): HERE}, FOLDERS),
    "NETWORKS_PATH": ({"/nowhere": Path("/nowhere")}, FOLDERS),
    "PALETTES_PATH": ({str(HERE): HERE}, [*FOLDERS, "/nowhere"]),
    "JOB_PRESETS_PATH": ({str(HERE): HERE}, [*FOLDERS, "/nowhere"]),
    "OUTPUT_DIR": ({"/tmp/new/folder": Path("/tmp/new/folder")}, FOLDERS),
    "BUCKET_NAME": ({"my.pictures-1_a": "my.pictures-1_a"}, ["a", "a/b", "a b", "s3://pictures", "-a", "bücket", "a" * 256]),
    "BUCKET_ACCESS_KEY_ID": ({"AKIA/-".strip("/-"): "AKIA", "test:tester": "test:tester"}, ["a b", "a\nb", "schlüssel", "a/b", "a,b"]),
    "BUCKET_SECRET_ACCESS_KEY": ({"a/b+c d": SecretStr("a/b+c d")}, []),
    "BUCKET_ENDPOINT_URL": ({"https://s3.example:9000/base": "https://s3.example:9000/base", "HTTP://[::1]:9": "HTTP://[::1]:9"}, URLS),
    "BUCKET_REGION": (
        {"eu-central-1": "eu-central-1", "RegionOne": "RegionOne"},
        ["eu central", "-eu", "eu-", "12", "eu_1", "eü", "a" * 64, ".", "'"],
    ),
    "BUCKET_PREFIX": ({"shop/vectors": "shop/vectors", "/shop/": "/shop/"}, ["..", "a/../b", "./a", "a\tb", "a\x7fb", "\udcff", "a" * 901]),
    "BUCKET_ADDRESSING": ({"path": "path", "Virtual": "virtual", "AUTO": "auto"}, ["dns", "true"]),
    "AWS_CA_BUNDLE": ({certifi.where(): Path(certifi.where())}, ["/nothing.pem", str(HERE), str(FILE), LONG]),
    "URL_EXPIRY_SECONDS": ({"3600": 3600, "604800": 604800}, [*NUMBERS, "0", "604801", "1.5", "7d"]),
    "PUBLIC_BASE_URL": ({"https://cdn.example/art/": "https://cdn.example/art/"}, URLS),
    "ALLOW_PRIVATE_URLS": ({"1": True, "ON": True, "yes": True, "False": False, "0": False}, ["2", "enabled", "-"]),
    "JOB_TIMEOUT_SECONDS": ({"0.5": 0.5, "86400": 86400}, [*NUMBERS, "0", "inf"]),
    "MAX_INPUT_MB": ({"0.5": 0.5}, [*NUMBERS, "0", "inf", "1e-9"]),
    "LOG_LEVEL": ({"WARNING": "warning", "debug": "debug"}, ["loud", "30"]),
    "PIPELINE_CONFIG": ({str(FILE): FILE}, ["/nothing.yaml", str(HERE), LONG]),
    "WORKERS": ({"3": 3}, [*NUMBERS, "1.5", "257", "inf"]),
    "DISABLE_XFORMERS": ({"1": "1"}, []),
    "GPU_MODEL": ({"RTX_5090": "RTX_5090"}, []),
    "API_KEY": ({"s3cret key": SecretStr("s3cret key")}, ["schlüssel", "a\nb", "a\x00b"]),
    "RETENTION_HOURS": ({"0.5": 0.5, "inf": float("inf")}, [*LIMITLESS, "0", "-inf"]),
    "RETENTION_GB": ({"0.5": 0.5, "inf": float("inf")}, [*LIMITLESS, "0"]),
    "MIN_FREE_MB": ({"0": 0, "1e9": 1e9}, [*LIMITLESS, "inf"]),
    "RATE_LIMIT_PER_MINUTE": ({"0": 0, "60": 60}, [*NUMBERS, "1.5", "inf"]),
    "UPLOAD_SECONDS": ({"60": 60}, [*NUMBERS, "0", "inf"]),
    "KILL_GRACE_SECONDS": ({"60": 60}, [*NUMBERS, "0", "inf"]),
    "WHILE_TRAINING": ({"Refuse": "refuse", "wait": "wait"}, ["stop", "1"]),
    "TRAINING_MB": ({"0.5": 0.5}, [*NUMBERS, "0", "inf", "1e-9"]),
    "TRAINING_FILES": ({"60": 60}, [*NUMBERS, "0", "1.5", "inf"]),
    "CORS_ORIGINS": (
        {
            "https://shop.test": "https://shop.test",
            "https://Shop.test/, http://a:81": "https://shop.test,http://a:81",
            "*": "*",
        },
        ["shop.test", "https://shop.test/page", "https://a.example https://b.example", "https://*.example"],
    ),
    "ALLOWED_HOSTS": (
        {"Art.test, 10.0.0.1,[::1]": "art.test,10.0.0.1,::1"},
        ["https://art.test", "art.test:5090", "*", "a b", "art.test/x"],
    ),
}
DRESSES = ["{}", " {} ", "{}\n", "{}\r\n", "\t{}", '"{}"', "'{}'", '"{}"\n', " ' {} ' ", "\u00a0{}"]


#: `pipeline.health` reads it, without any setting.
READ_BY_ITSELF = {"WORKER_STATE"}


def documented() -> set[str]:
    """The variables in the tables of docs/settings.md."""
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}


def test_every_variable_is_in_the_table_and_in_the_documents():
    told_by_runpod = {"RUNPOD_POD_ID", "RUNPOD_ENDPOINT_ID"}
    assert set(VARIABLES) == documented() - READ_BY_ITSELF == {name.upper() for name in PodEnvironment.model_fields} - told_by_runpod


@pytest.mark.parametrize("name", VARIABLES)
def test_what_a_variable_takes_in_whatever_it_is_wrapped(name):
    for text, value in VARIABLES[name][0].items():
        for dress in DRESSES:
            read = environment_of(PodEnvironment, {name: dress.format(text)})
            assert getattr(read, name.lower()) == value, (text, dress)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_blanks_and_quotes_is_none(name):
    without = environment_of(PodEnvironment, {})
    for nothing in ("", " ", "\n", "\r\n", '""', "''", '" "', "' \n'", " '' "):
        assert environment_of(PodEnvironment, {name: nothing}) == without


@pytest.mark.parametrize(("name", "wrong"), [(name, wrong) for name, (_, bad) in VARIABLES.items() for wrong in bad if wrong], ids=repr)
def test_what_cannot_work_stops_the_start_by_its_name_and_says_what_can(name, wrong):
    for dress in DRESSES[:6]:
        with pytest.raises(SettingsError) as refused:
            environment_of(PodEnvironment, {name: dress.format(wrong)})
        sentence = str(refused.value)
        assert re.fullmatch(rf"Environment variable {name} must be [^\n]{{10,250}}\.", sentence), sentence
        assert "None" not in sentence
        if len(wrong) > 9:  # shorter ones may stand among the words
            assert wrong not in sentence


def test_every_field_says_what_is_allowed():
    free = {"bucket_secret_access_key", "disable_xformers", "gpu_model", "runpod_endpoint_id"}
    assert {name for name, field in PodEnvironment.model_fields.items() if not field.description} == free


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        (" a b ", "a b"),
        ('"a"', "a"),
        ("'a\"'", 'a"'),
        ('"a', '"a'),
        ("'a\"", "'a\""),
        ("''a''", "'a'"),
        ('"', '"'),
        ("'", "'"),
        ("", ""),
    ],
)
def test_one_pair_of_quotes_is_taken_off(text, value):
    assert cleaned(text) == value


@given(st.text())
def test_a_value_that_was_cleaned_has_no_blanks_around_it(text):
    assert cleaned(text) == cleaned(text).strip()
    assert cleaned(f'"{text}"') == text.strip()


# --- one default for one thing --------------------------------------------------------------------------------------------


def test_the_documents_tell_the_codes_defaults():
    """The tables of docs/settings.md; words stand for what depends on the machine."""
    words = {"empty": "", "none": None, "all": "", "off": False, "0: off": 0, "AWS": None, "certifi's": None}
    text = (ROOT / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", text, re.MULTILINE)
    told = {name: cell for row, cell in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    elsewhere = {"MODEL_VOLUME_PATH", "NETWORKS_PATH", "BUCKET_REGION"}  # told in words, and tested where they are worked out
    for name, cell in told.items():
        if name in READ_BY_ITSELF:
            continue
        default = PodEnvironment.model_fields[name.lower()].default
        if name == "CORS_ORIGINS":
            assert (cell, default) == ("none", "")
        elif cell in words:
            assert words[cell] == default, name
        elif name not in elsewhere:
            assert cell.strip("`") == (f"{default:g}" if isinstance(default, float) else str(default)), name
    for name, field in Environment.model_fields.items():  # the pod may change what is allowed, not what is meant
        assert PodEnvironment.model_fields[name].default == field.default


def test_a_pictures_limits_are_the_settings():
    """`Limits()` stands for them where no settings are read."""
    given = load().input
    assert Limits() == Limits(int(environment({}).max_input_mb * 1e6), given.max_pixels, given.max_side, given.decode_seconds)


def test_what_the_shell_and_the_page_call_the_default_is_the_jobs():
    job, line = Job.model_validate({"image_url": "https://a.test/a.jpg"}), load().phase4.stroke
    options = {option.name: str(option.help) for option in get_command(app).params if getattr(option, "help", None)}
    assert f"({job.seed})" in options["seed"]
    assert f"({job.size})" in options["size"]
    assert f"({','.join(job.outputs)})" in options["outputs"]
    assert f"({line.width:g})" in options["stroke_width"]
    assert f"({line.color})" in options["stroke_color"]
    assert f"{line.mode} (default)" in options["stroke"]
    assert f"{job.background} (default)" in options["background"]
    assert f"{job.canvas} (default)" in options["canvas"]
    told = {name: str(field.description) for name, field in StrokeSpec.model_fields.items()}
    for name, value in (("mode", line.mode), ("width", f"{line.width:g}"), ("color", line.color)):
        assert f"(default {value})" in told[name]
    assert f"size.value = '{job.size}'" in (ROOT / "server" / "page" / "options.js").read_text()


def test_one_phase_reads_the_deployments_settings(tmp_path, monkeypatch):
    path = override(tmp_path, "phase3: {detail: 0.02}")
    monkeypatch.setenv("PIPELINE_CONFIG", f" '{path}'\n")
    assert phases_module._settings().phase3.detail == 0.02


def test_urls_hold_as_long_wherever_a_bucket_comes_from():
    assert Bucket(None, "a", "b", "c").url_expiry_seconds == environment({}).url_expiry_seconds == 7 * 24 * 3600


@pytest.mark.parametrize(
    ("door", "name", "wrong"),
    [
        ([str(ROOT / "handler.py"), "--test_input", '{"input": {}}'], "BUCKET_REGION", "eu central"),
        (["-m", "pipeline", str(FILE)], "PUBLIC_BASE_URL", "files.test"),
        (["-m", "server"], "BUCKET_ENDPOINT_URL", "s3.test"),
    ],
)
def test_every_door_stops_before_it_draws(tmp_path, door, name, wrong):
    given = {"PATH": os.environ["PATH"], "ENGINE": "classical", "OUTPUT_DIR": str(tmp_path / "out"), "PYTHONPATH": str(ROOT), name: wrong}
    told = subprocess.run([sys.executable, *door], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 2
    assert f"Environment variable {name} must be" in told.stderr.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_found_at_the_start(tmp_path, monkeypatch):
    check_output_folder(environment({"OUTPUT_DIR": str(tmp_path / "new")}))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(SettingsError, match="OUTPUT_DIR must be a folder that can be written to"):
        check_output_folder(environment({"OUTPUT_DIR": str(tmp_path / "new")}))


def test_old_deployments_variables_are_accepted():
    environment({"DISABLE_XFORMERS": "1", "GPU_MODEL": "RTX_5090", "WORKERS": "1"})


def test_a_pod_is_no_serverless_worker():
    assert not environment({"RUNPOD_POD_ID": "x", "RUNPOD_API_KEY": "y", "RUNPOD_GPU_COUNT": "1"}).in_runpod
    assert environment({"RUNPOD_POD_ID": "x", "RUNPOD_ENDPOINT_ID": "e"}).in_runpod


def test_secrets_do_not_print():
    assert "hush" not in repr(environment({"BUCKET_SECRET_ACCESS_KEY": "hush"}))
