"""The shell's commands, as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from pipeline.sample import scene

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "car.jpg"
    Image.fromarray(scene(seed=3, width=640, height=426).rgb).save(path, quality=90)
    return path


def call(*arguments, module="pipeline", **environment):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ENGINE": "classical", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def finished(photo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "made"
    outputs = "svg,png,report,pdf,intermediates"
    done = call(photo, "-o", folder, "--size", 1024, "--palette", "00f,FFFFFF,000000,808080,FF0000,#00FF00", "--outputs", outputs, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_exactly_the_outputs_asked_for(finished):
    folder, result = finished
    pictures = {"clean_plate", "matte", "illustration", "labels", "edges"}
    files = {"illustration.svg", "preview.png", "report.html", "illustration.pdf", "result.json", *(f"{name}.png" for name in pictures)}
    assert {p.name for p in folder.iterdir()} == files
    assert set(result["intermediates"]) == pictures
    assert json.loads((folder / "result.json").read_text()) == result


def test_the_result_is_what_the_schema_says(finished):
    _, result = finished
    schema = json.loads((ROOT / "docs" / "job.schema.json").read_text())
    jsonschema.validate(result, {"$ref": "#/$defs/Result", "$defs": schema["$defs"]})
    assert result["palette"] == ["#0000FF", "#FFFFFF", "#000000", "#808080", "#FF0000", "#00FF00"]
    assert result["quality"]["off_palette_colors"] == 0
    assert result["quality"]["iou"] is None
    assert result["timings_ms"]["deliver"] >= 0
    assert result["frame"] == {"width": 1024, "height": 1024, "scale": 1.6, "x0": 0, "y0": 171}


def test_the_intermediates_show_one_square(finished):
    folder, result = finished
    labels = Image.open(folder / "labels.png")
    assert labels.mode == "P"
    assert labels.size == (1024, 1024)
    index = np.asarray(labels)
    assert index.max() == len(result["palette"])
    assert labels.info["transparency"] == len(result["palette"])
    drawn = np.asarray(Image.open(folder / "illustration.png").convert("RGB"))
    shown = np.asarray(labels.convert("RGBA"))
    inside = shown[..., 3] > 0
    assert np.mean(np.abs(shown[inside][:, :3].astype(int) - drawn[inside]).sum(-1) > 0) < 0.08  # boundaries, smoothed, and merged specks


def test_the_same_input_gives_the_same_bytes(finished, photo, tmp_path):
    folder, _ = finished
    done = call(photo, "-o", tmp_path / "again", "--size", 1024, "--palette", "00f,FFFFFF,000000,808080,FF0000,#00FF00")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "again").iterdir()} == {"illustration.svg", "preview.png", "result.json"}
    assert (tmp_path / "again" / "illustration.svg").read_bytes() == (folder / "illustration.svg").read_bytes()
    assert done.stdout.split() == [str(tmp_path / "again" / name) for name in ("illustration.svg", "preview.png", "result.json")]


def test_a_matte_of_the_callers_own_is_used_as_it_is(photo, tmp_path):
    matte = np.zeros((426, 640), np.uint8)
    matte[100:300, 200:500] = 255
    Image.fromarray(matte).save(tmp_path / "m.png")
    done = call(photo, "-o", tmp_path / "o", "--size", 1024, "--matte", tmp_path / "m.png", "--remove", "", "--json", "--canvas", "vehicle")
    result = json.loads(done.stdout)
    assert result["vehicle_box"] == pytest.approx([200 / 640, 100 / 426, 500 / 640, 300 / 426], abs=0.002)
    assert result["quality"]["matte_confidence"] is None
    assert result["warnings"] == []
    assert result["removed"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["nowhere.jpg"], "INPUT_UNREACHABLE", 2),
        ([], "INVALID_INPUT", 2),
        (["{photo}", "--frobnicate"], "INVALID_INPUT", 2),
        (["{photo}", "--size", "huge"], "INVALID_INPUT", 2),
        (["{photo}", "--size", "100"], "INVALID_INPUT", 2),
        (["{photo}", "--palette", "red"], "INVALID_PALETTE", 2),
        (["{photo}", "--vehicle-box", "1,2"], "INVALID_INPUT", 2),
        (["{photo}", "--vehicle-box", "a,b,c,d"], "INVALID_INPUT", 2),
        (["{photo}", "--engine", "quantum"], "INVALID_INPUT", 2),
        (["{photo}", "--preset", "draft"], "INVALID_INPUT", 2),
        (["{photo}", "--outputs", "svg,gif"], "INVALID_INPUT", 2),
        (["{photo}", "--delivery", "s3"], "INVALID_INPUT", 2),
        (["{photo}", "--config", "nowhere.yaml"], "INVALID_INPUT", 2),
        (["{photo}", "--engine", "neural"], "MODELS_MISSING", 1),
        ([str(ROOT / "README.md")], "UNSUPPORTED_IMAGE", 2),
        (["http://127.0.0.1:9/x.jpg"], "INPUT_FORBIDDEN", 2),
    ],
)
def test_errors_end_with_their_code_and_write_nothing(arguments, code, status, photo, tmp_path):
    done = call(*(a.format(photo=photo) for a in arguments), "-o", tmp_path / "o")
    assert done.returncode == status, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"{code}: ")
    assert done.stdout == ""
    assert not (tmp_path / "o").exists()


def test_missing_models_are_told_before_torch_is_looked_for(photo, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    done = call(photo, "-o", tmp_path / "o", ENGINE="neural", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("MODELS_MISSING: ")


def test_ctrl_c_cancels(photo, tmp_path):
    pipe = tmp_path / "photo.jpg"  # the command waits for its picture, so that the moment of the signal is known
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "pipeline", str(pipe), "-o", str(tmp_path / "o"), "--size", "8192", "--background", "keep"]
    job = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "ENGINE": "classical"}, stderr=subprocess.PIPE, text=True)
    pipe.write_bytes(photo.read_bytes())
    time.sleep(2)
    assert job.poll() is None
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=120)
    assert job.returncode == 130, said
    assert said.strip().splitlines()[-1] == "CANCELLED: The job was cancelled."
    assert not (tmp_path / "o").exists()


def test_help_teaches():
    said = call("--help").stdout
    for name in ("--vehicle-box", "--palette", "--outputs", "--detail", "--json", "Exit status"):
        assert name in said


def test_every_key_of_the_job_has_an_option():
    from pipeline.job import Job

    said = call("--help", COLUMNS="200").stdout
    for key in Job.model_fields:
        if key not in ("schema_version", "stroke"):
            assert f"--{key.replace('_', '-')}" in said, key


def test_the_phases_run_again_on_an_edited_drawing(finished, tmp_path):
    folder, result = finished
    edited = np.asarray(Image.open(folder / "illustration.png").convert("RGB")).copy()
    edited[500:540, 480:540] = [250, 10, 5]  # nearly red, as a paint program leaves it
    Image.fromarray(edited).save(tmp_path / "edited.png")
    palette = ",".join(result["palette"])
    done = call(
        "enforce", tmp_path / "edited.png", tmp_path / "labels.png", "--matte", folder / "matte.png", "--palette", palette, "--size", 1024,
        module="pipeline.phases",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    labels = np.asarray(Image.open(tmp_path / "labels.png"))
    assert (labels[510:530, 490:530] == result["palette"].index("#FF0000")).mean() > 0.9
    done = call("vectorize", tmp_path / "labels.png", tmp_path / "o.svg", "--preview", tmp_path / "o.png", module="pipeline.phases")
    assert done.returncode == 0, done.stderr
    assert "#FF0000" in (tmp_path / "o.svg").read_text()
    assert Image.open(tmp_path / "o.png").size == (2048, 2048)


def test_the_first_phases_run_by_themselves(finished, tmp_path):
    folder, result = finished
    plate, matte = folder / "clean_plate.png", folder / "matte.png"
    done = call("sanitize", plate, tmp_path / "plate.png", "--matte", matte, module="pipeline.phases")
    assert done.returncode == 0, done.stderr
    done = call(
        "illustrate",
        tmp_path / "plate.png",
        tmp_path / "d.png",
        "--matte",
        matte,
        "--palette",
        ",".join(result["palette"]),
        module="pipeline.phases",
    )
    assert done.returncode == 0, done.stderr
    colors = {tuple(c) for c in np.asarray(Image.open(tmp_path / "d.png")).reshape(-1, 3).tolist()}
    assert colors <= {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in result["palette"]}
