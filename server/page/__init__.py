"""The web page: plain files under `/page/`, the viewer that it shares with the report under `/viewer/`, the page itself at `/`."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pipeline.outputs.report import VIEWER

PAGE = Path(__file__).parent
#: What the page may do: its own scripts and styles, pictures that it made itself, requests to where it came from. Nothing inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: A browser asks each time whether a file has changed (by its ETag), so that it never mixes a new version with an old one.
_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class _Files(StaticFiles):
    """Files of one folder, of the kinds that a page is made of, and no others."""

    KINDS = (".js", ".css", ".svg")

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file with the headers of every file of the page; 404 for what is not the page's."""
        if not path.endswith(self.KINDS):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


async def _index(_: Request) -> Response:
    return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8", headers={**_HEADERS, "Content-Security-Policy": POLICY})


def routes() -> list[BaseRoute]:
    """The page's routes, to be added after those of the API: `/`, `/page/…`, `/viewer/…`."""
    return [
        Route("/", _index, name="page"),
        Mount("/page", _Files(directory=PAGE), name="page-files"),
        Mount("/viewer", _Files(directory=VIEWER), name="viewer-files"),
    ]
