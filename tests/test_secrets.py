"""Secrets are planted wherever a deployment or a job has any; then everything that a run prints and makes is searched for them.

The level is `debug`, the SDK's own is the one that the handler sets. One thing is expected and left out: in the local modes
the SDK prints the result itself ("Job result: …"), which holds the URLs that the caller is meant to have. In the real
worker mode nothing of a result is printed, and nothing is left out.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from model_cache import embedded
from tests.support import quick
from tests.support.control_plane import ControlPlane, Fault
from tests.support.real_worker import RealWorker, bucket_environment, drawn
from tests.support.s3_service import S3Service
from tests.support.serving import NO_NETWORKS

ROOT = Path(__file__).parents[1]
PHOTO = drawn()["image_base64"]
PICTURE = base64.b64decode(PHOTO)
SMALL = {"size": 1024, "outputs": ["svg", "report"], "remove": [], "matte_base64": drawn()["matte_base64"]}
QUERY = "X-Amz-Credential=pLaNt3dQueryKey%2F20260101&X-Amz-Signature=pLaNt3dQuerySign4ture&token=pLaNt3dT0ken"
ENVIRONMENT = {
    "API_KEY": "pLaNt3dAp1K3y",
    "AWS_SECRET_ACCESS_KEY": "pLaNt3dAwsS3cret",
    "LOG_LEVEL": "debug",
    "ENGINE": "classical",
    embedded.VARIABLE: NO_NETWORKS,  # no job here looks for its vehicle
    **quick.VARIABLE,
}
BUCKET = {
    "BUCKET_ENDPOINT_URL": "http://127.0.0.1:9",
    "BUCKET_NAME": "results",
    "BUCKET_ACCESS_KEY_ID": "pLaNt3dAcc3ssK3y",
    "BUCKET_SECRET_ACCESS_KEY": "pLaNt3dS3cretK3y",
}
S3_CONFIG = {"accessId": "pLaNt3dJobAcc3ss", "accessSecret": "pLaNt3dJobS3cret", "bucketName": "theirs"}
PRIVATE = {"ALLOW_PRIVATE_URLS": "true"}
PROMPTS = {"prompt": "pLaNt3d customer's prompt", "negative_prompt": "pLaNt3d customer's dislikes"}
#: Nothing printed may hold these: what was planted, a piece of the picture (of its own, behind the tables that all JPEGs share) or of a
#: signed URL.
_PIECES = [re.escape(PHOTO[at : at + 40]) for at in (len(PHOTO) // 2, len(PHOTO) * 3 // 4)]
PLANTED = re.compile("|".join(["pLaNt3d", *_PIECES, r"X-Amz-\w+=", r"Signature=", re.escape(quote("pLaNt3d"))]))

BUG = """
import runpy, sys
from pipeline.service import received
def broken(data, limits):
    job, secret = "pLaNt3d local", data
    raise KeyError("a bug")
