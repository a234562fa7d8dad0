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
from PIL import Image

from pipeline.sample import scene
from tests.pictures import save
from tests.s3_service import S3Service

ROOT = Path(__file__).parents[1]
PICTURE = save(Image.fromarray(scene(seed=7, width=320, height=213).rgb), "JPEG", quality=88)
PHOTO = base64.b64encode(PICTURE).decode()
SMALL = {"size": 1024, "outputs": ["svg", "report"], "vehicle_box": [0.1, 0.1, 0.9, 0.9]}
QUERY = "X-Amz-Credential=pLaNt3dQueryKey%2F20260101&X-Amz-Signature=pLaNt3dQuerySign4ture&token=pLaNt3dT0ken"
ENVIRONMENT = {
    "RUNPOD_AI_API_KEY": "pLaNt3dRunpodK3y",
    "API_KEY": "pLaNt3dAp1K3y",
    "AWS_SECRET_ACCESS_KEY": "pLaNt3dAwsS3cret",
    "LOG_LEVEL": "debug",
    "ENGINE": "classical",
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
#: Nothing printed may hold these: what was planted, and any good piece of the picture or of a signed URL.
PLANTED = re.compile(
    "|".join(
        ["pLaNt3d", *(re.escape(PHOTO[at : at + 40]) for at in (0, 400, 4000)), r"X-Amz-\w+=", r"Signature=", re.escape(quote("pLaNt3d"))]
    )
)

BUG = """
import runpy, sys
from pipeline import service
def broken(data, limits):
    job, secret = "pLaNt3d local", data
    raise KeyError("a bug")
service.decode = broken
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

            do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


REFUSAL = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>pLaNt3d</Message><AWSAccessKeyId>pLaNt3dJobAcc3ss</AWSAccessKeyId></Error>'


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
        "accessId": s3_service.access_key, "accessSecret": s3_service.secret_key, "bucketName": bucket.name, "endpointUrl": s3_service.endpoint_url,
    }  # fmt: skip
    printed, result = run(tmp_path, {"input": {"image_base64": PHOTO, **SMALL}, "s3Config": config}, **PRIVATE)
    assert "completed successfully" in printed, printed
    assert "Signature=" in result  # the caller's
    search(printed)
    assert s3_service.secret_key not in printed + result
    for name, data in s3_service.objects(bucket).items():
        if not name.endswith("result.json"):  # the stored answer holds the caller's URLs
            search(data.decode())


S3 = {**S3_CONFIG, "endpointUrl": "{denied}"}
FAILURES: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("wrong option", {"input": {"image_base64": PHOTO, "sede": "pLaNt3d", **PROMPTS}}, {}, "INVALID_INPUT"),
    ("prompts, classical engine", {"input": {"image_base64": PHOTO, **PROMPTS}}, {}, "INVALID_INPUT"),
    ("prompt of a wrong type", {"input": {"image_base64": PHOTO, "prompt": ["pLaNt3d"]}}, {}, "INVALID_INPUT"),
    ("prompt too long", {"input": {"image_base64": PHOTO, "prompt": "pLaNt3d" * 999}}, {}, "INVALID_INPUT"),
    ("photo of a wrong type", {"input": {"image_base64": ["pLaNt3d"]}}, {}, "INVALID_INPUT"),
    ("two photos", {"input": {"image_base64": PHOTO, "image_url": f"https://a.test/?{QUERY}"}}, {}, "INVALID_INPUT"),
    ("no base64", {"input": {"image_base64": PHOTO + "!pLaNt3d"}}, {}, "INVALID_INPUT"),
    ("palette", {"input": {"image_base64": PHOTO, "palette_hex_list": "red"}}, {}, "INVALID_PALETTE"),
    ("URL of a private address", {"input": {"image_url": f"{{photo}}/a.jpg?{QUERY}"}}, {}, "INPUT_FORBIDDEN"),
    ("URL with a user", {"input": {"image_url": f"https://pLaNt3d:pLaNt3dPass@a.test/?{QUERY}"}}, {}, "INVALID_INPUT"),
    ("URL of another scheme", {"input": {"image_url": f"ftp://a.test/?{QUERY}"}}, {}, "INVALID_INPUT"),
    ("URL that is gone", {"input": {"image_url": f"{{gone}}/a.jpg?{QUERY}"}}, PRIVATE, "INPUT_UNREACHABLE"),
    ("URL of noise", {"input": {"image_url": f"{{noise}}/a.jpg?{QUERY}"}}, PRIVATE, "UNSUPPORTED_IMAGE"),
    (
        "URL of a matte that is gone",
        {"input": {"image_base64": PHOTO, "matte_url": f"{{gone}}/m.png?{QUERY}"}},
        PRIVATE,
        "INPUT_UNREACHABLE",
    ),
    ("s3 without a bucket", {"input": {"image_url": "s3://theirs/pLaNt3d.jpg"}}, {}, "INPUT_"),
    ("noise as base64", {"input": {"image_base64": base64.b64encode(b"pLaNt3d" * 99).decode()}}, {}, "UNSUPPORTED_IMAGE"),
    ("s3Config lacks a key", {"input": {"image_base64": PHOTO}, "s3Config": S3_CONFIG}, {}, "INVALID_INPUT"),
    ("s3Config of a wrong type", {"input": {"image_base64": PHOTO}, "s3Config": {**S3, "accessSecret": ["pLaNt3d"]}}, {}, "INVALID_INPUT"),
    ("s3Config is text", {"input": {"image_base64": PHOTO}, "s3Config": "pLaNt3d"}, {}, "INVALID_INPUT"),
    ("s3Config of a private address", {"input": {"image_base64": PHOTO}, "s3Config": S3}, {}, "INPUT_FORBIDDEN"),
    ("a bucket that refuses the job's key", {"input": {"image_base64": PHOTO, **SMALL}, "s3Config": S3}, PRIVATE, "DELIVERY_FAILED"),
    (
        "a bucket that refuses the key",
        {"input": {"image_base64": PHOTO, **SMALL}},
        {**BUCKET, "BUCKET_ENDPOINT_URL": "{denied}"},
        "DELIVERY_FAILED",
    ),
    ("a bucket that cannot be reached", {"input": {"image_base64": PHOTO, **SMALL}}, BUCKET, "DELIVERY_FAILED"),
    ("half a bucket", {"input": {"image_base64": PHOTO}}, {**BUCKET, "BUCKET_NAME": ""}, "DELIVERY_FAILED"),
    ("prefix that leaves", {"input": {"image_base64": PHOTO, "output_prefix": "../x"}}, {}, "INVALID_INPUT"),
]


@pytest.mark.parametrize(("job", "more", "code"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES])
def test_a_job_that_fails(tmp_path: Path, servers: dict[str, Http], job: dict[str, Any], more: dict[str, str], code: str) -> None:
    def placed(text: str) -> str:
        for name, server in servers.items():
            text = text.replace(f"{{{name}}}", server.url)
        return text

    printed, result = run(tmp_path, json.loads(placed(json.dumps(job))), **{name: placed(value) for name, value in more.items()})
    assert re.search(rf"\b{code}", printed), printed[-3000:]
    assert not result
    search(printed)
    assert not (tmp_path / "out").exists()


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


class Platform:
    """As much of RunPod's control plane as one worker needs: it hands out the jobs in turn and keeps their answers."""

    def __init__(self, jobs: list[dict[str, Any]]) -> None:
        waiting, answers, done = list(jobs), {}, threading.Event()
        self.answers: dict[str, str] = answers
        self.done = done

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(waiting.pop(0)).encode() if "job-take" in self.path and waiting else b""
                if not body and "ping" not in self.path:
                    done.wait(0.5)  # a long poll, though a short one
                self.send_response(200 if body else 204)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if "job-done" in self.path and '"percent"' not in text:
                    answers[self.path.split("?")[0].rpartition("/")[2]] = text
                    if len(answers) == len(jobs):
                        done.set()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_the_real_worker_prints_nothing_of_jobs_or_results(tmp_path: Path, s3_service: S3Service, servers: dict[str, Http]) -> None:
    bucket = s3_service.new_bucket()
    jobs = [
        {"id": "good", "input": {"image_url": f"{servers['photo'].url}/a.jpg?{QUERY}", **SMALL}},
        {"id": "own", "input": {"image_base64": PHOTO, **SMALL}, "s3Config": {**S3_CONFIG, "endpointUrl": servers["denied"].url}},
        {"id": "bad", "input": {"image_base64": PHOTO, **PROMPTS, "sede": "pLaNt3d"}},
    ]
    platform = Platform(jobs)
    more = {
        "RUNPOD_WEBHOOK_GET_JOB": f"{platform.url}/job-take/$ID?gpu=none", "RUNPOD_WEBHOOK_POST_OUTPUT": f"{platform.url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{platform.url}/ping/$RUNPOD_POD_ID", "RUNPOD_POD_ID": "pod", "RUNPOD_ENDPOINT_ID": "endpoint", **PRIVATE,
        "RUNPOD_SKIP_GPU_CHECK": "true", "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "BUCKET_ENDPOINT_URL": s3_service.endpoint_url,
        "BUCKET_NAME": bucket.name, "BUCKET_ACCESS_KEY_ID": s3_service.access_key, "BUCKET_SECRET_ACCESS_KEY": s3_service.secret_key,
    }  # fmt: skip
    log = tmp_path / "log"
    with log.open("w") as out:
        worker = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "handler.py")], cwd=tmp_path, env=environment(tmp_path, **more), stdout=out, stderr=out
        )
    try:
        assert platform.done.wait(180), log.read_text()[-3000:]
    finally:
        worker.terminate()
        worker.wait(60)
        platform.server.shutdown()
        platform.server.server_close()
    assert "Signature=" in platform.answers["good"]  # the caller's, and only the caller's
    for name, code in (("own", "DELIVERY_FAILED"), ("bad", "INVALID_INPUT")):
        assert code in platform.answers[name]
        search(platform.answers[name])
    printed = log.read_text()
    assert printed.count("job_summary") == 3, printed
    search(printed)
    assert s3_service.secret_key not in printed + "".join(platform.answers.values())
