"""The receiver of webhooks, to which anybody can send: who knows its address alone is heard."""

import asyncio
from typing import Any

import aiohttp
import pytest

from batch import webhook
from batch.endpoint import Endpoint
from batch.engines import RunPod
from batch.values import Answer, Task

SECRET = "s3cret-of-the-ledger"
DONE = {"id": "a1", "status": "FAILED", "error": "NO_VEHICLE: No vehicle was found."}


def sent(path: str, **body: Any) -> tuple[int, Answer | None]:
    """The status of a request to the receiver, and what it made the waiting task hear."""

    async def all_of() -> tuple[int, Answer | None]:
        async with aiohttp.ClientSession() as session:
            engine = RunPod(Endpoint("http://127.0.0.1:9/v2/e", "key", session), "runpod:e")
            async with webhook.listening(engine, 0, SECRET, None):
                task = Task("k1", {}, None, None, 0)
                heard = engine.heard[task.sending] = asyncio.get_running_loop().create_future()
                address = engine.webhook(task) or ""
                assert address.endswith(f"/{SECRET}/k1-0")
                async with session.post(address.removesuffix(f"/{SECRET}/k1-0") + path, **body) as answer:
                    return answer.status, heard.result() if heard.done() else None

    return asyncio.run(all_of())


def test_the_answer_is_heard() -> None:
    status, answer = sent(f"/{SECRET}/k1-0", json=DONE)
    assert status == 200 and answer is not None and answer.error == DONE["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/wrong/k1-0", {"json": DONE}, 404),
        (f"/{SECRET.upper()}/k1-0", {"json": DONE}, 404),
        (f"/{SECRET}%00/k1-0", {"json": DONE}, 404),
        ("/%C3%A9/k1-0", {"json": DONE}, 404),
        ("/k1", {"json": DONE}, 404),
        (f"/{SECRET}/other", {"json": DONE}, 200),
        (f"/{SECRET}/k1-0", {"json": DONE | {"status": "IN_PROGRESS"}}, 200),
        (f"/{SECRET}/k1-0", {"json": [DONE]}, 400),
        (f"/{SECRET}/k1-0", {"json": {"status": 5}}, 200),
        (f"/{SECRET}/k1-0", {"data": b"no JSON"}, 400),
        (f"/{SECRET}/k1-0", {"data": b"[" * 100_000}, 400),
    ],
)
def test_anything_else_is_not(path: str, body: dict[str, Any], status: int) -> None:
    assert sent(path, **body) == (status, None)


@pytest.mark.parametrize("output", [None, 5, [], {"error": 7}])
def test_a_completed_job_without_a_result_is_an_error(output: object) -> None:
    status, answer = sent(f"/{SECRET}/k1-0", json={"id": "a1", "status": "COMPLETED", "output": output})
    assert status == 200 and answer is not None and answer.error


def test_a_body_has_so_many_bytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_MOST", 1000)
    assert sent(f"/{SECRET}/k1-0", data=b" " * 2000) == (413, None)
