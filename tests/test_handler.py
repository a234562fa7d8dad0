"""The real handler on the real SDK, as a process of its own, in all its local modes."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.sample import scene
from tests.support import quick
from tests.support.pictures import save
from tests.support.ports import free_port
from tests.support.serving import JOB_SECONDS, until

ROOT = Path(__file__).parents[1]
WHOLE = {"size": 1024, "outputs": ["svg", "png"]}
LONG = {**WHOLE, "size": 8192}  # not over before it is interrupted


@cache
def drawn() -> tuple[str, str]:
    """A photo and the vehicle's matte, base64."""
    picture = scene(seed=7, width=800, height=533)
    files = save(Image.fromarray(picture.rgb), "JPEG", quality=88), save(Image.fromarray(picture.mask.astype(np.uint8) * 255), "PNG")
    return base64.b64encode(files[0]).decode(), base64.b64encode(files[1]).decode()


@pytest.fixture(scope="session")
def photo() -> str:
    return drawn()[0]


def small() -> dict:
    """What a job asks for in which nothing has to be found."""
    return {**WHOLE, "matte_base64": drawn()[1], "remove": []}


def environment(tmp_path, **more):
    return {**os.environ, "ENGINE": "classical", "OUTPUT_DIR": str(tmp_path / "out"), **quick.VARIABLE, **more}


