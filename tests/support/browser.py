"""Debian's Chromium for the browser tests, and what every page must keep to: no word on the console, no request elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        yield browser
        browser.close()


class Witness:
    """Notes what a page says and asks for. `origin`: where it may ask, beside `data:` and `blob:`."""

    def __init__(self, page: Page | BrowserContext, origin: str) -> None:
        self.said: list[str] = []
        allowed = (origin, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(allowed) else self.said.append(f"asked {request.url}"))
        page.on("console", lambda message: self.said.append(f"{message.text} {message.location.get('url', '')}"))
        page.on(
            "weberror" if isinstance(page, BrowserContext) else "pageerror",
            lambda error: self.said.append(str(getattr(error, "error", error))),
        )


def violations(page: Page) -> list[tuple[str, str, list[Any]]]:
    """What axe calls serious or critical, once nothing on the page is half-way between two colours."""
    page.wait_for_function("() => document.getAnimations().every(each => each.playState !== 'running')")
    found = Axe().run(page).response["violations"]
    return [
        (rule["id"], rule["help"], [node["target"] for node in rule["nodes"]][:5])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
