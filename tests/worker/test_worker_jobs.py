"""One worker in the real loop, one job after another: whatever the last one was, the next one finishes."""

import base64
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from batch.client import Client, JobFailed
from tests.support.control_plane import ControlPlane, Fault
from tests.support.pictures import save
from tests.support.real_worker import SMALL, RealWorker, bucket_environment, drawn


class Loop:
    """The control plane, the worker, and its bucket."""

    def __init__(self, plane, worker, service, bucket) -> None:
        self.plane, self.worker, self.service, self.bucket = plane, worker, service, bucket

    def send(self, job_id=None, top=None, **more) -> str:
        return self.plane.submit({"input": {**drawn(), **SMALL, **more}, **(top or {})}, job_id)

    def done(self, job_id, seconds=90):
        assert self.plane.settled(job_id, seconds=seconds), self.worker.printed()[-3000:]
        return self.plane.jobs[job_id]

    def files(self, job_id):
        return {key.rpartition("/")[2]: data for key, data in self.service.objects(self.bucket).items() if key.startswith(f"{job_id}/")}

    def finishes(self, job_id=None):
        """An ordinary job runs to its end: one answer, which is the stored result, and every file that it names."""
        job = self.done(job_id or self.send())
        assert job.status == "COMPLETED", job.answer
        assert len(job.finals) == 1
        files = self.files(job.id)
        assert set(files) == {"illustration.svg", "preview.png", "result.json"}
        assert json.loads(files["result.json"]) == job.answer["output"]
        assert not any(late for _, late in job.updates)
        numbers = [update.told["output"]["number"] for update, _ in job.updates]
        assert numbers == sorted(set(numbers))
        return job

    def fails(self, job_id, code):
        """A job ends with one answer that is an error of that code; the worker stays, and nothing is stored."""
        job = self.done(job_id)
        assert [set(final.told) for final in job.finals] == [{"error"}]
        assert job.answer["error"].startswith(f"{code}: "), job.answer
        assert self.files(job.id) == {}


@pytest.fixture(scope="module")
def loop(tmp_path_factory, s3_service) -> Iterator[Loop]:
    bucket = s3_service.new_bucket()
    with ControlPlane() as plane:
        with RealWorker(plane, "pod", tmp_path_factory.mktemp("loop"), ALLOW_PRIVATE_URLS="1", **bucket_environment(bucket)) as worker:
            yield Loop(plane, worker, s3_service, bucket)
        assert plane.complaints == []


def test_a_job_finishes_and_its_urls_work(loop):
    job = loop.finishes()
    assert [final.request_id for final in job.finals] == [job.id]
    assert len(job.updates) >= 3
    assert {"number", "phase", "step", "percent"} == set(job.updates[0][0].told["output"])
    with urllib.request.urlopen(job.answer["output"]["svg_url"], timeout=30) as got:
        assert got.read() == loop.files(job.id)["illustration.svg"]
    with urllib.request.urlopen(job.answer["output"]["png_url"], timeout=30) as got:
        assert got.headers["Content-Type"] == "image/png"
    assert loop.plane.wait(lambda: any(told == job.id for _, told in loop.plane.pods["pod"].pings), 5)  # the pings named it


def test_a_service_calls_it_with_the_client(loop):
    base, _, endpoint = loop.plane.url.rpartition("/")
    with Client(endpoint, key="a service's", base=base) as client:
        job = client.submit({**drawn(), **SMALL, "schema": 1})
        states = list(client.progress(job, timeout=90))
        result = states[-1].result()
        assert result.job_id == job and result.engine == "classical" and result.quality["iou"] is None and states[-1].seconds > 0
        told = [state.progress for state in states if state.progress]
        assert told and [one.number for one in told] == sorted({one.number for one in told}) and told[-1].percent <= 100
        assert client.file(result.svg_url) == loop.files(job)["illustration.svg"]
        with pytest.raises(JobFailed) as raised:
            client.wait(client.submit({**drawn(), "sede": 1}), timeout=90)
        assert (raised.value.code, raised.value.may_pass) == ("INVALID_INPUT", False) and "'seed'" in raised.value.sentence


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"image_base64": "AAAA"}, "UNSUPPORTED_IMAGE"),
        ({"sede": 1}, "INVALID_INPUT"),
        ({"output_prefix": "../elsewhere"}, "INVALID_INPUT"),
        ({"palette_hex_list": ["red"]}, "INVALID_PALETTE"),
        ({"delivery": "local"}, "INVALID_INPUT"),
    ],
)
def test_a_job_fails_with_one_typed_answer(loop, more, code):
    loop.fails(loop.send(**more), code)


