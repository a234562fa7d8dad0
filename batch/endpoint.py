"""RunPod's REST routes for an endpoint's jobs: submit, status, cancel (https://docs.runpod.io/serverless/endpoints/send-requests).

The address before the endpoint's id is `RUNPOD_ENDPOINT_BASE_URL`, as in RunPod's SDK; the key is `RUNPOD_API_KEY`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from batch.http import check_passing, patient
from batch.values import Gone, WrongUse
from pipeline.errors import Code, JobError
from pipeline.variables import variable

BASE: Final = "https://api.runpod.ai/v2"
#: Bytes of a request that RunPod takes (10 MB for /run).
MOST_REQUEST: Final = 10_000_000
#: States in which a job stays.
FINAL: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint: its routes' common address, and the key. The session is the caller's."""

    url: str
    key: str
    session: aiohttp.ClientSession

    async def submit(self, job_input: Mapping[str, Any], webhook: str | None = None) -> str:
        """Put a job into the queue; its id. Raises `INPUT_TOO_LARGE`, `INVALID_INPUT`, `WrongUse` (key, endpoint), `Unavailable`."""
        body = json.dumps({"input": dict(job_input)} | ({"webhook": webhook} if webhook else {})).encode()
        if len(body) > MOST_REQUEST:
            sentence = (
                f"The job takes {len(body) / 1e6:.1f} MB and RunPod takes {MOST_REQUEST / 1e6:g}; give the picture by address (image_url)."
            )
            raise JobError(Code.INPUT_TOO_LARGE, sentence)
        told = await self._asked("POST", "run", body)
        if not isinstance(told.get("id"), str):
            raise JobError(Code.INTERNAL, "The endpoint took the job and told no id.")
        return str(told["id"])

    async def status(self, job_id: str) -> dict[str, Any]:
        """What RunPod says of a job: `status` (final ones: `FINAL`), `output`, `error`, `executionTime` (ms). Raises `Gone`."""
        return await self._asked("GET", f"status/{job_id}")

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job; what RunPod says of it then. Raises `Gone`, `Unavailable`."""
        return await self._asked("POST", f"cancel/{job_id}", patience=10.0)

    async def _asked(self, method: str, route: str, body: bytes | None = None, patience: float | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

        async def once() -> dict[str, Any]:
            async with self.session.request(method, f"{self.url}/{route}", data=body, headers=headers) as response:
                check_passing(response.status, response.headers)
                self._check(response.status, route)
                told = await response.json(content_type=None)
                return told if isinstance(told, dict) else {}

        return await patient(once, "The RunPod endpoint", patience)

    def _check(self, status: int, route: str) -> None:
        """Raise what a refusal means."""
        if status in (401, 403):
            raise WrongUse("RunPod refuses the key; set RUNPOD_API_KEY to one that may use the endpoint.")
        if status == 404 and route == "run":
            raise WrongUse(f"RunPod knows no endpoint '{self.url.rpartition('/')[2]}'; --endpoint must be an endpoint's id.")
        if status == 404:
            raise Gone
        if status == 413:
            raise JobError(Code.INPUT_TOO_LARGE, "RunPod refuses the job as too large; give the picture by address (image_url).")
        if status >= 400:
            raise JobError(Code.INVALID_INPUT, f"RunPod refuses the job with status {status}.")


def endpoint_of(endpoint_id: str, session: aiohttp.ClientSession) -> Endpoint:
    """The endpoint of this id, from the environment. Raises `WrongUse`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", endpoint_id):
        raise WrongUse("--endpoint must be local, the id of a RunPod endpoint, or a pod's http(s) address.")
    key = variable("RUNPOD_API_KEY")
    if key is None:
        raise WrongUse("RUNPOD_API_KEY is not set; RunPod's console makes one under Settings, API Keys.")
    base = variable("RUNPOD_ENDPOINT_BASE_URL") or BASE
    return Endpoint(f"{base.rstrip('/')}/{endpoint_id}", key, session)
