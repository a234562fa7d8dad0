"""A stand-in for RunPod's control plane on loopback: the queue, the worker's routes and the client's, in the genuine format.

Faults are ordered beforehand (`inject`) and happen to the next requests of a route. Every answer and progress update that arrives is
kept with its sender and its time, so that a test can say what a platform saw: `Job.finals` are the answers it took, identical posts of
the same request id being one (the SDK repeats a post whose receipt was lost); `complaints` are requests that are not as RunPod's.

As on the platform: an update that arrives after the answer leaves the job IN_PROGRESS, an answer above 10 MB is refused with one 400,
a job whose worker is gone is handed out again, `executionTimeout` and `ttl` end a job, and a worker that asked to be stopped
(`stopPod`) is sent nothing more. A job-take whose answer cannot be delivered leaves the job in the queue, and a request whose sender
has hung up before it was handled has no effect.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

#: Bytes of an answer, and of a request to /run; longer ones are refused.
MOST_ANSWER = MOST_REQUEST = 10_000_000
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
POLL_SECONDS = 20.0
#: What a worker shows, bare; nobody else may see it.
KEY = "pLaNt3dRunpodK3y"

Route = Literal["take", "stop", "done", "update", "stream", "ping"]
#: What a fault does: an HTTP status before or after the request took effect, or the connection dropped before or after it did, or a wait.
Kind = Literal["500", "500 after", "429", "400", "drop", "drop after", "slow"]


@dataclass
class Fault:
    """A fault that will happen to `times` requests of a route, of one job if `job` is given; `seconds` for slow ones."""

    route: Route
    kind: Kind
    times: int = 1
    job: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Post:
    """One body that arrived at job-done: when (`time.monotonic`), from which worker, under which request id."""

    at: float
    pod: str
    request_id: str
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Job:
    """A job as the platform keeps it; times are of `time.monotonic`."""

    id: str
    request: dict[str, Any]
    created: float
    status: str = "IN_QUEUE"
    pod: str | None = None
    started: float = 0.0
    ended: float = 0.0
    retries: int = 0
    posts: list[Post] = field(default_factory=list)
    updates: list[tuple[Post, bool]] = field(default_factory=list)  # and whether an answer was there before
    taken: list[tuple[float, str]] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    cancelled: float | None = None

    @property
    def finals(self) -> list[Post]:
        """The answers, posts that a retry of the transport repeated being one."""
        kept: dict[tuple[str, str, bytes], Post] = {}
        for post in self.posts:
            kept.setdefault((post.pod, post.request_id, post.body), post)
        return list(kept.values())

    @property
    def answer(self) -> dict[str, Any]:
        """The first answer, {} where there is none."""
        return self.posts[0].told if self.posts else {}

    def public(self) -> dict[str, Any]:
        """What the client's routes say."""
        told: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.updates and self.status == "IN_PROGRESS":
            told["output"] = self.updates[-1][0].told.get("output")
        if self.posts:
            told |= {key: self.answer[key] for key in ("output", "error") if key in self.answer}
            told |= {"workerId": self.posts[0].pod, "executionTime": round(1000 * (self.ended - self.started))}
        return told


@dataclass
class Pod:
    """A worker as the platform sees it."""

    pings: list[tuple[float, str | None]] = field(default_factory=list)
    unhealthy: list[str] = field(default_factory=list)
    stopping: bool = False
    takes_after_stop: int = 0


