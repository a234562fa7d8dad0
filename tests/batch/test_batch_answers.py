"""Answers as a broken proxy, an account without money or a worker of another kind give them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from batch import http
from tests.support.instant_plane import result

NONE = "\N{REPLACEMENT CHARACTER}"


class Answering(ThreadingHTTPServer):
    """`run` and `status`: what /run and every other route answer, status and body; `asked`: the routes in order."""

    run, status = (200, '{"id": "x", "status": "IN_QUEUE"}'), (200, "{}")

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path.rpartition("/e/")[2])
        status, body = self.server.run if self.path.endswith(("/run", "/process")) else self.server.status
        self.send_response(status)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        self.do_POST()

    def log_request(self, *_):
        """Nothing."""


@pytest.fixture
def odd(plane, monkeypatch):
    monkeypatch.setattr(http, "PATIENCE", 0.5)
    with Answering() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.mark.parametrize(("status", "sentence"), [(402, "status 402 (Payment Required)"), (302, "status 302 (Found)"), (451, "status 451")])
def test_a_refusal_that_is_not_the_jobs_fails_no_picture(odd, batch, manifest, status, sentence):
    odd.run = status, "{}"
    ended = batch(manifest(count=5), "--concurrency", "1")
    assert ended.status == 2 and sentence in ended.err and "0 failed, 5 not done" in ended.out and len(odd.asked) == 1


def test_a_job_that_is_forgotten_is_sent_again_so_often_and_no_more(odd, batch, manifest):
    odd.status = 404, "{}"
    ended = batch(manifest(count=1), "--retry", "2")
    assert ended.status == 3 and odd.asked.count("run") == 3
    assert ended.rows["car-0"]["error"] == "INTERNAL: The endpoint forgot the job before it was over."


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ('"status": "FAILED", "error": "NO_VEHICLE: \\ud800\\u001b[31m none."', f"NO_VEHICLE: {2 * NONE}[31m none."),
        (f'"status": "COMPLETED", "output": {json.dumps(result(svg_url="file:///a"))}', "DELIVERY_FAILED: illustration.svg cannot be"),
    ],
)
def test_what_cannot_be_shown_or_fetched_is_said(odd, batch, manifest, state, error):
    odd.status = 200, f"{{{state}}}"
    ended = batch(manifest(count=1))
    assert ended.status == 3 and ended.rows["car-0"]["error"].startswith(error) and f"car-0: {error}" in ended.err


@pytest.mark.parametrize("more", ['"executionTime": 1e999', '"executionTime": NaN', '"executionTime": "long"', '"delayTime": []'])
def test_a_time_that_is_none_costs_nothing(odd, batch, manifest, more):
    odd.status = 200, f'{{"status": "COMPLETED", "output": {json.dumps(result(note="x"))[:-1]}, "odd": "\\ud800"}}, {more}}}'
    ended = batch(manifest(count=1), "--price", "1")
    assert ended.status == 0 and ended.rows["car-0"]["cost"] == 0


def test_an_answer_that_is_not_http_ends_the_run(odd, batch, manifest, monkeypatch):
    monkeypatch.setattr(Handler, "do_POST", lambda self: self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))
    ended = batch(manifest(count=1))
    assert ended.status == 3 and "The RunPod endpoint cannot be reached: its answer is not HTTP." in ended.err
