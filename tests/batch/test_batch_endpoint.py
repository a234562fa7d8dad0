"""Batches at a RunPod endpoint: each picture sent once, answered once, whatever happens between."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from batch import http
from bench.batch import ROOT, command, environment, killed
from tests.support.instant_plane import InstantPlane, picture_of, result
from tests.support.pictures import save


def car(number):
    return f"https://example.com/{number}.jpg"


def photo(path, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(Image.new("RGB", (96, 72), (shade, 90, 80)), "JPEG"))
    os.utime(path, (1, 1))  # nobody writes it any more
    return path


def test_every_line_is_sent_once_with_its_settings(plane, batch, manifest):
    given = manifest(
        {"id": "a", "image_url": car(1), "seed": 5}, {"id": "b/c", "image_url": car(2)}, {"id": "twin", "image_url": car(1), "seed": 5}
    )
    ended = batch(given, "--set", "size=2048", "seed=9", "--retry", "1")
    assert ended.status == 0 and "3 completed, 0 failed" in ended.out and plane.wrong_keys == 0
    assert [request["input"] for _, request in plane.sent] == [
        {"image_url": car(1), "size": 2048, "seed": 5},
        {"image_url": car(2), "size": 2048, "seed": 9},
    ]
    assert list(ended.rows) == ["a", "b/c", "twin"]
    for name, row in ended.rows.items():
        assert row["status"] == "completed" and row["error"] is None and row["iou"] == 0.9
        assert row["files"] == {"svg": f"files/{name}/illustration.svg"}
        assert (ended.folder / row["files"]["svg"]).read_text().startswith("<svg")
    assert "data:" not in (ended.folder / "results.jsonl").read_text()
    assert ended.rows["twin"]["same_as"] == "a" and [row["seconds"] for row in ended.rows.values()] == [pytest.approx(1, abs=0.2)] * 2 + [0]


def test_the_same_command_sends_nothing_again_and_new_settings_do(plane, batch, manifest):
    given = manifest(count=3)
    assert batch(given).status == batch(given).status == 0 and len(plane.sent) == 3
    assert batch(given, "--set", "seed=1").status == 0 and len(plane.sent) == 6
    ended = batch(given)  # the first answers are still here
    assert ended.status == 0 and len(plane.sent) == 6 and all(row["files"] for row in ended.rows.values())


def test_a_folder_is_sent_as_pictures_and_known_by_content(plane, batch, tmp_path):
    photo(tmp_path / "in/a.jpg")
    photo(tmp_path / "in/sub/b.JPG", 30)
    photo(tmp_path / "in/same.jpg")
    (tmp_path / "in/notes.txt").write_text("no picture")
    photo(tmp_path / "in/.hidden.jpg")
    ended = batch(tmp_path / "in", folder=tmp_path / "in" / "out")
    assert ended.status == 0 and set(ended.rows) == {"a.jpg", "same.jpg", "sub/b.JPG"} and len(plane.sent) == 2
    (tmp_path / "in/a.jpg").rename(tmp_path / "in/renamed.jpg")
    photo(tmp_path / "in/sub/b.JPG", 200)
    ended = batch(tmp_path / "in", folder=tmp_path / "in" / "out")
    assert len(plane.sent) == 3 and {"renamed.jpg", "a.jpg"} <= set(ended.rows)
    assert (tmp_path / "in/out/files/sub/b.JPG/before.webp").exists()


def test_a_bad_picture_stops_nobody_and_is_named(plane, batch, manifest):
    plane.answer = lambda job: (
        {"error": "NO_VEHICLE: No vehicle was found in the picture."} if job["input"]["image_url"] == car(1) else {"output": result()}
    )
    ended = batch(manifest(count=3))
    assert ended.status == 3 and "2 completed, 1 failed" in ended.out
    assert "car-1: NO_VEHICLE: No vehicle was found in the picture.\n" in ended.err
    assert ended.rows["car-1"]["status"] == "failed" and ended.rows["car-1"]["tries"] == 1
    assert batch(manifest(count=3)).status == 3 and len(plane.sent) == 3  # it was answered
    with (ended.folder / "results.csv").open() as table:
        assert "car-1,https://example.com/1.jpg,failed,NO_VEHICLE: No vehicle" in table.read()


def test_what_may_pass_is_tried_again_so_often(plane, batch, manifest):
    plane.answer = lambda _: {"error": "GPU_OUT_OF_MEMORY: The card's memory is full."}
    assert batch(manifest(count=1), "--retry", "1").status == 3 and len(plane.sent) == 2
    plane.answer = lambda _: {"output": result()}
    assert batch(manifest(count=1), "--retry", "1").status == 3 and len(plane.sent) == 2
    ended = batch(manifest(count=1), "--retry", "3")
    assert ended.status == 0 and len(plane.sent) == 3 and ended.rows["car-0"]["tries"] == 3


def test_a_traceback_is_one_sentence(plane, batch, manifest):
    plane.answer = lambda _: {"error": 'Traceback (most recent call last):\n  File "/app/x.py"\nRuntimeError: lost'}
    ended = batch(manifest(count=1), "--retry", "0")
    assert ended.rows["car-0"]["error"] == "INTERNAL: RuntimeError: lost"


def test_a_busy_endpoint_is_asked_again(plane, batch, manifest):
    plane.statuses = [429, 500, 503]
    assert batch(manifest(count=2)).status == 0 and len(plane.sent) == 2


@pytest.mark.parametrize(("status", "sentence"), [(401, "refuses the key"), (404, "knows no endpoint 'e'")])
def test_a_wrong_key_or_endpoint_is_wrong_use(plane, batch, manifest, status, sentence):
    plane.statuses = [status] * 10
    ended = batch(manifest(count=3), "--concurrency", "1")
    assert ended.status == 2 and sentence in ended.err.splitlines()[-1] and not plane.sent


def test_an_endpoint_that_is_not_there_ends_the_run(batch, manifest, monkeypatch):
    monkeypatch.setenv("RUNPOD_API_KEY", "k")
    monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(http, "PATIENCE", 0.3)
    ended = batch(manifest(count=2))
    assert ended.status == 3 and "The RunPod endpoint cannot be reached" in ended.err and "2 not done" in ended.out


def test_a_picture_too_large_for_a_request_is_said(plane, batch, tmp_path):
    photo(tmp_path / "in/a.jpg")
    with (tmp_path / "in/a.jpg").open("ab") as file:
        file.write(os.urandom(8_000_000) + b"\xff\xd9")
    ended = batch(tmp_path / "in")
    assert ended.status == 3 and ended.rows["a.jpg"]["error"].startswith("INPUT_TOO_LARGE: The job takes 10.7 MB and RunPod takes 10")


def test_the_budget_ends_it_and_more_money_goes_on(plane, batch, manifest):
    plane.cost = 36.0
    given = manifest(count=10)
    ended = batch(given, "--price", "1", "--budget", "0.055")  # a picture costs 0.01
    assert ended.status == 4 and len(plane.sent) == 5 and "5 completed, 0 failed, 5 not done, cost 0.05" in ended.out
    assert "higher --budget" in ended.err
    assert batch(given, "--price", "1", "--budget", "0.055").status == 4 and len(plane.sent) == 5
    assert batch(given, "--price", "1", "--budget", "0.2").status == 0 and len(plane.sent) == 10


def test_files_behind_addresses_are_fetched(plane, batch, manifest, tmp_path):
    import http.server
    import threading
    from functools import partial

    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "x.svg").write_text("<svg/>")
    serve = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "bucket"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/x.svg?X-Signature=abc"
        plane.answer = lambda _: {"output": result(svg_url=url, png_url=url.replace("x.svg", "none.png"))}
        ended = batch(manifest(count=1))
        assert ended.status == 3 and "DELIVERY_FAILED: preview.png cannot be fetched" in ended.err
        (tmp_path / "bucket" / "none.png").write_bytes(save(Image.new("RGB", (64, 64)), "PNG"))
        ended = batch(manifest(count=1))  # only the files are asked for again
        server.shutdown()
    assert ended.status == 0 and len(plane.sent) == 1
    assert (ended.folder / "files/car-0/illustration.svg").read_text() == "<svg/>"
    assert (ended.folder / "files/car-0/after.webp").exists()
    assert "X-Signature" not in (ended.folder / "results.jsonl").read_text() + (ended.folder / "gallery.html").read_text()


@pytest.mark.parametrize("how", [["--listen", "0"], []])
def test_answers_arrive_by_webhook(plane, batch, manifest, how):
    plane.seconds = 0.3
    ended = batch(manifest(count=20), *how)
    assert ended.status == 0 and len(ended.rows) == 20
    if how:
        assert plane.webhooks[200] == 20 and plane.polls == 0
    else:
        assert plane.polls >= 20


def test_a_late_answer_to_an_earlier_try_is_none_to_the_next(plane, batch, manifest):
    """And what else arrives at the receiver: nobody's secret, no JSON, a job that nobody waits for."""

    def answer(job):
        secret, first = job["webhook"].rpartition("/")[0], plane.sent[0][1]["webhook"]
        if len(plane.sent) == 1:
            return {"error": "GPU_OUT_OF_MEMORY: The card's memory is full."}
        seen.append(post(first, b'{"status": "FAILED", "error": "NO_VEHICLE: late."}'))
        seen.extend([post(job["webhook"], b"["), post(f"{secret}/none", b"{}")])
        seen.append(post(job["webhook"].replace(secret, secret[:-1]), b"{}"))
        return {"output": result()}

    def post(url, body):
        try:
            return urlopen(Request(url, body)).status
        except HTTPError as refused:
            return refused.code

    seen = []
    plane.answer = answer
    ended = batch(manifest(count=1), "--listen", "0")
    assert ended.status == 0 and len(plane.sent) == 2 and seen == [200, 400, 200, 404]