def run(tmp_path, job, **more):
    """`python -u handler.py` in a folder that holds the job as test_input.json."""
    (tmp_path / "test_input.json").write_text(json.dumps(job))
    return subprocess.run(
        [sys.executable, "-u", str(ROOT / "handler.py")],
        cwd=tmp_path,
        env=environment(tmp_path, **more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_test_input_json(tmp_path, photo):
    done = run(tmp_path, {"id": "one", "input": {"image_base64": photo, **WHOLE}})
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out" / "one" / "result.json").read_text())
    assert result["status"] == "completed"
    assert result["job_id"] == "one"
    assert {p.name for p in (tmp_path / "out" / "one").iterdir()} == {"illustration.svg", "preview.png", "result.json"}
    assert photo[:200] not in done.stdout + done.stderr


def test_test_input_argument_and_failure(tmp_path):
    done = subprocess.run(
        [sys.executable, "-u", str(ROOT / "handler.py"), "--test_input", json.dumps({"id": "x", "input": {"image_base64": "AAAA"}})],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "UNSUPPORTED_IMAGE: " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


def test_inline_inside_runpod(tmp_path, photo):
    done = run(tmp_path, {"id": "two", "input": {"image_base64": photo, **small(), "canvas": "vehicle"}}, RUNPOD_ENDPOINT_ID="e1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
    assert "data:image/svg+xml;base64," in done.stdout


def test_a_worker_without_its_models_does_not_start(tmp_path):
    done = run(tmp_path, {"input": {"image_base64": "AAAA"}}, ENGINE="neural")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("MODELS_MISSING: ")


def test_a_wrong_setting_stops_the_start(tmp_path):
    (tmp_path / "s.yaml").write_text("phase3: {detial: 1}")
    done = run(tmp_path, {"input": {}}, PIPELINE_CONFIG=str(tmp_path / "s.yaml"))
    assert done.returncode == 2
    assert "did you mean phase3.detail" in done.stderr


def test_a_start_does_not_measure_the_processor(tmp_path):
    """The SDK would, for a second of every cold start, to print its name in a report that is never made."""
    code = "import handler; from runpod.serverless.utils import rp_debugger; print(rp_debugger.PROCESSOR)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Unable to get processor info."


def test_serve_api(tmp_path, photo):
    port = free_port()
    command = [sys.executable, "-u", str(ROOT / "handler.py"), "--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=log, stderr=log)
    try:

        def listens():
            assert server.poll() is None, (tmp_path / "log").read_text()[-3000:]
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        until(listens, JOB_SECONDS)

        def call(job):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/runsync", json.dumps({"input": job}).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read())

        good = call({"image_base64": photo, **small()})
        assert good["status"] == "COMPLETED", good
        assert Path(good["output"]["svg_url"].removeprefix("file://")).read_bytes().startswith(b"<?xml")
        bad = call({"image_base64": photo, "sede": 1})
        assert bad["error"].startswith("INVALID_INPUT: Unknown key 'sede'; did you mean 'seed'?")
        again = call({"image_base64": photo, **small()})
        assert (
            Path(again["output"]["svg_url"].removeprefix("file://")).read_bytes()
            == Path(good["output"]["svg_url"].removeprefix("file://")).read_bytes()
        )
    finally:
        server.terminate()
        server.wait(30)


def test_cancelling_ends_the_work_and_the_next_job_is_unharmed(tmp_path, photo, monkeypatch):
    monkeypatch.setenv("ENGINE", "classical")
    monkeypatch.setenv("PIPELINE_CONFIG", str(quick.CONFIG))
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path / "out"))
    import handler

    async def scenario():
        first = asyncio.create_task(handler.handler({"id": "first", "input": {"image_base64": photo, **LONG}}))
        await asyncio.sleep(0.5)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not (tmp_path / "out" / "first").exists()
        return await handler.handler({"id": "second", "input": {"image_base64": photo, **small()}})

    handler.worker.cache_clear()
    result = asyncio.run(scenario())
    handler.worker.cache_clear()
    assert result["status"] == "completed"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["second"]
    assert not [t for t in threading.enumerate() if t.name.endswith("(_thread_target)")]


def test_a_jobs_own_bucket(photo, monkeypatch, s3_service):
    """The caller's s3Config is where the files go, and the URLs in the answer really give them."""
    monkeypatch.setenv("ENGINE", "classical")
    monkeypatch.setenv("ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setenv("BUCKET_PREFIX", "made")
    monkeypatch.setenv("PIPELINE_CONFIG", str(quick.CONFIG))
    import handler

    bucket = s3_service.new_bucket()
    own = {"accessId": bucket.access_key, "accessSecret": bucket.secret_key, "bucketName": bucket.name, "endpointUrl": bucket.endpoint_url}
    handler.worker.cache_clear()
    answer = asyncio.run(handler.handler({"id": "s3", "input": {"image_base64": photo, **small()}, "s3Config": own}))
    handler.worker.cache_clear()
    assert "error" not in answer, answer
    stored = s3_service.objects(bucket)
    assert set(stored) == {f"made/s3/{name}" for name in ("illustration.svg", "preview.png", "result.json")}
    with urllib.request.urlopen(answer["svg_url"], timeout=30) as got:
        assert got.headers["Content-Type"] == "image/svg+xml"
        assert got.read() == stored["made/s3/illustration.svg"]
    assert json.loads(stored["made/s3/result.json"]) == answer


def test_a_bug_reaches_the_caller_as_an_id_and_the_log_as_a_traceback(tmp_path, photo, monkeypatch, capsys):
    monkeypatch.setenv("ENGINE", "classical")
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path / "out"))
    import handler

    def broken(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("pipeline.service.work.run", broken)
    handler.worker.cache_clear()
    monkeypatch.setenv("ALLOW_PRIVATE_URLS", "1")
    own = {"accessId": "id", "accessSecret": "hush-hush", "bucketName": "mine", "endpointUrl": "http://127.0.0.1:9"}
    answer = asyncio.run(handler.handler({"id": "bug", "input": {"image_base64": photo}, "s3Config": own}))
    handler.worker.cache_clear()
    assert set(answer) == {"error"}
    assert answer["error"].startswith("INTERNAL: ")
    assert "secret detail" not in answer["error"]
    logged = capsys.readouterr().err
    number = answer["error"].removesuffix(".").split()[-1]
    assert number in logged
    assert "ZeroDivisionError" in logged
    assert "hush-hush" not in logged + answer["error"]
    assert photo[:100] not in logged


@pytest.fixture
def door(tmp_path, monkeypatch):
    """The handler's module with a fresh worker of the classical engine; `door(NAME=value)` sets more of the environment."""
    import handler

    def start(**more):
        for name, value in {"ENGINE": "classical", "OUTPUT_DIR": str(tmp_path / "out"), **quick.VARIABLE, **more}.items():
            monkeypatch.setenv(name, value)
        handler.worker.cache_clear()
        return handler

    yield start
    handler.worker.cache_clear()


def logged(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


def test_a_job_that_hangs_is_answered_and_the_worker_leaves(door, photo, monkeypatch, capsys):

    wake = threading.Event()

    def hangs(photo, matte, job, steps, settings, progress):
        progress.enter("illustrate", 0.2, 0.6)
        progress.step("drawing", 0.3)
        wake.wait(60)
        progress.check()
        raise AssertionError("a job that was given up must end at its next step")

    monkeypatch.setattr("pipeline.service.work.run", hangs)
    handler = door(JOB_TIMEOUT_SECONDS="5")  # for the decoding on a busy machine
    monkeypatch.setattr(handler, "GRACE", 0.2)
    answer = asyncio.run(handler.handler({"id": "stuck", "input": {"image_base64": photo}}))
    assert answer["error"].startswith("TIMED_OUT: ")
    assert answer["refresh_worker"] is True
    wake.set()
    for thread in threading.enumerate():
        if thread.name == handler.WORK:
            thread.join(10)
    events = {event["event"]: event for event in logged(capsys)}
    assert events["job_hung"]["phase"] == "illustrate"
    assert events["job_hung"]["job_id"] == "stuck"
    assert events["worker_leaves"]["reason"] == "TIMED_OUT"
    assert (events["job_summary"]["status"], events["job_summary"]["code"]) == ("cancelled", "CANCELLED")


def test_a_late_job_ends_at_its_next_step_and_the_worker_stays(door, photo):
    answer = asyncio.run(door(JOB_TIMEOUT_SECONDS="0.3").handler({"id": "late", "input": {"image_base64": photo, **LONG}}))
    assert answer["error"].startswith("TIMED_OUT: ")
    assert "refresh_worker" not in answer


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (OSError(28, "No space left on device"), "DISK_FULL"),
        (JobError(Code.GPU_FAILED, "The card has failed.", fatal=True), "GPU_FAILED"),
        (JobError(Code.MODELS_MISSING, "The volume is gone.", fatal=True), "MODELS_MISSING"),
    ],
)
def test_a_worker_that_can_do_no_more_asks_to_be_refreshed(door, photo, monkeypatch, capsys, fault, code):

    def broken(*_, **__):
        raise fault

    monkeypatch.setattr("pipeline.service.work.run", broken)
    answer = asyncio.run(door().handler({"id": "last", "input": {"image_base64": photo}}))
    assert answer["error"].startswith(f"{code}: ")
    assert answer["refresh_worker"] is True
    assert [event["reason"] for event in logged(capsys) if event["event"] == "worker_leaves"] == [code]


def test_one_summary_line_a_job_with_every_timing_size_and_count(door, photo, capsys):
    handler = door()
    answer = asyncio.run(handler.handler({"id": "one", "input": {"image_base64": photo, **small(), "prompt": None}}))
    bad = asyncio.run(handler.handler({"id": "two", "input": {"image_base64": "AAAA"}}))
    events = logged(capsys)
    good, failed = (event for event in events if event["event"] == "job_summary" and event["job_id"] in ("one", "two"))
    assert good["job_id"] == answer["job_id"] == "one"
    assert good["status"] == "completed"
    assert set(good["phases_ms"]) == {"fetch", "vehicle", "sanitize", "illustrate", "enforce", "vectorize", "deliver"}
    assert sum(good["phases_ms"].values()) <= good["ms"] + len(good["phases_ms"])  # each is rounded
    assert good["photo"] == [800, 533]
    assert good["input_bytes"] == len(base64.b64decode(photo))
    assert good["output_bytes"]["illustration.svg"] == answer["quality"]["svg_bytes"]
    assert good["quality"] == answer["quality"]
    assert good["rss_mb"] > 50
    assert good["cache"] == {}
    assert (failed["job_id"], failed["status"], failed["code"]) == ("two", "failed", "UNSUPPORTED_IMAGE")
    assert bad["error"].startswith("UNSUPPORTED_IMAGE: ")
    phases = [event for event in events if event["event"] == "phase_done" and event["job_id"] == "one"]
    assert {event["phase"]: event["ms"] for event in phases} == good["phases_ms"]
