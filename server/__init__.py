"""The pod's door: jobs over HTTP, a durable queue, and the web page. `server:app` is the ASGI application.

The application is built when it is first asked for, so that an engine's process, which needs no HTTP, does not build one.
"""

import sys
from typing import Any

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from pipeline.settings import SettingsError  # noqa: PLC0415 - see above
    from server import counters  # noqa: PLC0415
    from server.settings import read  # noqa: PLC0415

    try:
        settings = read()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    globals()["_counting"] = counters.prepare(settings.metrics_folder)  # before anything imports prometheus_client
    from server.web import create  # noqa: PLC0415

    application = create(settings)
    globals()["app"] = application
    return application
