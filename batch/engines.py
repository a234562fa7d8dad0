"""Where jobs are done: a RunPod endpoint, a pod's HTTP API. (`batch.local` is the third: this process.)"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from batch.endpoint import Endpoint
from batch.http import check_passing, patient
from batch.protocol import FIRST, GROWTH, LONGEST, Gone, State, seconds_of
from batch.values import Answer, Task, WrongUse, completed, failed
from pipeline.errors import Code, JobError

#: The longest pause between two looks at a job, seconds, where a webhook tells its end.
LONGEST_HEARD = 30.0


class Engine(Protocol):
    """`name` is kept with every job that is sent; `concurrency` is how many jobs are sent at once by default."""

    name: str
    concurrency: int

    async def send(self, task: Task) -> str:
        """Hand the job over; its id there. Raises `JobError` (answered at once), `WrongUse`, `Unavailable`."""

    async def answer(self, task: Task, remote: str) -> Answer:
        """Wait for the job's answer. Raises `Gone`, `Unavailable`."""

    async def cancel(self, remote: str) -> Answer | None:
        """Cancel a job; its answer where that was faster."""

    def headers(self, url: str) -> Mapping[str, str]:
        """What a request for a file of an answer must carry."""


def read_file(path: Path) -> bytes:
    """A picture's bytes; raises `INPUT_UNREACHABLE`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise JobError(Code.INPUT_UNREACHABLE, f"{path.name} cannot be read: {error.strerror}.") from error


async def _looked(look: Callable[[], Awaitable[Answer | None]], heard: "asyncio.Future[Answer] | None" = None) -> Answer:
    """What `look` answers at last, asked with growing pauses; or what is heard before."""
    pause, longest = FIRST, LONGEST if heard is None else LONGEST_HEARD
    while True:
        if heard is None:
            await asyncio.sleep(pause)
        elif (await asyncio.wait({heard}, timeout=max(pause, 1.0)))[0]:
            return heard.result()
        if (found := await look()) is not None:
            return found
        pause = min(longest, pause * GROWTH)


@dataclass(slots=True)
class RunPod:
    """Jobs at a RunPod endpoint. `webhook` gives the address that RunPod calls for a task; `heard` holds the answers that are waited for,
    which `batch.webhook` sets."""

    endpoint: Endpoint
    name: str
    webhook: Callable[[Task], str | None] = lambda _: None
    listening: bool = False
    heard: dict[str, "asyncio.Future[Answer]"] = field(default_factory=dict)
    concurrency: int = 32

    async def send(self, task: Task) -> str:
        """See `Engine.send`."""
        job = dict(task.keys)
        for key, path in (("image_base64", task.photo), ("matte_base64", task.matte)):
            if path is not None:
                job[key] = base64.b64encode(await asyncio.to_thread(read_file, path)).decode()
        if self.listening:
            self.heard[task.sending] = asyncio.get_running_loop().create_future()
        return await self.endpoint.submit(job, self.webhook(task))

    async def answer(self, task: Task, remote: str) -> Answer:
        """See `Engine.answer`."""

        async def look() -> Answer | None:
            return answer_of(await self.endpoint.status(remote))

        if self.listening and task.sending not in self.heard:
            self.heard[task.sending] = asyncio.get_running_loop().create_future()
        try:
            return await _looked(look, self.heard.get(task.sending))
        finally:
            self.heard.pop(task.sending, None)

    async def cancel(self, remote: str) -> Answer | None:
        """See `Engine.cancel`."""
        state = await self.endpoint.cancel(remote)
        return None if state.status == "CANCELLED" else answer_of(state)

    def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002
        """See `Engine.headers`: addresses of a bucket carry their own signature."""
        return {}


def answer_of(state: State) -> Answer | None:
    """What RunPod says of a job as an answer; None while it is not over."""
    if not state.final:
        return None
    failure = state.failure
    return completed(state.output, state.seconds) if failure is None else failed(str(failure), state.seconds)


@dataclass(slots=True)
class Pod:
    """Jobs at a pod's HTTP API (docs/server.md)."""

    url: str
    key: str
    session: aiohttp.ClientSession
    name: str
    concurrency: int = 4

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    async def send(self, task: Task) -> str:
        """See `Engine.send`. The Idempotency-Key makes of a job that is sent twice one job."""
        files = {name: await asyncio.to_thread(read_file, path) for name, path in (("file", task.photo), ("matte", task.matte)) if path}
        headers = self._headers | {"Idempotency-Key": task.sending}

        async def once() -> str:
            form = aiohttp.FormData({"options": json.dumps(dict(task.keys))})
            for name, data in files.items():
                form.add_field(name, data, filename=name, content_type="application/octet-stream")
            async with self.session.post(f"{self.url}/api/v1/process", data=form, headers=headers, allow_redirects=False) as response:
                told = await self._told(response)
                return str(told["job_id"])

        return await patient(once, "The pod")

    async def _told(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        """The JSON of an answer. Raises what a refusal means."""
        check_passing(response.status, response.headers)
        try:
            told = await response.json(content_type=None)
        except (ValueError, RecursionError):
            told = None
        if response.status in (401, 403):
            raise WrongUse("The pod refuses the key; set API_KEY to the pod's.")
        if response.status == 404 and response.method == "GET":
            raise Gone
        if response.status >= 400 and isinstance(told, dict) and told.get("code") in Code.__members__:
            raise JobError(Code(told["code"]), str(told.get("detail", "The pod refuses the job."))[:500])
        if response.status >= 300 or not isinstance(told, dict) or "job_id" not in told:
            raise WrongUse("There is no pod of this project at that address; --endpoint must be as http://127.0.0.1:5090.")
        return told

    async def answer(self, task: Task, remote: str) -> Answer:  # noqa: ARG002
        """See `Engine.answer`."""

        async def once() -> Answer | None:
            url = f"{self.url}/api/v1/jobs/{quote(remote, safe='')}"
            async with self.session.get(url, headers=self._headers, allow_redirects=False) as response:
                return self._answer_of(await self._told(response), remote)

        return await _looked(lambda: patient(once, "The pod"))

    def _answer_of(self, told: Mapping[str, Any], remote: str) -> Answer | None:
        status, result = told.get("status"), told.get("result")
        if status == "completed" and isinstance(result, Mapping):
            made = completed(result, seconds_of(result.get("processing_time_ms")))
            base = f"{self.url}/api/v1/jobs/{remote}/output"
            kinds = {"illustration.svg": "svg", "preview.png": "png", "report.html": "report", "illustration.pdf": "pdf"}
            files = {name: f"{base}/{kinds.get(name, name.removesuffix('.png'))}" for name in made.files}
            facts = {key: value for key, value in (made.result or {}).items() if not key.endswith("_path")}
            return Answer(facts, files, None, made.seconds)
        if status in ("failed", "cancelled"):
            return failed(str(told.get("error") or f"{Code.CANCELLED}: The job was cancelled at the pod."))
        return None

    async def cancel(self, remote: str) -> Answer | None:
        """See `Engine.cancel`."""
        async with self.session.post(f"{self.url}/api/v1/jobs/{remote}/cancel", headers=self._headers):
            return None

    def headers(self, url: str) -> Mapping[str, str]:
        """See `Engine.headers`. Only the pod's own addresses are sent its key."""
        return self._headers if url.startswith(f"{self.url}/") else {}
