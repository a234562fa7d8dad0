"""How a worker ends: by a job that hangs, by a fault that is the worker's own, by the platform, by force, or before its first job."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.control_plane import Fault
from tests.support.faulty_proxy import HANG, faulty_proxy
from tests.support.real_worker import ROOT, SMALL, bucket_environment, drawn
from tests.worker import sabotaged

SABOTAGED = [str(Path(sabotaged.__file__))]


def request(**more):
    return {"input": {**drawn(), **SMALL, **more}}


def leaves(plane, worker, job, following, code):
    """The job has one answer of that code, which asks for a fresh worker; this one says so once, takes no other job and ends."""
    assert plane.settled(job, seconds=90), worker.printed()[-3000:]
    assert worker.ended.wait(60), worker.printed()[-3000:]
    (final,) = plane.jobs[job].finals
    assert final.told["error"].startswith(f"{code}: "), final.told
    assert final.told["stopPod"] is True
    assert [event["reason"] for event in worker.events("worker_leaves")] == [code]
    assert plane.jobs[following].status == "IN_QUEUE"
    assert plane.pods[worker.pod].takes_after_stop == 0
    assert not any(late for _, late in plane.jobs[job].updates)


def healthy(worker) -> subprocess.CompletedProcess:
    """The image's health check."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.health"], env=worker.environment, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_slow_job_times_out_and_the_worker_stays_a_hung_one_makes_it_leave(plane, start):
    worker = start("pod", code=SABOTAGED, JOB_TIMEOUT_SECONDS="8")
    slow = plane.submit(request(seed=sabotaged.SLOW))
    assert plane.settled(slow, seconds=90), worker.printed()[-3000:]
    assert plane.jobs[slow].answer["error"].startswith("TIMED_OUT: ")
    assert "stopPod" not in plane.jobs[slow].answer
    assert plane.wait(lambda: json.loads(Path(worker.environment["WORKER_STATE"]).read_text())["state"] == "ready", 5)
    assert healthy(worker).returncode == 0
    plane.inject(Fault("update", "slow", seconds=6))  # and an update is still under way
    hung, following = plane.submit(request(seed=sabotaged.HANGS)), plane.submit(request())
    leaves(plane, worker, hung, following, "TIMED_OUT")
    assert worker.process.returncode == 1
    assert [event["phase"] for event in worker.events("job_hung")] != [""]
    assert "leaving" in healthy(worker).stderr or "gone" in healthy(worker).stderr


def test_a_job_that_stops_python_itself_ends_the_process_and_is_handed_out_again(plane, start):
    worker = start("pod", code=SABOTAGED, JOB_TIMEOUT_SECONDS="5")
    job = plane.submit(request(seed=sabotaged.LOCKS))
    assert worker.ended.wait(90)
    assert "Timeout (0:00:08)!" in worker.printed()
    assert "sabotaged.py" in worker.printed()  # where it stood
    assert (plane.jobs[job].status, plane.jobs[job].posts, plane.jobs[job].retries) == ("IN_QUEUE", [], 1)


def test_a_worker_whose_card_fails_leaves(plane, start, s3_service):
    """As for every fault that `tests/test_handler.py` names: the answer asks for a fresh worker."""
    bucket = s3_service.new_bucket()
    worker = start("pod", code=SABOTAGED, **bucket_environment(bucket))
    failing, following = plane.submit(request(seed=sabotaged.CARD_FAILS)), plane.submit(request())
    leaves(plane, worker, failing, following, "GPU_FAILED")
    assert s3_service.objects(bucket) == {}


def test_a_full_disk(plane, start, tmp_path):
    """A job's files do not fit into the folder, a file system of 128 KB; both need the right to mount one, as root has it."""
    out = tmp_path / "small"
    out.mkdir()
    mounted = f'mount -t tmpfs -o size=128k tmpfs {out} && exec "$@"'
    elsewhere = {"OUTPUT_DIR": str(out), "RUNPOD_POD_ID": None, "RUNPOD_ENDPOINT_ID": None}  # local files are not for inside RunPod
    worker = start("pod", before=("unshare", "-Urm", "sh", "-c", mounted, "sh"), **elsewhere)
    full = plane.submit(request(outputs=["svg", "png", "intermediates"], delivery="local", size=2048))
    following = plane.submit(request())
    assert plane.settled(full, seconds=90), worker.printed()[-3000:]
    assert plane.jobs[full].answer["error"].startswith("DISK_FULL: ")
    assert plane.jobs[full].answer["stopPod"] is True
    assert worker.ended.wait(60)
    assert plane.jobs[following].status == "IN_QUEUE"


def test_a_bucket_that_refuses_the_key_in_the_middle(plane, start, s3_service):
    bucket, refused = s3_service.new_bucket(), []

    def fault(method, path):
        if "preview.png" in path and method == "PUT":
            refused.append(path)  # the key has just been withdrawn
        return 403 if refused else None

    with faulty_proxy(s3_service.endpoint_url, fault) as (address, _):
        worker = start("pod", **{**bucket_environment(bucket), "BUCKET_ENDPOINT_URL": address})
        job, following = plane.submit(request()), plane.submit(request())
        leaves(plane, worker, job, following, "DELIVERY_FAILED")
    assert "result.json" not in {key.rpartition("/")[2] for key in s3_service.objects(bucket)}


def test_sigkill_in_mid_upload_another_worker_overwrites_the_same_keys(plane, start, s3_service):
    bucket = s3_service.new_bucket()
    with faulty_proxy(s3_service.endpoint_url, lambda method, path: HANG if method == "PUT" and "preview.png" in path else None) as (
        address,
        _,
    ):
        worker = start("first", **{**bucket_environment(bucket), "BUCKET_ENDPOINT_URL": address})
        job = plane.submit(request(), "order")
        assert plane.wait(lambda: "order/illustration.svg" in s3_service.keys(bucket), 90), worker.printed()[-3000:]
        worker.kill()
        assert worker.ended.wait(10)
    assert s3_service.keys(bucket) == {"order/illustration.svg"}
    assert (plane.jobs[job].status, plane.jobs[job].retries) == ("IN_QUEUE", 1)
    second = start("second", **bucket_environment(bucket))
    assert plane.settled(job, seconds=90), second.printed()[-3000:]
    assert [final.pod for final in plane.jobs[job].finals] == ["second"]
    stored = s3_service.objects(bucket)
    assert set(stored) == {"order/illustration.svg", "order/preview.png", "order/result.json"}
    assert json.loads(stored["order/result.json"]) == plane.jobs[job].answer["output"]


@pytest.mark.parametrize(("name", "value", "code"), [
    ("BUCKET_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch"), ("BUCKET_NAME", "nobodys", "NoSuchBucket"),
])  # fmt: skip
def test_a_mistake_in_the_bucket_costs_no_job(plane, start, s3_service, name, value, code):
    if not s3_service.checks_keys:  # moto takes every key
        name, value, code = "BUCKET_NAME", "nobodys", "NoSuchBucket"
    job = plane.submit(request())
    worker = start("pod", **{**bucket_environment(s3_service.new_bucket()), name: value})
    assert worker.ended.wait(90)
    assert worker.process.returncode == 1
    (told,) = plane.pods["pod"].unhealthy
    assert re.match(f"bucket_takes_files: JobError: DELIVERY_FAILED: .*{code}", told), told
    assert (plane.jobs[job].status, plane.jobs[job].taken) == ("IN_QUEUE", [])