def test_a_webhook_address_is_passed_through(plane, batch, manifest):
    assert batch(manifest(count=1), "--webhook", "http://127.0.0.1:9/mine").status == 0
    assert plane.sent[0][1]["webhook"] == "http://127.0.0.1:9/mine"


def started(given, folder, plane, *more):
    return subprocess.Popen(
        command(given, folder, *more), cwd=ROOT, env=environment(plane), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(true, seconds=90):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_cancels_what_is_in_flight_and_the_same_command_goes_on(plane, batch, manifest, tmp_path):
    plane.seconds = 60
    given = manifest(count=8)
    process = started(given, tmp_path / "out", plane, "--concurrency", "4")
    until(lambda: len(plane.sent) == 4)
    other = batch(given)  # two runs on one folder
    assert other.status == 2 and f"Another run works on {tmp_path / 'out'} (process {process.pid})" in other.err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130 and "Interrupted; the same command goes on." in err
    assert len(plane.cancelled) == 4 and plane.running() == 0 and len(plane.sent) == 4
    plane.seconds = 0
    ended = batch(given)
    assert ended.status == 0 and len(plane.sent) == 12 and len(ended.rows) == 8


def known(folder, count):
    """Whether the ledger has the endpoint's ids of so many jobs."""
    with sqlite3.connect(folder / "ledger.sqlite") as ledger:
        return ledger.execute("SELECT count(*) FROM tasks WHERE remote IS NOT NULL").fetchone()[0] == count


def test_jobs_in_flight_are_found_again_after_a_kill(plane, batch, manifest, tmp_path):
    plane.seconds = 2.0
    given = manifest(count=4)
    process = started(given, tmp_path / "out", plane, "--concurrency", "4")

    until(lambda: len(plane.sent) == 4 and known(tmp_path / "out", 4))
    process.kill()
    process.communicate()
    ended = batch(given)
    assert ended.status == 0 and len(plane.sent) == 4 and len(ended.rows) == 4


def test_jobs_that_the_endpoint_forgot_are_sent_again(plane, batch, manifest, tmp_path):
    plane.seconds = 60
    given = manifest(count=2)
    process = started(given, tmp_path / "out", plane)
    until(lambda: len(plane.sent) == 2 and known(tmp_path / "out", 2))
    process.kill()
    process.communicate()
    plane.jobs.clear()
    plane.seconds = 0
    assert batch(given).status == 0 and len(plane.sent) == 4


def test_killed_at_any_moment_each_picture_is_answered_once():
    told = killed(kills=3, count=30, seed=5, most_seconds=0.8)
    assert told["status"] == 0 and told["answered_once"] == 30
    assert told["answered_more"] == told["sent_again_after_answer"] == 0


def test_watching_picks_up_only_what_is_new_and_whole(plane, manifest, tmp_path):
    source, folder = tmp_path / "in", tmp_path / "out"
    photo(source / "a.jpg")
    whole = photo(tmp_path / "b.jpg", 7).read_bytes()
    process = started(source, folder, plane, "--watch")
    until(lambda: len(plane.sent) == 1)
    with (source / "b.jpg").open("wb") as file:
        file.write(whole[: len(whole) // 2])
        file.flush()
        time.sleep(3.5)  # longer than a file is left alone for
        assert len(plane.sent) == 1
        file.write(whole[len(whole) // 2 :])
    until(lambda: len(plane.sent) == 2)
    until(lambda: (folder / "results.jsonl").exists() and len((folder / "results.jsonl").read_text().splitlines()) == 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=90)
    assert process.returncode == 130 and len(plane.sent) == 2
    import base64

    assert base64.b64decode(plane.sent[1][1]["input"]["image_base64"]) == whole


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--budget", "1"], "--budget needs --price"),
        (["--endpoint", "local", "--listen", "1"], "--webhook and --listen are RunPod's"),
        (["--webhook", "ftp://a"], "--webhook must be an http or https address"),
        (["--concurrency", "0"], "--concurrency"),
        (["--set", "sizes=1"], "did you mean 'size'"),
        (["--endpoint", "a/b"], "--endpoint must be local"),
        (["--endpoint", "http://"], "--endpoint must be local"),
        (["--endpoint", "http://127.0.0.1:99999"], "--endpoint must be local"),
        (["--webhook", "http://"], "--webhook must be an http or https address"),
        (["--webhook", "http://a/b?c", "--listen", "0"], "--webhook with --listen must have no query"),
        (["--price", "inf"], "--price must be a finite number"),
        (["--nonsense"], "--help lists every option"),
    ],
)
def test_wrong_use_is_a_sentence_and_writes_nothing(batch, manifest, more, sentence, monkeypatch):
    monkeypatch.setenv("RUNPOD_API_KEY", "k")
    ended = batch(manifest(count=1), *more)
    assert ended.status == 2 and sentence in ended.err.splitlines()[-1]
    assert not (ended.folder / "results.jsonl").exists()


def test_no_key_is_said(batch, manifest):
    ended = batch(manifest(count=1))
    assert ended.status == 2 and "RUNPOD_API_KEY is not set" in ended.err


@pytest.mark.parametrize("source", ["", "none", "file.txt", "https://example.com/a.jpg", "s3://bucket/x"])
def test_a_source_that_is_none_is_said(batch, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    ended = batch(source)
    assert ended.status == 2 and ended.err.count("\n") == 1


def test_every_answer_is_kept_in_the_ledger(plane: InstantPlane, batch, manifest):
    ended = batch(manifest(count=2))
    with sqlite3.connect(ended.folder / "ledger.sqlite") as ledger:
        rows = ledger.execute("SELECT state, tries, job FROM tasks ORDER BY position").fetchall()
    assert [(state, tries) for state, tries, _ in rows] == [("completed", 1)] * 2
    assert [json.loads(job)["image_url"] for *_, job in rows] == [picture_of(request) for _, request in plane.sent]
