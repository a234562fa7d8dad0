"""The stand-in for RunPod's control plane, asked by the SDK's own client and as the SDK's worker asks."""

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import runpod
from runpod.endpoint import Endpoint

from tests.support.control_plane import KEY, ControlPlane, Fault


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(poll_seconds=1.0) as made:
        yield made


@pytest.fixture
def endpoint(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setattr(runpod, "endpoint_url_base", plane.url.removesuffix("/e"))
    monkeypatch.setattr(runpod, "api_key", "client-key")
    return runpod.Endpoint("e")


def take(plane: ControlPlane, pod: str = "a", busy: str = "0") -> httpx.Response:
    return httpx.get(
        f"{plane.url}/job-take/{pod}?gpu=none&job_in_progress={busy}", headers={"Authorization": KEY}, timeout=10, trust_env=False
    )


def post(plane: ControlPlane, job_id: str, body: dict[str, object], pod: str = "a") -> httpx.Response:
    headers = {"Authorization": KEY, "X-Request-ID": job_id, "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{plane.url}/job-done/{pod}/{job_id}?gpu=none&isStream=false"
    return httpx.post(url, content=json.dumps(body), headers=headers, timeout=10, trust_env=False)


def stop_poll(plane: ControlPlane, pod: str = "a") -> httpx.Response:
    return httpx.get(f"{plane.url}/job-stop/{pod}?gpu=none", headers={"Authorization": KEY}, timeout=10, trust_env=False)


def test_a_job_from_the_client_to_the_worker_and_back(plane, endpoint):
    job = endpoint.run({"input": {"a": 1}, "s3Config": {"bucketName": "b"}})
    assert job.status() == "IN_QUEUE"
    assert take(plane).json() == {"id": job.job_id, "input": {"a": 1}, "s3Config": {"bucketName": "b"}}
    assert job.status() == "IN_PROGRESS"
    assert post(plane, job.job_id, {"status": "IN_PROGRESS", "output": {"number": 1}}).status_code == 200
    assert post(plane, job.job_id, {"output": {"b": 2}}).status_code == 200
    assert job.status() == "COMPLETED"
    assert job.output() == {"b": 2}
    assert plane.complaints == []
    assert endpoint.health()["jobs"]["completed"] == 1


def test_an_error_fails_the_job_and_a_retry_runs_it_again(plane, endpoint):
    job = endpoint.run({"input": {}})
    take(plane)
    post(plane, job.job_id, {"error": "INVALID_INPUT: no."})
    assert job.status() == "FAILED"
    assert httpx.post(f"{plane.url}/retry/{job.job_id}", trust_env=False).json()["status"] == "IN_QUEUE"
    assert take(plane, "b").json()["id"] == job.job_id


def test_runsync_waits_for_the_answer(plane):
    def work():
        while (got := take(plane)).status_code != 200:
            pass
        post(plane, got.json()["id"], {"output": 7})

    worker = threading.Thread(target=work)
    worker.start()
    answer = httpx.post(f"{plane.url}/runsync?wait=5000", json={"input": {}}, timeout=10, trust_env=False).json()
    worker.join()
    assert (answer["status"], answer["output"]) == ("COMPLETED", 7)


def test_long_polls_wait_and_end(plane):
    began = time.monotonic()
    assert take(plane).status_code == 204
    assert 0.9 < time.monotonic() - began < 5
    threading.Timer(0.2, plane.submit, ({"input": {}},)).start()
    assert take(plane).status_code == 200


def test_cancelling_a_job_that_runs_tells_its_worker_once(plane, endpoint):
    job = endpoint.run({"input": {}})
    take(plane)
    job.cancel()
    assert job.status() == "CANCELLED"
    assert stop_poll(plane, "another").status_code == 204
    assert stop_poll(plane).json() == {"jobsToStop": [job.job_id]}
    assert stop_poll(plane).status_code == 204


def test_cancelling_and_purging_the_queue(plane, endpoint):
    first, second, third = (endpoint.run({"input": {}}) for _ in range(3))
    first.cancel()
    assert take(plane).json()["id"] == second.job_id
    endpoint.purge_queue()
    assert take(plane).status_code == 204
    assert third.job_id not in plane.jobs


def test_a_late_update_leaves_the_job_in_progress(plane):
    job = plane.submit({"input": {}})
    take(plane)
    post(plane, job, {"output": 1})
    post(plane, job, {"status": "IN_PROGRESS", "output": {"number": 9}})
    assert plane.jobs[job].status == "IN_PROGRESS"
    assert [late for _, late in plane.jobs[job].updates] == [True]


def test_a_job_whose_worker_is_gone_is_handed_out_again_and_a_worker_that_stops_gets_nothing(plane):
    job = plane.submit({"input": {}})
    take(plane, "a")
    plane.gone("a")
    assert take(plane, "a").status_code == 204
    assert take(plane, "b").json()["id"] == job
    assert plane.jobs[job].retries == 1


def test_answers_are_counted(plane):
    job = plane.submit({"input": {}})
    take(plane)
    for body in ({"output": 1}, {"output": 1}, {"output": 2}):  # the second is the transport's
        post(plane, job, body)
    assert [final.told for final in plane.jobs[job].finals] == [{"output": 1}, {"output": 2}]
    assert plane.jobs[job].answer == {"output": 1}


def test_limits_of_time_end_a_job(plane):
    late = plane.submit({"input": {}, "policy": {"executionTimeout": 100}})
    old = plane.submit({"input": {}, "policy": {"ttl": 100}})
    assert take(plane).json()["id"] == late
    assert plane.settled(late, seconds=5)
    assert plane.jobs[late].status == "TIMED_OUT"
    assert stop_poll(plane).json() == {"jobsToStop": [late]}
    assert plane.wait(lambda: old not in plane.jobs, 5)
    assert httpx.get(f"{plane.url}/status/{old}", trust_env=False).status_code == 404


def test_what_is_too_large_is_refused(plane):
    job = plane.submit({"input": {}})
    take(plane)
    assert post(plane, job, {"output": "x" * 10_000_000}).status_code == 400
    assert plane.jobs[job].status == "IN_PROGRESS"
    assert httpx.post(f"{plane.url}/run", json={"input": "x" * 10_000_000}, trust_env=False).status_code == 400


@pytest.mark.parametrize(
    ("kind", "recorded", "status"),
    [
        ("500", False, 500),
        ("500 after", True, 500),
        ("400", False, 400),
        ("429", False, 429),
        ("drop", False, None),
        ("drop after", True, None),
    ],
)
def test_faults_happen_once_before_or_after_the_body_counts(plane, kind, recorded, status):
    job = plane.submit({"input": {}})
    take(plane)
    plane.inject(Fault("done", kind, job=job))
    if status is None:
        with pytest.raises(httpx.TransportError):
            post(plane, job, {"output": 1})
    else:
        assert post(plane, job, {"output": 1}).status_code == status
    assert bool(plane.jobs[job].posts) is recorded
    assert post(plane, job, {"output": 1}).status_code == 200
    assert len(plane.jobs[job].finals) == 1
    assert plane.planned() == []


def test_a_job_that_could_not_be_handed_out_stays_in_the_queue(plane):
    job = plane.submit({"input": {}})
    plane.inject(Fault("take", "drop after"), Fault("take", "slow", seconds=0.3))
    with pytest.raises(httpx.TransportError):
        take(plane)
    began = time.monotonic()
    assert take(plane).json()["id"] == job
    assert time.monotonic() - began >= 0.3


def test_requests_that_no_sdk_would_send_are_complained_about(plane):
    httpx.get(f"{plane.url}/job-take/a?gpu=none", trust_env=False)
    assert plane.complaints == ["take: a key is missing or wrong", "take: job_in_progress is missing or wrong"]


def test_pings_and_the_reason_of_an_unhealthy_worker(plane):
    headers = {"Authorization": KEY}
    httpx.get(f"{plane.url}/ping/a?job_id=x,y", headers=headers, trust_env=False)
    httpx.get(f"{plane.url}/ping/a?status=unhealthy&check=bucket&reason=refused", headers=headers, trust_env=False)
    assert [told for _, told in plane.pods["a"].pings] == ["x,y"]
    assert plane.pods["a"].unhealthy == ["bucket: refused"]
