"""A RunPod endpoint without workers: the stand-in control plane, with jobs answered by a function after a given time.

What the client's routes saw is kept: `sent` holds every request to /run in order with its time, `wrong_keys` counts requests without the
key. Webhooks are called as RunPod does, and answers are those of `answered` where a test gives no other.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.control_plane import FINAL, ControlPlane, Job, Post

KEY = "rpa_instant"
#: The least SVG that has the frame's size.
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64"><rect width="64" height="64" fill="#FF0000"/></svg>'
)


def result(**more: Any) -> dict[str, Any]:
    """A worker's result, with its SVG inline."""
    data = base64.b64encode(SVG.encode()).decode()
    phases = ("fetch", "vehicle", "sanitize", "illustrate", "enforce", "vectorize", "deliver")
    quality = {"attempts": 1, "colors_used": 3, "off_palette_colors": 0, "regions": 1, "curves": 4, "svg_bytes": len(SVG)}
    return {
        "job_id": "instant",
        "status": "completed",
        "engine": "neural",
        "schema": 1,
        "svg_url": f"data:image/svg+xml;base64,{data}",
        "processing_time_ms": 1000,
        "timings_ms": dict.fromkeys(phases, 100),
        "peak_vram_mb": 0,
        "seed": 42,
        "palette": ["#FF0000", "#000000"],
        "frame": {"width": 64, "height": 64, "scale": 1.0, "x0": 0.0, "y0": 0.0, "photo_width": 64, "photo_height": 64},
        "vehicle_box": [0.0, 0.0, 1.0, 1.0],
        "removed": [],
        "draw": {"seed": 42, "steps": 30, "depth_weight": 0.6, "canny_weight": 0.4},
        "quality": {"iou": 0.9, "matte_confidence": 0.9, **quality, "removed_fraction": 0.0, "detail_changed_fraction": 0.0},
        "warnings": [],
        "versions": {"worker": "0.1.0", "models": {}},
        **more,
    }


def picture_of(request: dict[str, Any]) -> str:
    """What a request shows: its URL, or the digest of its content."""
    given = request["input"]
    return str(given.get("image_url") or hashlib.sha256(given["image_base64"].encode()).hexdigest())


class InstantPlane(ControlPlane):
    """`answer`: a job's request → the body that a worker would post. `seconds`: how long each job takes; `cost` the execution time that is
    told, seconds; `statuses`: HTTP statuses to refuse the next requests to /run with; `updates`: the progress that each job tells, one
    after another, over its `seconds`."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None, seconds: float = 0.0, cost: float = 1.0) -> None:
        self.answer, self.seconds, self.cost = answer or (lambda _: {"output": result()}), seconds, cost
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.given: list[tuple[float, str]] = []  # when an answer was told, and of which job
        self.statuses: list[int] = []
        self.updates: tuple[dict[str, Any], ...] = ()
        self.wrong_keys = 0
        self.cancelled: list[str] = []
        self.webhooks: Counter[int] = Counter()
        self.polls = 0
        self.forget = False  # jobs are not kept, so that memory of a long measurement stays flat
        super().__init__()

    @property
    def base(self) -> str:
        """For RUNPOD_ENDPOINT_BASE_URL; the endpoint's id is `e`."""
        return self.url.removesuffix("/e")

    def counts(self) -> Counter[str]:
        """How often each picture was sent."""
        return Counter(picture_of(request) for _, request in self.sent)

    async def _on_run(self, request: web.Request) -> web.Response:
        self.wrong_keys += request.headers.get("Authorization") != f"Bearer {KEY}"
        if self.statuses:
            return web.json_response({"error": "not now"}, status=self.statuses.pop(0))
        return web.json_response(self._begin(await request.read()).public())

    async def _on_runsync(self, request: web.Request) -> web.Response:
        self.wrong_keys += request.headers.get("Authorization") != f"Bearer {KEY}"
        job = self._begin(await request.read())
        await self._until(lambda: job.status in FINAL, float(request.query.get("wait", 90_000)) / 1000)
        return web.json_response(job.public())

    def _begin(self, body: bytes) -> Job:
        job = self._submit(json.loads(body), None)
        self.sent.append((time.monotonic(), job.request))
        for number, update in enumerate(self.updates, 1):
            self._loop.call_later(self.seconds * number / (len(self.updates) + 1), self._tell, job, update)
        self._loop.call_later(self.seconds, self._do, job)
        return job

    def _tell(self, job: Job, update: dict[str, Any]) -> None:
        if job.status in FINAL:
            return
        self._unqueue(job)
        job.status, job.started = "IN_PROGRESS", job.started or time.monotonic()
        body = json.dumps({"status": "IN_PROGRESS", "output": update}).encode()
        job.updates.append((Post(time.monotonic(), "instant", job.id, body), False))

    def _do(self, job: Job) -> None:
        if job.status in FINAL:
            return
        self._unqueue(job)
        job.started = time.monotonic() - self.cost
        job.posts.append(Post(time.monotonic(), "instant", job.id, json.dumps(self.answer(job.request)).encode()))
        self._end(job, "FAILED" if "error" in job.answer else "COMPLETED")
        if job.request.get("webhook"):
            self._loop.create_task(self._call(job))

    async def _call(self, job: Job) -> None:
        """As RunPod: 200 is expected, two retries (here 0.2 s apart)."""
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                try:
                    async with session.post(job.request["webhook"], json=job.public()) as response:
                        self.webhooks[response.status] += 1
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    self.webhooks[0] += 1
                await asyncio.sleep(0.2)

    async def _on_client(self, request: web.Request) -> web.Response:
        self.wrong_keys += request.headers.get("Authorization") != f"Bearer {KEY}"
        self.polls += request.match_info["verb"] == "status"
        if request.match_info["verb"] == "cancel":
            self.cancelled.append(request.match_info["job"])
        response = await super()._on_client(request)
        job = self.jobs.get(request.match_info["job"])
        if job is not None and job.status in ("COMPLETED", "FAILED"):
            self.given.append((time.monotonic(), job.id))
            if self.forget:
                del self.jobs[job.id]
        return response

    def running(self) -> int:
        """Jobs that are not at an end."""
        return sum(job.status not in FINAL for job in self.jobs.values())
