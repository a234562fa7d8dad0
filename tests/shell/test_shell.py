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

from delivery import Artifact, deliver_local, local_urls
from pipeline import service
from pipeline.shell import console, illustrate
from pipeline.stored_keys import safe_prefix
from tests.support import quick
from tests.support.shell import ROOT, call
from tests.support.signals import hears_interrupts


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
    frame, (x0, y0, x1, y1) = result["frame"], result["vehicle_box"]
    assert (frame["width"], frame["height"], frame["photo_width"], frame["photo_height"]) == (1024, 1024, 640, 426)
    # the vehicle stands in the middle of its square, with 6 % of its longer side on each side
    assert frame["x0"] + frame["scale"] * 640 * (x0 + x1) / 2 == pytest.approx(512, abs=3)
    assert frame["y0"] + frame["scale"] * 426 * (y0 + y1) / 2 == pytest.approx(512, abs=3)
    assert frame["scale"] * 640 * (x1 - x0) == pytest.approx(1024 / 1.12, abs=5)


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
    assert [warning.partition(":")[0] for warning in result["warnings"]] == ["VEHICLE_SMALL"]  # 300 pixels
    assert result["removed"] == []
    # the square is the matte's, with 6 % of its longer side around it
    assert result["frame"]["scale"] == pytest.approx(1024 / (1.12 * 300), rel=0.01)
    assert (result["frame"]["photo_width"], result["frame"]["photo_height"]) == (640, 426)


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ([], "INVALID_INPUT", 2),
        (["{photo}", "--frobnicate"], "INVALID_INPUT", 2),
        (["{photo}", "--size", "huge"], "INVALID_INPUT", 2),
        (["{photo}", "--size", "100"], "INVALID_INPUT", 2),
        (["{photo}", "--palette", "red"], "INVALID_PALETTE", 2),
        (["{photo}", "--vehicle-box", "1,2"], "INVALID_INPUT", 2),
        (["{photo}", "--image-base64", "QUJD"], "INVALID_INPUT", 2),
        (["{photo}", "--matte", "{photo}", "--matte-url", "http://a.test/m.png"], "INVALID_INPUT", 2),
        (["{photo}", "--vehicle-box", "a,b,c,d"], "INVALID_INPUT", 2),
        (["{photo}", "--engine", "quantum"], "INVALID_INPUT", 2),
        (["{photo}", "--preset", "draft"], "INVALID_INPUT", 2),
        (["{photo}", "--outputs", "svg,gif"], "INVALID_INPUT", 2),
        (["{photo}", "--delivery", "s3"], "INVALID_INPUT", 2),
        (["{photo}", "--config", "nowhere.yaml"], "INVALID_INPUT", 2),
        ([str(ROOT / "README.md")], "UNSUPPORTED_IMAGE", 2),
        (["http://127.0.0.1:9/x.jpg"], "INPUT_FORBIDDEN", 2),
    ],
)
def test_errors_end_with_their_code_and_write_nothing(arguments, code, status, photo, tmp_path, engine, monkeypatch, capsys):
    monkeypatch.setattr(service, "start", lambda *_: engine)
    given = [*(a.format(photo=photo) for a in arguments), "-o", str(tmp_path / "o")]
    assert console.run_app(illustrate.app, "python -m pipeline", given) == status
    said = capsys.readouterr()
    assert said.err.strip().splitlines()[-1].startswith(f"{code}: ")
    assert said.out == ""
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [(["nowhere.jpg"], "INPUT_UNREACHABLE", 2), (["{photo}", "--engine", "neural"], "MODELS_MISSING", 1)],
)
def test_the_process_ends_with_that_status(arguments, code, status, photo, tmp_path):
    done = call(*(a.format(photo=photo) for a in arguments), "-o", tmp_path / "o")
    assert done.returncode == status, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"{code}: ")
    assert done.stdout == ""
    assert not (tmp_path / "o").exists()


#: What people call folders, and what no key in a bucket may hold.
NAMES = [
    "Bild\u202f1",
    "a\u00a0b",
    "\U0001f469\u200d\U0001f527",
    "c:\\cars\\1",
    "..",
    "x/../y",
    ".",
    "blanks  ",
    " ",
    "...",
    "-",
    "a\nb",
    "\x7f",
    "%20",
    "\udcff",
]