received.decode = broken
sys.argv = [{handler!r}]
sys.path.insert(0, {root!r})
runpy.run_path({handler!r}, run_name="__main__")
"""


def search(*texts: str) -> None:
    """Fail with the line that holds something planted."""
    for text in texts:
        for line in text.splitlines():
            if (found := PLANTED.search(line)) is not None:
                raise AssertionError(f"{found[0]!r} in: {line[max(0, found.start() - 300) : found.end() + 100]}")


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BUCKET_", "RUNPOD_"))}
    return {**kept, **ENVIRONMENT, "OUTPUT_DIR": str(folder / "out"), **more}


def run(folder: Path, job: dict[str, Any], code: str | None = None, **more: str) -> tuple[str, str]:
    """`python -u handler.py` with the job as test_input.json: what it prints but the result, and the SDK's line with that."""
    (folder / "test_input.json").write_text(json.dumps({"id": "order-42", **job}))
    what = ["-c", code] if code else [str(ROOT / "handler.py")]
    done = subprocess.run(
        [sys.executable, "-u", *what], cwd=folder, env=environment(folder, PYTHONPATH=str(ROOT), **more),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    results = [line for line in lines if "Job result: " in line]
    return "\n".join(line for line in lines if "Job result: " not in line), "\n".join(results)


class Http:
    """A server on loopback that answers every request with one status and body, and counts them."""

    def __init__(self, status: int, body: bytes) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


REFUSAL = (
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>pLaNt3d</Message>'
    b"<AWSAccessKeyId>pLaNt3dJobAcc3ss</AWSAccessKeyId></Error>"
)


@pytest.fixture
def servers() -> Iterator[dict[str, Http]]:
    made = {
        "photo": Http(200, PICTURE),
        "noise": Http(200, b"\xff\xd8\xff pLaNt3d"),
        "gone": Http(404, b"pLaNt3d"),
        "denied": Http(403, REFUSAL),
    }
    yield made
    for server in made.values():
        server.close()


def test_a_job_that_succeeds(tmp_path: Path, servers: dict[str, Http]) -> None:
    job = {"input": {"image_url": f"{servers['photo'].url}/car.jpg?{QUERY}", "delivery": "local", **SMALL}}
    printed, _ = run(tmp_path, job, **PRIVATE, **BUCKET)
    assert "completed successfully" in printed, printed
    files = {path.name: path.read_text("utf-8") for path in (tmp_path / "out" / "order-42").iterdir()}
    assert set(files) == {"illustration.svg", "report.html", "result.json"}
    search(printed, *files.values())


def test_a_job_into_its_own_bucket(tmp_path: Path, s3_service: S3Service) -> None:
    bucket = s3_service.new_bucket()
    config = {
        "accessId": s3_service.access_key,
        "accessSecret": s3_service.secret_key,
        "bucketName": bucket.name,
        "endpointUrl": s3_service.endpoint_url,
    }
    printed, result = run(tmp_path, {"input": {"image_base64": PHOTO, **SMALL}, "s3Config": config}, **PRIVATE)
    assert "completed successfully" in printed, printed
    assert "Signature=" in result  # the caller's
    search(printed)
    # Swift's key for tests is a word that the SDK says too
    assert s3_service.secret_key not in (printed + result).replace("Local testing complete", "")
    for name, data in s3_service.objects(bucket).items():
        if not name.endswith("result.json"):  # the stored answer holds the caller's URLs
            search(data.decode())


S3 = {**S3_CONFIG, "endpointUrl": "{denied}"}
#: What fails, the code that it fails with, and whether private addresses are allowed.
FAILURES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "wrong option": ({"input": {"image_base64": PHOTO, "sede": "pLaNt3d", **PROMPTS}}, "INVALID_INPUT", False),
    "prompts, classical engine": ({"input": {"image_base64": PHOTO, **PROMPTS}}, "INVALID_INPUT", False),
    "prompt of a wrong type": ({"input": {"image_base64": PHOTO, "prompt": ["pLaNt3d"]}}, "INVALID_INPUT", False),
    "prompt too long": ({"input": {"image_base64": PHOTO, "prompt": "pLaNt3d" * 999}}, "INVALID_INPUT", False),
    "photo of a wrong type": ({"input": {"image_base64": ["pLaNt3d"]}}, "INVALID_INPUT", False),
    "two photos": ({"input": {"image_base64": PHOTO, "image_url": f"https://a.test/?{QUERY}"}}, "INVALID_INPUT", False),
    "no base64": ({"input": {"image_base64": PHOTO + "!pLaNt3d"}}, "INVALID_INPUT", False),
    "palette": ({"input": {"image_base64": PHOTO, "palette_hex_list": "red"}}, "INVALID_PALETTE", False),
    "URL of a private address": ({"input": {"image_url": f"{{photo}}/a.jpg?{QUERY}"}}, "INPUT_FORBIDDEN", False),
    "URL with a user": ({"input": {"image_url": f"https://pLaNt3d:pLaNt3dPass@a.test/?{QUERY}"}}, "INVALID_INPUT", False),
    "URL of another scheme": ({"input": {"image_url": f"ftp://a.test/?{QUERY}"}}, "INVALID_INPUT", False),
    "s3 without a bucket": ({"input": {"image_url": "s3://theirs/pLaNt3d.jpg"}}, "INPUT_FORBIDDEN", False),
    "noise as base64": ({"input": {"image_base64": base64.b64encode(b"pLaNt3d" * 99).decode()}}, "UNSUPPORTED_IMAGE", False),
    "s3Config lacks a key": ({"input": {"image_base64": PHOTO}, "s3Config": S3_CONFIG}, "INVALID_INPUT", False),
    "s3Config of a wrong type": (
        {"input": {"image_base64": PHOTO}, "s3Config": {**S3, "accessSecret": ["pLaNt3d"]}},
        "INVALID_INPUT",
        False,
    ),
    "s3Config is text": ({"input": {"image_base64": PHOTO}, "s3Config": "pLaNt3d"}, "INVALID_INPUT", False),
    "s3Config of a private address": ({"input": {"image_base64": PHOTO}, "s3Config": S3}, "INPUT_FORBIDDEN", False),
    "prefix that leaves": ({"input": {"image_base64": PHOTO, "output_prefix": "../x"}}, "INVALID_INPUT", False),
    "URL that is gone": ({"input": {"image_url": f"{{gone}}/a.jpg?{QUERY}"}}, "INPUT_UNREACHABLE", True),
    "URL of noise": ({"input": {"image_url": f"{{noise}}/a.jpg?{QUERY}"}}, "UNSUPPORTED_IMAGE", True),
    "matte that is gone": ({"input": {"image_base64": PHOTO, "matte_url": f"{{gone}}/m.png?{QUERY}"}}, "INPUT_UNREACHABLE", True),
    "palette's picture that is gone": (
        {"input": {"image_base64": PHOTO, "palette_from_url": f"{{gone}}/m.png?{QUERY}"}},
        "INPUT_UNREACHABLE",
        True,
    ),
    "a bucket that refuses the job's key": ({"input": {"image_base64": PHOTO, **SMALL}, "s3Config": S3}, "DELIVERY_FAILED", True),
}


