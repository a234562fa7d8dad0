"""The receiver of RunPod's webhooks: each answer arrives when it is there, under an address that names the task and a secret."""

import hmac
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

from batch.engines import RunPod, answer_of
from batch.http import reason
from batch.protocol import State
from batch.values import Task, WrongUse

#: Bytes of an answer that are taken; RunPod's own limit is 10 MB, and an answer may hold the question.
_MOST = 24_000_000


@asynccontextmanager
async def listening(engine: RunPod, port: int, secret: str, public: str | None) -> AsyncIterator[None]:
    """Receive the answers for `engine` while the block lasts. `public`: the address at which RunPod reaches this port, where a proxy or a
    tunnel stands before it; else this machine's own address as seen from the endpoint. Raises `WrongUse` where the port is taken."""

    async def receive(request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.match_info["secret"].encode(), secret.encode()):
            return web.Response(status=404)
        try:
            told = State.model_validate(json.loads(await request.read()))
        except (ValueError, RecursionError):  # a wrong answer is pydantic's ValidationError, a ValueError
            return web.Response(status=400)
        answer = answer_of(told)
        heard = engine.heard.get(request.match_info["task"])
        if answer is not None and heard is not None and not heard.done():
            heard.set_result(answer)
        return web.Response()  # also where nobody waits any more: RunPod would only send it again

    app = web.Application(client_max_size=_MOST)
    app.router.add_post("/{secret}/{task}", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "0.0.0.0", port).start()  # RunPod calls from outside
        except OSError as error:
            raise WrongUse(f"--listen {port}: the port cannot be used: {reason(error)}.") from error
        base = (public or f"http://{_own_address(engine.endpoint.url)}:{runner.addresses[0][1]}").rstrip("/")

        def address(task: Task) -> str:
            return f"{base}/{secret}/{task.sending}"

        engine.webhook, engine.listening = address, True
        yield
    finally:
        await runner.cleanup()


def _own_address(url: str) -> str:
    """The address of this machine on the way to a server; nothing is sent."""
    there = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((there.hostname or "127.0.0.1", there.port or 443))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
