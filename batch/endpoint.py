"""A batch's requests to a RunPod endpoint: `batch.protocol`'s calls, over the session and with the patience that a batch shares.

Over aiohttp: at 64 jobs in flight a picture's two requests took 0.3 ms of processor time, and 3.4 ms over httpx, which 200 pictures a
second do not allow.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from batch.http import check_passing, patient
from batch.protocol import BASE, Beside, Call, JobFailed, Refused, State, told
from batch.values import WrongUse
from pipeline.errors import Code, JobError
from pipeline.variables import variable


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint: its routes' common address, and the key. The session is the caller's."""

    url: str
    key: str
    session: aiohttp.ClientSession

    async def submit(self, job_input: Mapping[str, Any], webhook: str | None = None) -> str:
        """Put a job into the queue; its id. Raises `INPUT_TOO_LARGE`, `INVALID_INPUT`, `WrongUse` (key, endpoint), `Unavailable`."""
        beside: Beside = {"webhook": webhook} if webhook else {}
        with self._translated():
            call = Call.run(job_input, beside)
        return (await self._asked(call)).id

    async def status(self, job_id: str) -> State:
        """What RunPod says of a job. Raises `Gone`, `WrongUse`, `Unavailable`."""
        return await self._asked(Call.status(job_id))

    async def cancel(self, job_id: str) -> State:
        """Cancel a job; what RunPod says of it then. Raises `Gone`, `WrongUse`, `Unavailable`."""
        return await self._asked(Call.cancel(job_id), patience=10.0)

    async def _asked(self, call: Call, patience: float | None = None) -> State:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

        async def once() -> State:
            url, body = f"{self.url}/{call.route}", call.body
            async with self.session.request(call.method, url, data=body, headers=headers, allow_redirects=False) as response:
                check_passing(response.status, response.headers)
                return told(call, response.status, await response.read())

        with self._translated():
            return await patient(once, "The RunPod endpoint", patience)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The client's errors as the batch's."""
        try:
            yield
        except JobFailed as error:
            raise JobError(Code(error.code), error.sentence) from error
        except Refused as refusal:
            unknown = f"RunPod knows no endpoint '{self.url.rpartition('/')[2]}'; --endpoint must be an endpoint's id."
            raise WrongUse(unknown if refusal.status == 404 else str(refusal)) from refusal


def endpoint_of(endpoint_id: str, session: aiohttp.ClientSession) -> Endpoint:
    """The endpoint of this id, from the environment. Raises `WrongUse`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", endpoint_id):
        raise WrongUse("--endpoint must be local, the id of a RunPod endpoint, or a pod's http(s) address.")
    key = variable("RUNPOD_API_KEY")
    if key is None:
        raise WrongUse("RUNPOD_API_KEY is not set; RunPod's console makes one under Settings, API Keys.")
    base = variable("RUNPOD_ENDPOINT_BASE_URL") or BASE
    return Endpoint(f"{base.rstrip('/')}/{endpoint_id}", key, session)
