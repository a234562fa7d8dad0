"""The pod's limits: sizes, times, room, requests a minute, names, origins; settings that are wrong; idempotency and age over HTTP."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from pipeline.settings import SettingsError
from server import files, intake, jobs, keeper
from server.database import connect
from server.events import LISTENERS
from server.problems import Problem
from server.settings import read
from tests.support.serving import QUICK, ROOT, Server, environment, serving, until


def test_sizes_and_times(tmp_path: Path, photo: bytes) -> None:
    big = photo + bytes(300_000)
    with serving(tmp_path / "out", WORKERS="0", MAX_INPUT_MB="0.2", UPLOAD_SECONDS="2") as server:
        for data in (big, photo + bytes(5_000_000)):  # over the picture's limit, and over the whole request's
            answer = server.client.post("/api/v1/process", files={"file": ("car.jpg", data)})
            assert answer.status_code == 413 and answer.json()["code"] == "INPUT_TOO_LARGE"
        chunked = server.client.post(
            "/api/v1/process",
            content=(
                part for part in [b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n', *[bytes(100_000)] * 20]
            ),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert chunked.status_code == 413 and chunked.json()["code"] == "INPUT_TOO_LARGE"
        assert server.client.post("/api/v1/jobs/x/cancel", content=bytes(100_000)).status_code in (404, 413)
        began = time.monotonic()
        with socket.create_connection((server.client.base_url.host, server.client.base_url.port)) as slow:
            slow.sendall(b"POST /api/v1/process HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n")
            slow.sendall(b"Content-Length: 999\r\n\r\n--x")
            slow.settimeout(20)
            answered = b"".join(iter(lambda: slow.recv(4000), b""))
        assert answered.startswith(b"HTTP/1.1 408 ") and b"TIMED_OUT" in answered and 1.5 < time.monotonic() - began < 15
        assert server.client.get("/api/v1/jobs").json()["jobs"] == [] and list((server.folder / ".server" / "incoming").iterdir()) == []
        assert server.client.post("/api/v1/process", files={"file": ("car.jpg", photo)}).status_code == 202


def test_so_many_listeners_and_no_more(tmp_path: Path, photo: bytes) -> None:
    """All at once: each is heard or refused at once, and a place that is free again is taken again."""
    with serving(tmp_path / "out", WORKERS="0") as server:
        address = f"{server.client.base_url}/api/v1/jobs/{server.submit(photo)}/events"

        async def burst() -> None:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(limits=limits, timeout=60) as client, AsyncExitStack() as listening:

                async def listen() -> httpx.Response:
                    return await listening.enter_async_context(client.stream("GET", address))

                answers = await asyncio.gather(*(listen() for _ in range(LISTENERS + 50)))
                refused = [answer for answer in answers if answer.status_code != 200]
                assert len(refused) == 50 and {answer.status_code for answer in refused} == {429}
                for answer in refused:
                    assert json.loads(await answer.aread())["code"] == "RATE_LIMITED" and answer.headers["Retry-After"]

        asyncio.run(burst())
        until(lambda: heard(address), 20, 0.5)


def heard(address: str) -> bool:
    with httpx.stream("GET", address, timeout=20) as answer:
        return answer.status_code == 200


def test_requests_a_minute_names_and_origins(tmp_path: Path) -> None:
    settings = {"WORKERS": "0", "RATE_LIMIT_PER_MINUTE": "5", "ALLOWED_HOSTS": "127.0.0.1", "CORS_ORIGINS": "https://good.example"}
    with serving(tmp_path / "out", **settings) as server:
        refused = server.client.get("/api/v1/jobs", headers={"Host": "evil.example"})
        assert refused.status_code == 403 and refused.json()["code"] == "FORBIDDEN"
        assert server.client.get("/health", headers={"Host": "evil.example"}).status_code == 200
        preflight = {
            "Origin": "https://good.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key",
        }
        allowed = server.client.options("/api/v1/process", headers=preflight)
        assert allowed.headers["access-control-allow-origin"] == "https://good.example"
        evil = server.client.options("/api/v1/process", headers=preflight | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in evil.headers
        answers = [server.client.get("/api/v1/jobs") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json()["code"] == "RATE_LIMITED" and 1 <= int(answers[-1].headers["retry-after"]) <= 61
        assert server.client.get("/health").status_code == server.client.get("/").status_code == 200
        assert server.metric('errors_total{code="RATE_LIMITED"}') == 2


def test_no_room_is_said_and_nothing_is_left(tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "out", WORKERS="0", MIN_FREE_MB="1e12") as server:
        answer = server.client.post("/api/v1/process", files={"file": ("car.jpg", photo)})
        assert answer.status_code == 503 and answer.json()["code"] == "QUEUE_FULL" and int(answer.headers["retry-after"]) > 0
    pod = read({"OUTPUT_DIR": str(tmp_path / "other")})
    database = connect(pod.database)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(intake, "_copy", full)
    (tmp_path / "car.jpg").write_bytes(photo)
    with (tmp_path / "car.jpg").open("rb") as file, pytest.raises(Problem, match="QUEUE_FULL"):
        intake.accept(intake.Submission((), file, None), pod, database)
    assert [path.name for path in pod.jobs_folder.iterdir()] == [".server"]
    monkeypatch.undo()
    with database.read() as connection:  # the database itself: no page more than it has
        connection.exec_driver_sql(f"PRAGMA max_page_count = {connection.exec_driver_sql('PRAGMA page_count').scalar_one()}")
    taken = 0
    with pytest.raises(Problem, match="QUEUE_FULL"):
        while taken < 1000:
            with (tmp_path / "car.jpg").open("rb") as file:
                intake.accept(intake.Submission((("prompt", "x" * 2000),), file, None), pod, database)
            taken += 1
    assert len([path for path in pod.jobs_folder.iterdir() if path.name != ".server"]) == taken
    assert len(jobs.listed(database, 100, None)["jobs"]) == min(taken, 100)
    assert not list((pod.own_folder / "incoming").iterdir())
    database.close()


def test_the_same_request_twice(intake_only: Server, photo: bytes) -> None:
    key = {"Idempotency-Key": "order-42"}
    first = intake_only.submit(photo, key, **QUICK)
    assert intake_only.submit(photo, key, **QUICK) == first
    other = intake_only.client.post("/api/v1/process", files={"file": ("car.jpg", photo)}, headers=key)
    assert other.status_code == 422 and other.json()["code"] == "INVALID_INPUT" and other.json()["job_id"] == first
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: intake_only.submit(photo, {"Idempotency-Key": "order-43"}, **QUICK), range(16)))
    assert len(found) == 1
    folders = [path.name for path in intake_only.folder.iterdir() if len(path.name) == 32]
    assert sorted(folders) == sorted([first, *found])


def test_pending_jobs_are_cancelled_and_deleted_at_once(intake_only: Server, photo: bytes) -> None:
    names = [intake_only.submit(photo, **QUICK) for _ in range(3)]
    assert [intake_only.job(name)["queue_position"] for name in names] == [1, 2, 3]
    text = intake_only.client.get("/metrics").text
    for line in (
        'errors_total{code="INTERNAL"} 0.0',
        'jobs_total{status="completed"} 0.0',
        'model_cache_operations_total{kind="loads"} 0.0',
    ):
        assert line in text.splitlines()  # there before anything has happened
    assert intake_only.metric("job_queue_size") == 3 and intake_only.metric("oldest_pending_seconds") > 0
    assert intake_only.client.post(f"/api/v1/jobs/{names[0]}/cancel").json()["status"] == "cancelled"
    assert intake_only.job(names[0])["error"].startswith("CANCELLED: ") and intake_only.job(names[1])["queue_position"] == 1
    assert intake_only.client.delete(f"/api/v1/jobs/{names[1]}").status_code == 204
    assert not (intake_only.folder / names[1]).exists() and intake_only.job(names[2])["queue_position"] == 1
    not_ready = intake_only.client.get("/ready")
    assert not_ready.status_code == 503 and not_ready.json()["code"] == "NOT_READY"


def test_who_follows_a_job_that_is_deleted_is_not_an_error(intake_only: Server, photo: bytes) -> None:
    job_id = intake_only.submit(photo, **QUICK)
    path = f"/api/v1/jobs/{job_id}/events"
    with intake_only.client.stream("GET", path) as answer, httpx.Client(base_url=intake_only.client.base_url) as other:
        assert other.delete(f"/api/v1/jobs/{job_id}").status_code == 204
        assert answer.read() == b""  # ends in order, without an end of the job
    assert intake_only.client.get(path).status_code == 404
    assert intake_only.metric('errors_total{code="INTERNAL"}') == 0 and "Traceback" not in intake_only.log.read_text()


def test_old_jobs_go_and_waiting_ones_stay(tmp_path: Path, photo: bytes) -> None:
    """Through the keeper's own sweep. The job ends by being cancelled, while the engine still starts."""
    with serving(tmp_path / "out", WORKERS="1", RETENTION_HOURS="0.0005") as server:
        ended = server.submit(photo, **QUICK)
        assert server.client.post(f"/api/v1/jobs/{ended}/cancel").json()["status"] == "cancelled"
        until(lambda: server.client.get(f"/api/v1/jobs/{ended}").status_code == 404)
        until(lambda: not (server.folder / ended).exists())