class ControlPlane:
    """The server; its methods may be called from any thread. `url` is what stands before /job-take, and before /run."""

    def __init__(self, poll_seconds: float = POLL_SECONDS) -> None:
        self.jobs: dict[str, Job] = {}
        self.pods: dict[str, Pod] = {}
        self.complaints: list[str] = []
        self.seen: Counter[tuple[str, int]] = Counter()  # route and status; 0 is a dropped connection
        self._queue: deque[str] = deque()
        self._faults: list[Fault] = []
        self._poll_seconds = poll_seconds
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="control plane", daemon=True)
        self._thread.start()
        ready.wait()

    # --- for tests ---------------------------------------------------------------------------------------------------

    def environment(self, pod: str) -> dict[str, str]:
        """What RunPod sets in a worker's environment."""
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{self.url}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{self.url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{self.url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{self.url}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_AI_API_KEY": KEY,
            "RUNPOD_POD_ID": pod,
            "RUNPOD_ENDPOINT_ID": "endpoint",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        }

    def submit(self, request: dict[str, Any], job_id: str | None = None) -> str:
        """Put a job into the queue, as /run does; its id."""
        return self._called(lambda: self._submit(request, job_id).id)

    def cancel(self, job_id: str) -> None:
        """Cancel a job, as /cancel does."""
        self._called(lambda: self._cancel(self.jobs[job_id]))

    def inject(self, *faults: Fault) -> None:
        """Order faults; they happen to the next requests that fit, the first ordered first."""
        self._called(lambda: self._faults.extend(faults))

    def planned(self) -> list[Fault]:
        """The faults that have not happened yet."""
        return self._called(lambda: list(self._faults))

    def stop_pod(self, pod: str) -> None:
        """The platform wants to be rid of a worker: it is sent nothing more, and polls that are open end."""
        self._called(lambda: self._stop(pod))

    def pods_stopping(self, pod: str) -> bool:
        """Whether a worker is to be sent nothing more."""
        return self._called(lambda: self._pod(pod).stopping)

    def gone(self, pod: str) -> None:
        """A worker's container has ended: its job is handed out again."""
        self._called(lambda: self._gone(pod))

    def wait(self, condition: Callable[[], object], seconds: float = 60.0) -> bool:
        """Whether the condition came true in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def settled(self, *job_ids: str, seconds: float = 60.0) -> bool:
        """Whether these jobs (else all) are at an end, within so many seconds."""
        return self.wait(lambda: all(self.jobs[each].status in FINAL for each in job_ids or tuple(self.jobs)), seconds)

    def close(self) -> None:
        """End the server."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def __enter__(self) -> "ControlPlane":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the server --------------------------------------------------------------------------------------------------

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._changed = asyncio.Event()
        app = web.Application(client_max_size=64_000_000)
        routes = [
            ("GET", "/v2/e/job-take/{pod}", self._route("take", self._on_take)),
            ("GET", "/v2/e/job-stop/{pod}", self._route("stop", self._on_stop)),
            ("POST", "/v2/e/job-done/{pod}/{job}", self._route("done", self._on_done)),
            ("POST", "/v2/e/job-stream/{pod}/{job}", self._route("stream", self._on_stream)),
            ("GET", "/v2/e/ping/{pod}", self._route("ping", self._on_ping)),
            ("POST", "/v2/e/run", self._on_run),
            ("POST", "/v2/e/runsync", self._on_runsync),
            ("POST", "/v2/e/purge-queue", self._on_purge),
            ("GET", "/v2/e/health", self._on_health),
            *[(method, "/v2/e/{verb:status|cancel|retry|stream}/{job}", self._on_client) for method in ("GET", "POST")],
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2/e"
        clock = self._loop.create_task(self._watch_limits())
        ready.set()
        self._loop.run_forever()
        clock.cancel()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(_ended(asyncio.all_tasks(self._loop)))
        self._loop.close()

    def _called(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            made = function()
            self._wake()
            return made

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether the condition came true within so many seconds; it is asked again after every change."""
        end = self._loop.time() + seconds
        while not condition():
            left = end - self._loop.time()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return bool(condition())
        return True

    async def _watch_limits(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            for job in list(self.jobs.values()):
                policy = job.request.get("policy", {})
                if job.status == "IN_PROGRESS" and now - job.started > policy.get("executionTimeout", 600_000) / 1000:
                    self._end(job, "TIMED_OUT")
                    job.cancelled = now
                if now - job.created > policy.get("ttl", 86_400_000) / 1000:
                    self._unqueue(job)
                    del self.jobs[job.id]
                    self._wake()

    def _route(self, route: Route, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A worker's route with its checks and faults around the handler; `done` becomes `update` where the body is one."""

        async def answer(request: web.Request) -> web.StreamResponse:
            pod, job = request.match_info["pod"], request.match_info.get("job")
            body = await request.read()
            name: Route = "update" if route == "done" and _is_update(body) else route
            self._check_form(name, request)
            fault = self._due(name, job)
            response = None
            if fault is None or fault.kind == "slow" or "after" in fault.kind:
                if fault is not None and fault.kind == "slow":
                    await asyncio.sleep(fault.seconds)
                    if _hung_up(request):
                        self.seen[name, 0] += 1
                        return web.Response()
                response = await handler(request, pod, job, body, fault)
            if fault is None or fault.kind == "slow":
                self.seen[name, response.status] += 1
                return response
            if "drop" in fault.kind:
                self.seen[name, 0] += 1
                request.transport.abort()
                return web.Response()
            status = int(fault.kind.partition(" ")[0])
            self.seen[name, status] += 1
            return web.Response(status=status)

        return answer

    def _due(self, route: Route, job: str | None) -> Fault | None:
        for fault in self._faults:
            if fault.route == route and fault.job in (None, job):
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _check_form(self, route: Route, request: web.Request) -> None:
        wanted = {
            "a key": request.headers.get("Authorization") == KEY,
            "gpu": route == "ping" or "gpu" in request.query,
            "job_in_progress": route != "take" or request.query.get("job_in_progress") in ("0", "1"),
            "isStream": request.method != "POST" or request.query.get("isStream") in ("true", "false"),
            "X-Request-ID": request.method != "POST" or request.headers.get("X-Request-ID") == request.match_info["job"],
            "a form's content type": request.method != "POST" or request.content_type == "application/x-www-form-urlencoded",
        }
        self.complaints += [f"{route}: {name} is missing or wrong" for name, right in wanted.items() if not right]

    def _pod(self, pod: str) -> Pod:
        return self.pods.setdefault(pod, Pod())

    # --- the worker's routes -----------------------------------------------------------------------------------------

    async def _on_take(self, request: web.Request, pod: str, _job: str | None, _body: bytes, fault: Fault | None) -> web.Response:
        worker = self._pod(pod)
        if worker.stopping:
            worker.takes_after_stop += 1
        await self._until(lambda: self._queue or worker.stopping or _hung_up(request), self._poll_seconds)
        if not self._queue or worker.stopping or _hung_up(request) or (fault is not None and fault.kind != "slow"):
            return web.Response(status=204)  # with a fault the answer is not delivered, and the job stays
        job = self.jobs[self._queue.popleft()]
        job.status, job.pod, job.started = "IN_PROGRESS", pod, time.monotonic()
        job.taken.append((job.started, pod))
        self._wake()
        return web.json_response({"id": job.id, **job.request})

    async def _on_stop(self, request: web.Request, pod: str, _job: str | None, _body: bytes, _fault: Fault | None) -> web.Response:
        def due() -> list[Job]:
            return [job for job in self.jobs.values() if job.cancelled is not None and job.pod == pod]

        await self._until(lambda: due() or self._pod(pod).stopping or _hung_up(request), self._poll_seconds)
        ids = [job.id for job in due()]
        for job in due():
            job.pod = None
        return web.json_response({"jobsToStop": ids}) if ids else web.Response(status=204)

    async def _on_done(self, request: web.Request, pod: str, job_id: str, body: bytes, _fault: Fault | None) -> web.Response:
        if len(body) > MOST_ANSWER:
            return web.Response(status=400)
        job = self.jobs.get(job_id)
        if job is None:
            return web.Response(status=404)
        post = Post(time.monotonic(), pod, request.headers.get("X-Request-ID", ""), body)
        if _is_update(body):
            job.updates.append((post, bool(job.posts)))
            if job.status != "CANCELLED":
                job.status = "IN_PROGRESS"
            return web.Response()
        job.posts.append(post)
        if job.status not in FINAL:
            self._end(job, "FAILED" if "error" in post.told else "COMPLETED")
        if post.told.get("stopPod"):
            self._stop(pod)
        return web.Response()

    async def _on_stream(self, _request: web.Request, _pod: str, job_id: str, body: bytes, _fault: Fault | None) -> web.Response:
        self.jobs[job_id].chunks.append(json.loads(body))
        return web.Response()

    async def _on_ping(self, request: web.Request, pod: str, _job: str | None, _body: bytes, _fault: Fault | None) -> web.Response:
        if request.query.get("status") == "unhealthy":
            self._pod(pod).unhealthy.append(f"{request.query.get('check')}: {request.query.get('reason')}")
        else:
            self._pod(pod).pings.append((time.monotonic(), request.query.get("job_id")))
        return web.Response()

    # --- the client's routes -----------------------------------------------------------------------------------------

    async def _on_run(self, request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) > MOST_REQUEST:
            return web.json_response({"error": "the request is too large"}, status=400)
        return web.json_response(self._submit(json.loads(body), None).public())

    async def _on_runsync(self, request: web.Request) -> web.Response:
        job = self._submit(await request.json(), None)
        await self._until(lambda: job.status in FINAL, float(request.query.get("wait", 90_000)) / 1000)
        return web.json_response(job.public())

    async def _on_client(self, request: web.Request) -> web.Response:
        job = self.jobs.get(request.match_info["job"])
        if job is None:
            return web.json_response({"error": "job not found"}, status=404)
        verb = request.match_info["verb"]
        if verb == "cancel":
            self._cancel(job)
        if verb == "retry" and job.status in ("FAILED", "TIMED_OUT"):
            job.posts.clear()
            job.cancelled = None
            self._enqueue(job)
        told = job.public()
        return web.json_response(told | {"stream": job.chunks} if verb == "stream" else told)

    async def _on_purge(self, _request: web.Request) -> web.Response:
        removed = [self.jobs.pop(each) for each in self._queue]
        self._queue.clear()
        return web.json_response({"removed": len(removed), "status": "completed"})

    async def _on_health(self, _request: web.Request) -> web.Response:
        count = Counter(job.status for job in self.jobs.values())
        names = {"completed": "COMPLETED", "failed": "FAILED", "inProgress": "IN_PROGRESS", "inQueue": "IN_QUEUE"}
        told = {name: count[status] for name, status in names.items()} | {"retried": sum(job.retries for job in self.jobs.values())}
        return web.json_response({"jobs": told, "workers": {"running": sum(not pod.stopping for pod in self.pods.values())}})

    # --- the queue ---------------------------------------------------------------------------------------------------

    def _submit(self, request: dict[str, Any], job_id: str | None) -> Job:
        job = Job(job_id or f"job-{next(self._numbers)}", request, time.monotonic())
        self.jobs[job.id] = job
        self._enqueue(job)
        return job

    def _enqueue(self, job: Job, first: bool = False) -> None:
        job.status, job.pod = "IN_QUEUE", None
        (self._queue.appendleft if first else self._queue.append)(job.id)
        self._wake()

    def _unqueue(self, job: Job) -> None:
        if job.id in self._queue:
            self._queue.remove(job.id)

    def _cancel(self, job: Job) -> None:
        if job.status in FINAL:
            return
        self._unqueue(job)
        job.cancelled = time.monotonic()
        self._end(job, "CANCELLED")

    def _end(self, job: Job, status: str) -> None:
        job.status, job.ended = status, time.monotonic()
        self._wake()

    def _stop(self, pod: str) -> None:
        self._pod(pod).stopping = True
        self._wake()

    def _gone(self, pod: str) -> None:
        self._stop(pod)
        for job in self.jobs.values():
            if job.status == "IN_PROGRESS" and job.pod == pod:
                job.retries += 1
                self._enqueue(job, first=True)


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and let them end: one that is merely forgotten is ended by the garbage collector, in the middle of another test."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_update(body: bytes) -> bool:
    """Whether a body that arrived at job-done is a progress update."""
    return body[:64].replace(b" ", b"").startswith(b'{"status":"IN_PROGRESS"')


def _hung_up(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
