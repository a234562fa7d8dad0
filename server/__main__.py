"""The pod's door: `python -m server`."""

import signal
import socket
import sys
from typing import Annotated

import typer
import uvicorn

import server
from server.settings import STOP_SECONDS

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

#: Seconds that a connection may be idle between two requests.
KEEP_ALIVE = 30


def _check_address(host: str, port: int) -> None:
    """End with one sentence where nothing can listen there: uvicorn tells it after the engines were started, without the port."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        sys.stderr.write(f"Nothing can listen at {host}, port {port}: {error.strerror}; name others by --host and --port.\n")
        sys.exit(2)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in: set API_KEY then.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5090,
) -> None:
    """Serve the API, the web page at `/` and the API's description at `/docs`.

    Settings come from the environment: every request needs `API_KEY`, if set; `OUTPUT_DIR` keeps jobs and results for `RETENTION_HOURS`;
    `WORKERS` is how many pictures are drawn at once; `ENGINE` and `MODEL_VOLUME_PATH` choose the engine. All are in `docs/settings.md`.

    Try it:

        curl -o car.jpg http://127.0.0.1:5090/api/v1/sample
        curl -F file=@car.jpg http://127.0.0.1:5090/api/v1/process

    SIGTERM or Ctrl-C stops it. The job at hand gets 25 s; if it needs longer, it goes back to its place in the queue.

    Exit status: 0 when it was stopped; 2 with one sentence when a setting is wrong, or the port is taken.
    """
    _check_address(host, port)
    # After an orderly stop uvicorn sends the signal again, to the handler that was there before: exit with 0 then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        server.app,
        host=host,
        port=port,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=STOP_SECONDS,
        access_log=False,
        log_level="warning",
        server_header=False,
    )


if __name__ == "__main__":
    sys.exit(app(prog_name="python -m server"))
