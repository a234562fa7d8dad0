"""What the pod survives: engines that are killed or hang, web processes that are killed, stops in mid-job, several web processes."""

import contextlib
import os
import random
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from server.settings import read
from tests.support.serving import JOB_SECONDS, QUICK, SLOW, Server, engines_of, is_engine, serving, until


def test_a_killed_engine_begins_its_job_again_once(tmp_path: Path, photo: bytes, large: bytes) -> None:
    with serving(tmp_path / "out") as server:
        server.ready()
        job_id = server.submit(large, **SLOW)
        behind = server.submit(photo, **QUICK)
        for attempt in (1, 2):
            server.working(job_id, attempt)
            engine = server.engine()
            os.kill(engine, signal.SIGKILL)
            until(lambda gone=engine: not is_engine(gone))
            assert server.client.get("/health").status_code == 200
        told = server.over(job_id)
        assert told["status"] == "failed" and told["error"].startswith("POISONED: ")
        assert sorted(path.name for path in (server.folder / job_id).iterdir()) == ["input"]
        assert server.over(behind)["status"] == "completed"
        assert server.metric('engine_restarts_total{slot="0"}') == 2 and server.metric('errors_total{code="POISONED"}') == 1
        assert server.metric('engine_up{slot="0"}') == 1
        counting = {path.stem.rpartition("_")[2] for path in read({"OUTPUT_DIR": str(server.folder)}).metrics_folder.glob("*.db")}
        assert counting == {str(server.process.pid), "engine-0"}  # three engines, one after another, count in the same files


def test_a_killed_server_loses_nothing_and_leaves_nobody_behind(tmp_path: Path, photo: bytes, large: bytes) -> None:
    with serving(tmp_path / "out") as server:
        server.ready()
        names = [server.submit(large, **SLOW), *(server.submit(photo, **QUICK, seed=seed) for seed in range(3))]
        server.working(names[0])
        engine = server.engine()
        server.kill()
        until(lambda: not is_engine(engine), 5)
    with serving(tmp_path / "out") as server:
        jobs = [server.over(name) for name in names]
        assert [job["status"] for job in jobs] == ["completed"] * 4
        assert [job["attempts"] for job in jobs] == [2, 1, 1, 1]
        assert [job["started_at"] for job in jobs] == sorted(job["started_at"] for job in jobs)  # the old order


def test_a_server_killed_in_mid_submission_loses_no_answer_and_doubles_none(tmp_path: Path, photo: bytes) -> None:
    """At a random moment, while four connections submit; what got no answer is sent again under its key."""
    count, moment, answered = 80, random.randrange(5, 60), dict[int, str]()
    for life in (1, 2):
        with serving(tmp_path / "out", WORKERS="0") as server, ThreadPoolExecutor(4) as pool:

            def send(number: int, server: Server = server) -> None:
                with contextlib.suppress(httpx.TransportError):
                    answered[number] = server.submit(photo, {"Idempotency-Key": f"order-{number}"}, **QUICK, seed=number)

            sending = [pool.submit(send, number) for number in range(count) if number not in answered]
            if life == 1:
                until(lambda: len(answered) >= moment, every=0.001)
                server.kill()
            for task in sending:
                task.result()
            if life == 1:
                assert moment <= len(answered) < count
                continue
            found = [server.job(job["job_id"]) for job in server.client.get("/api/v1/jobs?limit=100").json()["jobs"]]
            assert {job["settings"]["seed"]: job["job_id"] for job in found} == answered and len(found) == count
            assert all((server.folder / name / "input").read_bytes() == photo for name in answered.values())


def test_a_hanging_job_is_cancelled_by_ending_its_engine(tmp_path: Path, large: bytes) -> None:
    with serving(tmp_path / "out", KILL_GRACE_SECONDS="1", JOB_TIMEOUT_SECONDS="60") as server:
        server.ready()
        job_id = server.submit(large, **SLOW)
        server.working(job_id)
        engine = server.engine()
        os.kill(engine, signal.SIGSTOP)  # nothing of it turns any more
        server.client.post(f"/api/v1/jobs/{job_id}/cancel")
        assert server.over(job_id)["status"] == "cancelled"
        until(lambda: not is_engine(engine))
        assert server.client.get("/ready").status_code in (503, 200)
        server.ready()


def test_a_late_job_ends_by_itself_and_a_hanging_one_by_ending_its_engine(tmp_path: Path, large: bytes) -> None:
    with serving(tmp_path / "out", KILL_GRACE_SECONDS="10", JOB_TIMEOUT_SECONDS="2") as server:
        server.ready()
        engine = server.engine()
        sample = server.client.get("/api/v1/sample").content
        told = server.over(server.submit(sample, **SLOW | {"outputs": ["svg", "png", "pdf", "report", "intermediates"]}))
        assert told["status"] == "failed" and told["error"].startswith("TIMED_OUT: ")
        assert server.engine() == engine  # it was not ended for that
        job_id = server.submit(large, **SLOW)
        until(lambda: server.job(job_id)["progress"], JOB_SECONDS)
        os.kill(engine, signal.SIGSTOP)
        told = server.over(job_id)
        assert told["status"] == "failed" and told["error"].startswith("TIMED_OUT: ")
        until(lambda: not is_engine(engine))


def test_a_stop_lets_the_job_at_hand_end(tmp_path: Path, photo: bytes) -> None:
    with serving(tmp_path / "out") as server:
        server.ready()
        job_id, next_one = server.submit(photo, **QUICK | {"size": 2048}), server.submit(photo, **QUICK)
        until(lambda: server.job(job_id)["status"] == "processing", JOB_SECONDS, 0.01)
        seen: list[str] = []

        def listen() -> None:
            with httpx.stream("GET", f"{server.client.base_url}/api/v1/jobs/{next_one}/events", timeout=60) as answer:
                seen.append(str(answer.status_code))
                with contextlib.suppress(httpx.RemoteProtocolError):  # cut off, so that the listener knows that more will come
                    answer.read()

        listener = threading.Thread(target=listen)
        listener.start()
        until(lambda: seen)
        server.process.terminate()
        assert server.process.wait(40) == 0  # whoever listens does not hold it up
        listener.join(5)
        assert not listener.is_alive() and engines_of(server.folder) == []
    with serving(tmp_path / "out", WORKERS="0") as server:
        told, waiting = server.job(job_id), server.job(next_one)
        assert (told["status"], told["attempts"]) in (("completed", 1), ("pending", 0))  # the second where the machine was too busy
        assert (waiting["status"], waiting["attempts"]) == ("pending", 0)


def test_several_web_processes_share_one_queue_and_its_engines(tmp_path: Path, photo: bytes) -> None:
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", "{port}", "--workers", "2"]
    folder = tmp_path / "out"
    with serving(folder, command=command, WORKERS="2") as server:
        until(lambda: len(engines_of(folder)) == 2, JOB_SECONDS)
        names = [server.submit(photo, **QUICK, seed=seed, outputs=["svg"]) for seed in range(6)]
        jobs = [server.over(name) for name in names]
        assert [job["status"] for job in jobs] == ["completed"] * 6 and {job["attempts"] for job in jobs} == {1}
        summaries = [line for job in jobs for line in job["logs"] if line["event"] == "job_summary"]
        assert len(summaries) == 6 and sorted(line["job_id"] for line in summaries) == sorted(names)
        assert len(engines_of(folder)) == 2 and server.metric('jobs_total{status="completed"}') == 6
