"""The engine of this process: one job at a time, in a thread, the networks warm between them."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batch.collect import staging_of
from batch.engines import read_file
from batch.protocol import Gone
from batch.values import Answer, Task, Unavailable, completed, failed
from pipeline import service
from pipeline.errors import Code, JobError
from pipeline.progress import Progress


@dataclass(slots=True)
class Local:
    """Jobs in this process. `staging` is where a task's files are written; `deadline` the seconds a job may take."""

    worker: service.Worker
    folder: Path
    name: str = "local"
    concurrency: int = 1
    _at_work: dict[str, tuple[Progress, "asyncio.Future[Answer]"]] = field(default_factory=dict)

    async def send(self, task: Task) -> str:
        """See `Engine.send`: the work begins."""
        photo, matte = (None if path is None else read_file(path) for path in (task.photo, task.matte))
        progress = Progress()
        progress.deadline = progress.clock() + self.worker.environment.job_timeout_seconds
        work = asyncio.ensure_future(asyncio.to_thread(self._work, task, service.Pictures(photo, matte), progress))
        self._at_work[task.key] = (progress, work)
        return task.key

    def _work(self, task: Task, pictures: service.Pictures, progress: Progress) -> Answer:
        began = time.monotonic()
        staging = staging_of(self.folder, task.key)
        keys = dict(task.keys)
        try:
            result: dict[str, Any] = service.perform(task.key, keys, self.worker, progress, folder=staging, pictures=pictures)
        except JobError as error:
            if error.fatal:
                raise Unavailable(f"This machine can do no further job: {error}") from error
            return failed(str(error), time.monotonic() - began)
        made = completed(result, time.monotonic() - began)
        return replace(made, files={name: url for name, url in made.files.items() if not url.startswith("file://")})  # these are there

    async def answer(self, task: Task, remote: str) -> Answer:  # noqa: ARG002
        """See `Engine.answer`. What an earlier process had begun is gone."""
        if remote not in self._at_work:
            raise Gone
        try:
            return await asyncio.shield(self._at_work[remote][1])
        finally:
            if self._at_work[remote][1].done():
                del self._at_work[remote]

    async def cancel(self, remote: str) -> Answer | None:
        """See `Engine.cancel`: the work ends at its next step."""
        if remote not in self._at_work:
            return None
        progress, work = self._at_work[remote]
        progress.cancelled.set()
        made = await work
        return None if made.error is not None and made.error.startswith(Code.CANCELLED) else made

    def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002
        """See `Engine.headers`."""
        return {}