def test_what_the_platform_would_lose_is_refused_by_the_worker(loop):
    """Inline, 8 MB is the limit: a photo of noise with all its pictures, though little of it is drawn."""
    noise = np.random.default_rng(0).integers(0, 256, (1280, 1280, 3), dtype=np.uint8)
    matte = np.zeros((1280, 1280), np.uint8)
    for corner in (np.s_[:120, :120], np.s_[-120:, -120:]):  # so that the vehicle's square is the whole photo
        noise[corner], matte[corner] = 128, 255
    files = {"image_base64": save(Image.fromarray(noise), "PNG"), "matte_base64": save(Image.fromarray(matte), "PNG")}
    pictures = {name: base64.b64encode(data).decode() for name, data in files.items()}
    wanted = {"outputs": ["svg", "report", "intermediates"], "size": 1280, "remove": [], "delivery": "inline"}
    loop.fails(loop.plane.submit({"input": {**pictures, **wanted}}), "OUTPUT_TOO_LARGE")


def test_an_inline_answer_holds_its_files(loop):
    job = loop.done(loop.send(delivery="inline"))
    assert job.answer["output"]["svg_url"].startswith("data:image/svg+xml;base64,")
    assert loop.files(job.id) == {}


class _Silent(BaseHTTPRequestHandler):
    """Takes a request, says that it came, and answers nothing."""

    asked: threading.Event
    released: threading.Event

    def do_GET(self) -> None:
        self.asked.set()
        self.released.wait(60)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def silent():
    handler = type("Silent", (_Silent,), {"asked": threading.Event(), "released": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/photo.jpg", handler.asked
    handler.released.set()
    server.shutdown()
    server.server_close()


def test_a_cancelled_job_is_not_answered_leaves_nothing_and_the_next_one_runs(loop):
    job, following = loop.send(), loop.send()
    assert loop.plane.wait(lambda: len(loop.plane.jobs[job].updates) >= 2)
    loop.plane.cancel(job)
    loop.finishes(following)
    assert (loop.plane.jobs[job].status, loop.plane.jobs[job].posts) == ("CANCELLED", [])
    assert loop.files(job) == {}
    assert [event["job_id"] for event in loop.worker.events("job_summary") if event["status"] == "cancelled"] == [job]


def test_a_job_that_waits_for_its_picture_is_cancelled_too(loop, silent):
    url, asked = silent
    job = loop.plane.submit({"input": {"image_url": url, **SMALL}})
    assert asked.wait(60)
    loop.plane.cancel(job)
    began = time.monotonic()
    assert loop.plane.wait(lambda: job in [event["job_id"] for event in loop.worker.events("job_summary")])
    assert time.monotonic() - began < 10  # not the 30 s of a fetch
    loop.finishes()
    assert loop.plane.jobs[job].posts == []


def test_the_platforms_limit_of_time_ends_a_job_like_a_cancellation(loop, silent):
    job = loop.plane.submit({"input": {"image_url": silent[0], **SMALL}, "policy": {"executionTimeout": 1000}})
    loop.finishes()
    assert (loop.plane.jobs[job].status, loop.plane.jobs[job].posts) == ("TIMED_OUT", [])


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("done", "500", times=4)],
        [Fault("done", "500 after")],
        [Fault("done", "drop", times=3)],
        [Fault("done", "drop after")],
        [Fault("done", "429"), Fault("done", "slow", seconds=3)],
        [Fault("update", "500"), Fault("update", "drop"), Fault("update", "drop after"), Fault("update", "slow", seconds=12)],
        [Fault("take", "500", times=2), Fault("take", "drop"), Fault("take", "drop after"), Fault("stop", "500"), Fault("stop", "drop")],
        [Fault("ping", "500"), Fault("ping", "drop")],
    ],
    ids=lambda faults: ", ".join(f"{fault.route} {fault.kind}" for fault in faults),
)
def test_no_fault_of_a_route_costs_a_job_its_answer(loop, faults):
    loop.plane.inject(*faults)
    loop.finishes()


def test_a_repeated_job_overwrites_itself(loop):
    first = loop.finishes()
    files = loop.files(first.id)
    again = loop.send(output_prefix=first.id, palette_hex_list=["000000", "FFFFFF", "FF0000"])
    job = loop.done(again)
    assert job.status == "COMPLETED"
    changed = loop.files(first.id)
    assert set(changed) == set(files)
    assert json.loads(changed["result.json"]) == job.answer["output"]
    assert changed["illustration.svg"] != files["illustration.svg"]


def test_sigterm_in_mid_job_finishes_and_posts_and_takes_no_more(loop):
    job, following = loop.send(), loop.send()
    assert loop.plane.wait(lambda: loop.plane.jobs[job].updates)
    loop.worker.stop()
    loop.finishes(job)
    assert loop.worker.ended.wait(30)
    assert loop.worker.process.returncode == 0
    assert loop.plane.jobs[following].status == "IN_QUEUE"
    assert [event["job_id"] for event in loop.worker.events("job_summary")][-1] == job
    assert loop.worker.events("internal_error") == []