def stand_in(folder: Path, seen: list[str]):
    """In place of the work; what is delivered is."""

    def perform(job_id, raw, worker, progress, folder, pictures):
        seen.append(safe_prefix(job_id))
        names = ["illustration.svg", "result.json"]
        deliver_local([Artifact.of(name, b"{}") for name in names], folder)
        return {"job_id": job_id, "warnings": [], "svg_url": local_urls(names, folder)["illustration.svg"]}

    return perform


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_may_have_any_name(name, tmp_path, photo, engine, monkeypatch, capfdbinary):
    """Its files are there, printed as they are called; the name is no job's id."""
    (tmp_path / "deep" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep")
    seen: list[str] = []
    monkeypatch.setattr(service, "start", lambda *_: engine)
    monkeypatch.setattr(service, "perform", stand_in(Path(name), seen))
    assert console.run_app(illustrate.app, "pipeline", [str(photo), "-o", name]) == 0
    files = [Path(name).resolve() / file for file in ("illustration.svg", "result.json")]
    assert all(file.is_file() for file in files)
    assert capfdbinary.readouterr().out == b"".join(os.fsencode(file) + b"\n" for file in files)
    assert seen and name not in seen


@pytest.mark.parametrize(("name", "key"), [("orders", "orders"), ("a\u00a0b", None), ("..", None)])
def test_a_folders_name_is_a_key_in_the_bucket_where_it_can_be_one(name, key, tmp_path, photo, engine, monkeypatch):
    given: list[dict] = []

    def perform(job_id, raw, worker, progress, folder, pictures):
        given.append(raw)
        return {"warnings": []}

    (tmp_path / "x").mkdir()
    monkeypatch.setattr(service, "start", lambda *_: engine)
    monkeypatch.setattr(service, "perform", perform)
    for more in ([], ["--output-prefix", "mine"]):
        assert console.run_app(illustrate.app, "pipeline", [str(photo), "-o", str(tmp_path / "x" / name), "--delivery", "s3", *more]) == 0
    assert [raw.get("output_prefix") for raw in given] == [key, "mine"]


@pytest.mark.parametrize("name", ["file", "file/below", "link", "n" * 300, "loop", "loop/below"])
def test_what_can_be_no_folder_is_told_before_the_work(name, tmp_path, photo, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setattr(service, "start", None)  # not reached
    assert console.run_app(illustrate.app, "pipeline", [str(photo), "-o", str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("INVALID_INPUT: Nothing can be written into ") and len(said.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "loop"] and (tmp_path / "file").read_text() == "mine"


def test_a_pod_is_a_machine_like_any_other(photo, tmp_path):
    """RunPod sets RUNPOD_POD_ID in its pods too, and there is a disk to write on."""
    folder = tmp_path / "Bild\u202f1 \\ \U0001f697\u200d "
    box = ("--vehicle-box", "0.1,0.1,0.9,0.9")
    done = call(photo, "-o", folder, "--size", 1024, "--outputs", "svg", "--remove", "", *box, RUNPOD_POD_ID="x", **quick.VARIABLE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(folder / "illustration.svg"), str(folder / "result.json")]
    assert {path.name for path in folder.iterdir()} == {"illustration.svg", "result.json"}
    assert json.loads((folder / "result.json").read_text())["svg_url"] == (folder / "illustration.svg").as_uri()


def test_missing_models_are_told_before_torch_is_looked_for(photo, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    done = call(photo, "-o", tmp_path / "o", ENGINE="neural", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("MODELS_MISSING: ")


@pytest.mark.parametrize("seconds", [0.7, 4])  # while the engine is built, and at work
def test_ctrl_c_cancels(seconds, photo, tmp_path):
    pipe = tmp_path / "photo.jpg"  # the command waits for its picture, so that the moment of the signal is known
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "pipeline", str(pipe), "-o", str(tmp_path / "o"), "--size", "8192", "--background", "keep"]
    job = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "ENGINE": "classical"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,  # noqa: PLW1509
    )
    pipe.write_bytes(photo.read_bytes())
    time.sleep(seconds)
    assert job.poll() is None
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=120)
    assert job.returncode == 130, said
    assert said.strip().splitlines()[-1] == "CANCELLED: The job was cancelled."
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "car.jpg"), ([""], "car.jpg"), (["--schema", "2", "--image-base64", "QUJD"], "schema 1")]
)
def test_what_lacks_is_said_in_the_shells_words(arguments, said, capsys, monkeypatch):
    monkeypatch.setenv("ENGINE", "classical")
    assert console.run_app(illustrate.app, "pipeline", arguments) == 2
    assert said in capsys.readouterr().err


def test_help_teaches():
    said = call("--help").stdout
    for name in ("--vehicle-box", "--palette", "--outputs", "--detail", "--json", "Exit status"):
        assert name in said


def test_every_key_of_the_job_has_an_option():
    from pipeline.job import Job

    said = call("--help", COLUMNS="200").stdout
    for key in Job.model_fields:
        assert f"--{(Job.model_fields[key].alias or key).replace('_', '-')}" in said, key
