from pathlib import Path

import pytest

from pipeline.settings import SettingsError, environment, load


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
        ("phase2: 3", "phase2"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said.replace("?", r"\?").replace("[", r"\[")):
        load(override(tmp_path, text))


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


def test_old_deployments_variables_are_accepted():
    environment({"DISABLE_XFORMERS": "1", "GPU_MODEL": "RTX_5090", "WORKERS": "1"})


def test_secrets_do_not_print():
    assert "hush" not in repr(environment({"BUCKET_SECRET_ACCESS_KEY": "hush"}))