def placed(value: Any, servers: dict[str, Http]) -> Any:
    """The value with the servers' addresses in it."""
    text = json.dumps(value)
    for name, server in servers.items():
        text = text.replace(f"{{{name}}}", server.url)
    return json.loads(text)


@pytest.mark.parametrize("private", [False, True])
def test_jobs_that_fail_in_the_real_worker(tmp_path: Path, servers: dict[str, Http], private: bool) -> None:
    jobs = {name: (job, code) for name, (job, code, allowed) in FAILURES.items() if allowed is private}
    with ControlPlane() as plane:
        for name, (job, _) in jobs.items():
            plane.submit(placed(job, servers), name.replace(" ", "-"))
        with RealWorker(plane, "pod", tmp_path, **ENVIRONMENT, **(PRIVATE if private else {})) as worker:
            assert plane.settled(seconds=180), worker.printed()[-3000:]
        for name, (_, code) in jobs.items():
            answer = plane.jobs[name.replace(" ", "-")].answer
            assert answer["error"].startswith(f"{code}: "), (name, answer)
            search(json.dumps(answer))
        search(worker.printed())
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({**BUCKET, "BUCKET_ENDPOINT_URL": "{denied}"}, "DELIVERY_FAILED"),  # refuses the key
        (BUCKET, "DELIVERY_FAILED"),  # cannot be reached
        ({**BUCKET, "BUCKET_NAME": ""}, "DELIVERY_FAILED"),  # half of one
    ],
)
def test_a_deployments_bucket_that_fails(tmp_path: Path, servers: dict[str, Http], more: dict[str, str], code: str) -> None:
    printed, result = run(tmp_path, {"input": {"image_base64": PHOTO, **SMALL, "outputs": ["svg"]}}, **placed(more, servers))
    assert re.search(rf"\b{code}", printed), printed[-3000:]
    assert not result
    search(printed)


def test_a_bug(tmp_path: Path) -> None:
    code = BUG.format(handler=str(ROOT / "handler.py"), root=str(ROOT))
    printed, _ = run(tmp_path, {"input": {"image_base64": PHOTO, **SMALL}, "s3Config": None}, code, **BUCKET)
    assert "INTERNAL: " in printed, printed
    assert "a bug" in printed  # the log has the traceback, without the values of its variables
    search(printed)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_shell(tmp_path: Path, servers: dict[str, Http], wrong: bool) -> None:
    url = f"{servers['gone' if wrong else 'photo'].url}/a.jpg?{QUERY}"
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", url, "-o", str(tmp_path / "files"), "--size", "1024", "--vehicle-box", "0.1,0.1,0.9,0.9"],
        cwd=ROOT, env=environment(tmp_path, **PRIVATE, **BUCKET), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == (2 if wrong else 0), done.stderr
    assert servers["gone" if wrong else "photo"].asked
    search(done.stdout, done.stderr)
    if not wrong:
        search((tmp_path / "files" / "result.json").read_text(), (tmp_path / "files" / "illustration.svg").read_text())


def test_the_real_worker_prints_nothing_of_jobs_or_results(tmp_path: Path, s3_service: S3Service, servers: dict[str, Http]) -> None:
    bucket = s3_service.new_bucket()
    with ControlPlane() as plane:
        plane.submit({"input": {"image_url": f"{servers['photo'].url}/a.jpg?{QUERY}", **SMALL}}, "good")
        plane.submit(placed({"input": {"image_base64": PHOTO, **SMALL}, "s3Config": S3}, servers), "own")
        plane.inject(Fault("update", "500"), Fault("done", "drop", job="good"))  # what fails on the way is logged too
        with RealWorker(plane, "pod", tmp_path, **ENVIRONMENT, **PRIVATE, **bucket_environment(bucket)) as worker:
            assert plane.settled(seconds=180), worker.printed()[-3000:]
        assert "Signature=" in json.dumps(plane.jobs["good"].answer)  # the caller's, and only the caller's
        assert plane.jobs["own"].answer["error"].startswith("DELIVERY_FAILED: ")
        answers = "".join(json.dumps(job.answer) for job in plane.jobs.values())
    printed = worker.printed()
    assert printed.count("job_summary") == 2, printed
    search(printed)
    assert s3_service.secret_key not in printed + answers
