"""`/docs`: Swagger UI from files of an installed package; nothing is fetched from another host, and no script stands in the page."""

from pathlib import Path

import fastapi_offline
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

_FILES = Path(fastapi_offline.__file__).parent / "static"
_SERVED = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
#: Swagger UI sets styles from its script and draws icons from data URIs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · Vehicle to vector</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });\n"


async def _page(_: Request) -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"})


async def _start(_: Request) -> Response:
    return Response(_START, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


async def _swagger(request: Request) -> Response:
    name = request.url.path.rpartition("/")[2]
    return FileResponse(_FILES / name, media_type=_SERVED[name], headers={"Cache-Control": "private, max-age=86400"})


def routes() -> list[BaseRoute]:
    """The description's page and its files."""
    return [Route("/docs", _page), Route("/docs/start.js", _start), *(Route(f"/docs/{name}", _swagger) for name in _SERVED)]