def test_what_became_no_job_is_swept(tmp_path: Path) -> None:
    pod = read({"OUTPUT_DIR": str(tmp_path / "out")})
    database = connect(pod.database)
    upload, orphan, foreign = files.incoming(pod), pod.jobs_folder / ("a" * 32), pod.jobs_folder / "mine"
    for path in (orphan, foreign):
        path.mkdir()
    keeper.sweep(pod, database)
    assert upload.exists() and orphan.exists()
    for path in (upload, orphan, foreign):
        os.utime(path, (0, 0))
    keeper.sweep(pod, database)
    assert not upload.exists() and not orphan.exists() and foreign.exists()
    database.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT_PER_MINUTE", "many"),
        ("RETENTION_HOURS", "0"),
        ("API_KEY", "schlüssel"),
        ("OUTPUT_DIR", "/proc/nothing"),
        ("WORKERS", "-1"),
        ("PIPELINE_CONFIG", "/nothing.yaml"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read({"OUTPUT_DIR": str(tmp_path), name: value})
    assert name in str(refused.value) or value in str(refused.value)


def test_a_wrong_setting_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "server"],
        cwd=ROOT,
        env=environment(tmp_path, RETENTION_HOURS="0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 2 and len(told.stderr.strip().splitlines()) == 1 and "RETENTION_HOURS" in told.stderr


def test_a_port_that_is_taken_stops_the_start_with_one_sentence(intake_only: Server, tmp_path: Path) -> None:
    port = str(intake_only.client.base_url.port)
    for where, said in ((("--port", port), port), (("--host", "192.0.2.1"), "192.0.2.1")):
        told = subprocess.run(
            [sys.executable, "-m", "server", *where],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 2 and len(told.stderr.strip().splitlines()) == 1 and said in told.stderr, told.stderr


def test_the_help_teaches() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "server", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "--port" in told and "5090" in told and "API_KEY" in told
