"""The client of other services, in both forms, and the description of the routes, against a stand-in endpoint."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import openapi_spec_validator
import pytest

from batch import description, protocol
from batch.client import AsyncClient, Client, Gone, JobFailed, NotYet, Refused, State, Unreachable
from pipeline.errors import Code
from pipeline.job import Result
from tests.support.instant_plane import KEY, SVG, InstantPlane, result

ROOT = Path(__file__).parents[2]
CAR = {"image_url": "https://example.com/car.jpg"}
UPDATES = tuple({"number": n, "phase": "illustrate", "step": "draw", "percent": 20 * n} for n in (1, 2, 3))


class Blocking(Client):
    """The asynchronous form behind the blocking one's methods, so that each test here runs with both."""

    def __init__(self, *given, **more):
        self.client, self.loop = AsyncClient(*given, **more), asyncio.new_event_loop()

    def __getattribute__(self, name):
        if name in ("submit", "status", "wait", "cancel", "file"):
            method = getattr(self.client, name)
            return lambda *given, **more: self.loop.run_until_complete(method(*given, **more))
        return super().__getattribute__(name)

    def progress(self, *given):
        async def all_of():
            return [state async for state in self.client.progress(*given)]

        return self.loop.run_until_complete(all_of())

    def close(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.fixture(scope="module")
def shared():
    with InstantPlane() as made:
        yield made


@pytest.fixture
def plane(shared):
    shared.seconds, shared.updates, shared.answer = 0.0, (), lambda _: {"output": result()}
    return shared


@pytest.fixture(params=[Client, Blocking])
def client(plane, request):
    with request.param("e", key=KEY, base=plane.base) as made:
        yield made


def test_a_job_is_sent_and_its_result_is_typed(plane, client):
    policy, bucket = {"ttl": 60_000}, {"bucketName": "b"}
    made = client.wait(client.submit(CAR | {"seed": 5}, webhook="http://127.0.0.1:9/", policy=policy, s3Config=bucket))
    assert plane.sent[-1][1] == {"input": CAR | {"seed": 5}, "webhook": "http://127.0.0.1:9/", "policy": policy, "s3Config": bucket}
    assert made.schema_version == 1 and made.palette == ["#FF0000", "#000000"] and made.quality["iou"] == 0.9 and made.png_url is None
    assert client.file(made.svg_url).decode() == SVG and made.frame["width"] == 64 and plane.wrong_keys == 0


def test_progress_is_told_until_the_end(plane, client):
    plane.seconds, plane.updates = 1.2, UPDATES
    states = list(client.progress(client.submit(CAR)))
    assert [state.progress.percent for state in states if state.progress] == [20, 40, 60]
    assert states[-1].final and states[-1].result().engine == "neural" and all(not state.final for state in states[:-1])


@pytest.mark.parametrize(
    ("answer", "code", "sentence", "may_pass"),
    [
        ({"error": "NO_VEHICLE: No vehicle was found."}, "NO_VEHICLE", "No vehicle was found.", False),
        ({"error": "GPU_FAILED: The card failed."}, "GPU_FAILED", "The card failed.", True),
        ({"error": "A_LATER_CODE: Something new."}, "A_LATER_CODE", "Something new.", True),
        ({"error": 'Traceback (most recent call last):\n  File "x"\nRuntimeError: lost'}, "INTERNAL", "RuntimeError: lost", True),
        ({"output": {"error": "LOW_IOU: It moved."}}, "LOW_IOU", "It moved.", False),
        ({"output": None}, "INTERNAL", "the job ended without output", True),
        ({"output": {"svg_url": "x"}}, "INTERNAL", "The answer is no result of this worker: job_id is missing or wrong.", True),
    ],
)
def test_a_failed_job_raises_its_code(plane, client, answer, code, sentence, may_pass):
    plane.answer = lambda _: answer
    job = client.submit(CAR)
    with pytest.raises(JobFailed) as raised:
        client.wait(job)
    error = raised.value
    assert (error.code, error.sentence, error.may_pass, error.job_id) == (code, sentence, may_pass, job)


def test_cancelling_and_waiting_too_short(plane, client):
    plane.seconds = 60
    job = client.submit(CAR)
    with pytest.raises(NotYet, match=r"not over after 0\.2 seconds"):
        client.wait(job, 0.2)
    assert client.cancel(job).status == "CANCELLED"
    with pytest.raises(JobFailed) as raised:
        client.wait(job)
    assert raised.value.code == "CANCELLED"


def test_what_runpod_refuses(plane, client):
    with pytest.raises(Gone):
        client.status("no/such?job")
    for status in (401, 404):
        plane.statuses = [status]
        with pytest.raises(Refused) as raised:
            client.submit(CAR)
        assert raised.value.status == status
    with pytest.raises(JobFailed, match=r"INPUT_TOO_LARGE: The job takes 10\.5 MB"):
        client.submit({"image_base64": "a" * 10_500_000})
    for url, reason in [
        (None, "no such file"),
        ("file:///etc/passwd", "neither"),
        ("data:;base64,ä", "no base64"),
        ("http://a:x/", "neither"),
        (f"{plane.base}/none", "status 404"),
    ]:
        with pytest.raises(JobFailed, match=reason):
            client.file(url)


def test_a_busy_endpoint_is_asked_again(plane, client):
    plane.statuses = [429, 503]
    assert client.wait(client.submit(CAR)).seed == 42 and not plane.statuses


def test_an_endpoint_that_is_not_there(monkeypatch):
    monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("RUNPOD_API_KEY", "k")
    with Client("e", patience=0.2) as client, pytest.raises(Unreachable, match="RunPod endpoint cannot be reached: it takes no connection"):
        client.submit(CAR)
    monkeypatch.delenv("RUNPOD_API_KEY")
    for endpoint, sentence in [("e", "RUNPOD_API_KEY is not set"), ("a/../b", "endpoint's id")]:
        with pytest.raises(Refused, match=sentence):
            Client(endpoint)


def test_the_key_is_shown_to_runpod_alone(plane, client):
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            heard.append(connection.recv(10_000))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        assert client.file(f"http://127.0.0.1:{server.getsockname()[1]}/a.svg?X-Amz-Signature=s") == b"ok"
    assert b"GET /a.svg?X-Amz-Signature=s " in heard[0] and KEY.encode() not in heard[0] and b"authorization" not in heard[0].lower()


def test_copies_of_the_two_files_work_elsewhere(plane, tmp_path):
    (tmp_path / "vehicles").mkdir()
    for name in ("client.py", "protocol.py"):
        (tmp_path / "vehicles" / name).write_bytes((ROOT / "batch" / name).read_bytes())
    code = f"""
import sys
from vehicles.client import Client
with Client("e", key={KEY!r}, base={plane.base!r}) as client:
    print(client.wait(client.submit({CAR!r})).palette)
assert not {{"pipeline", "batch", "aiohttp", "numpy", "tenacity"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "['#FF0000', '#000000']\n", done.stderr


def test_the_clients_types_are_the_contracts():
    fields = {field.alias or name for name, field in Result.model_fields.items()}
    assert {field.alias or name for name, field in protocol.Result.model_fields.items()} <= fields
    assert set(Code) >= protocol.LASTING
    made = protocol.Result.model_validate(result(a_later_key=[1]))
    assert made.a_later_key == [1]


def described(name, instance):
    schemas = description.description()["components"]["schemas"]
    document = json.loads(json.dumps({"$ref": f"#/$defs/{name}", "$defs": schemas}).replace("#/components/schemas/", "#/$defs/"))
    jsonschema.Draft202012Validator(document).validate(instance)


def test_what_is_sent_and_answered_is_as_described(plane, client):
    openapi_spec_validator.validate(description.description())
    Result.model_validate(result())  # the stand-in's result is the worker's
    plane.seconds, plane.updates = 0.4, UPDATES[:1]
    job = client.submit(CAR, policy={"ttl": 60_000})
    described("Request", plane.sent[-1][1])
    for state in client.progress(job):
        described("State", state.model_dump(by_alias=True, exclude_unset=True))
    described("State", {"id": "a", "status": "COMPLETED", "output": result(a_later_key=1)})
    described("State", {"id": "a", "status": "FAILED", "error": "NO_VEHICLE: None."})
    for wrong in ({"id": "a", "status": "COMPLETED"}, {"id": "a", "status": "COMPLETED", "output": {"number": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            described("State", wrong)
    with pytest.raises(jsonschema.ValidationError):
        described("Request", {"input": {"image": "x"}})


def test_the_published_description_is_what_the_code_says():
    assert json.loads((ROOT / "docs" / "endpoint.openapi.json").read_text()) == description.description()


def test_a_task_that_is_cancelled_lets_the_job_go_on(plane):
    async def both():
        async with AsyncClient("e", key=KEY, base=plane.base) as client:
            job = await client.submit(CAR)
            waiting = asyncio.create_task(client.wait(job))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return (await client.wait(job)).seed

    plane.seconds = 0.5
    assert asyncio.run(both()) == 42


def test_many_wait_at_once_with_one_client(plane):
    plane.seconds = 0.3

    async def all_of():
        async with AsyncClient("e", key=KEY, base=plane.base) as client:
            jobs = await asyncio.gather(*(client.submit(CAR) for _ in range(12)))
            return await asyncio.gather(*map(client.wait, jobs))

    began = time.monotonic()
    assert len(asyncio.run(all_of())) == 12 and len(plane.sent) >= 12
    assert State.model_validate({"status": 5, "executionTime": "x"}).seconds == 0 and began
