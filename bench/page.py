"""The page's weight, how soon it can be used, and what axe finds in it: `python -m bench.page [--loads N] [--docs]`.

`--image` alone draws the sample and writes docs/images/page.png, the page with that job.

Bytes are those of all files that the page loads before anything is done, pictures apart, as they lie and as gzip would make them. The
time is that from the start of the navigation until *Choose a photo* is laid out, each load in a browser context without a cache, in turn
with a page of one line from the standard library's server. axe-core looks at every state of the page, at the report, at the sign-in form
and at the API's description, in both colour schemes, at the widths of a desk and of a telephone. The training of a style that it looks
at is a stand-in's, as in the tests.
"""

import argparse
import gzip
import os
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Response

from pipeline.settings import environment
from tests.support.browser import chromium
from tests.support.pictures import save
from tests.support.serving import JOB_SECONDS, Server, serving, until

ROOT = Path(__file__).parents[1]
DOCUMENT, IMAGE = ROOT / "docs" / "benchmarks" / "page.md", ROOT / "docs" / "images" / "page.png"
TRAINER = [sys.executable, "-m", "tests.support.stand_in_trainer", "--port", "{port}"]
KEY = "a key for the sign-in form"
IMPACTS = ("critical", "serious", "moderate", "minor")
VIEWS = [(width, scheme) for width in (1440, 360) for scheme in ("light", "dark")]
PATIENCE = 1000 * JOB_SECONDS
#: Notes when an element that matches is first laid out, in ms since the navigation began; looks at every frame.
WATCH = """(() => {
    const there = () => document.querySelector(%r)?.getClientRects().length;
    const look = () => there() ? window.usable = performance.now() : requestAnimationFrame(look);
    look();
})()"""


class _OneLine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>One line</title><p class=primary>One line.</p>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def one_line() -> Iterator[str]:
    """A server of the smallest page, for what browser and machine take by themselves."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _OneLine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def usable(browser: Browser, address: str) -> float:
    """ms from the start of a navigation without a cache until the element of class `primary` stands there."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(WATCH % ".primary")
    page = context.new_page()
    page.goto(address, timeout=PATIENCE)
    took = page.wait_for_function("window.usable", timeout=PATIENCE).json_value()
    context.close()
    return float(took)


def weight(browser: Browser, address: str) -> list[tuple[str, int, int]]:
    """(path, bytes, bytes under gzip) of what the page loads, answers of the API and pictures apart."""
    page = browser.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - Playwright takes no builtin
    page.goto(address, timeout=PATIENCE)
    page.wait_for_load_state("networkidle", timeout=PATIENCE)
    bodies = {
        answer.url.removeprefix(address.rstrip("/")): answer.body()
        for answer in answers
        if "/api/" not in answer.url and not answer.headers.get("content-type", "").startswith(("image/", "application/json"))
    }
    page.close()
    return sorted((path, len(body), len(gzip.compress(body))) for path, body in bodies.items())


def found(page: Page) -> Counter[str]:
    """Rules that axe finds broken, by impact."""
    page.wait_for_timeout(300)  # colours that change slowly
    return Counter(str(rule["impact"]) for rule in Axe().run(page).response["violations"])


def finished(server: Server, size: int = 1024) -> str:
    """A job with every file and every intermediate."""
    photo, box = (ROOT / "server" / "sample.jpg").read_bytes(), [0.2, 0.35, 0.81, 0.8]
    job_id = server.submit(photo, size=size, vehicle_box=box, outputs=["svg", "png", "pdf", "report", "intermediates"])
    told = server.over(job_id)
    if told["status"] != "completed":
        raise SystemExit(f"The sample's job ended as {told['status']}: {told['error']}")
    return job_id


def trained(server: Server) -> None:
    """A style that a stand-in for the builder has trained."""
    photo, drawing = save(Image.new("RGB", (96, 64), "grey"), "PNG"), b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for k in range(5):
                archive.writestr(f"photos/car{k}.png", photo)
                archive.writestr(f"drawings/car{k}.svg", drawing)
        file.seek(0)
        server.client.post("/api/v1/training/pairs", files={"file": ("pairs.zip", file)}).raise_for_status()
    server.client.post("/api/v1/training", json={"name": "flat", "epochs": 3}).raise_for_status()
    until(lambda: server.client.get("/api/v1/training").json()["status"] == "completed", JOB_SECONDS)


def pictured(browser: Browser, address: str, done: str) -> bytes:
    """The page with a finished job, as docs/page.md shows it."""
    page = browser.new_page(viewport={"width": 1440, "height": 960}, color_scheme="light")
    page.goto(f"{address}#job={done}", timeout=PATIENCE)
    page.locator(".viewer").wait_for(timeout=PATIENCE)
    page.wait_for_load_state("networkidle", timeout=PATIENCE)
    page.wait_for_timeout(1000)  # until the pictures are laid out
    return page.screenshot()


def states(page: Page, address: str, done: str, failed: str, locked: str, trainer: str, report: Path) -> Iterator[str]:
    """Brings the page into one state after the other; each is looked at when its name comes."""
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator(".drop").wait_for()
    yield "no photo yet"
    for group in page.locator("details").all():
        group.evaluate("e => { e.open = true }")
    yield "every setting unfolded"
    page.get_by_role("button", name="Use the sample").click()
    page.get_by_role("button", name="Set a vehicle box").click()
    page.locator(".box").wait_for()
    yield "photo with a vehicle box"
    page.get_by_label("Working size").select_option("8192")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.locator(".phases [aria-current=step]").wait_for()
    yield "job at work"
    page.get_by_role("button", name="Cancel").click()
    page.locator(".problem").wait_for()
    yield "job cancelled"
    page.evaluate(f"location.hash = 'job={failed}'")
    page.locator(".problem code", has_text="NO_VEHICLE").wait_for()
    yield "job failed"
    page.evaluate(f"location.hash = 'job={done}'")
    page.locator(".viewer").wait_for()
    yield "result"
    page.locator("[data-layer=lines]").click()
    page.locator(".color").first.click()
    yield "result, a layer and a colour off"
    page.get_by_role("button", name="Show where").first.click()
    yield "result, what was removed, zoomed"
    page.evaluate("location.hash = 'style'")
    page.get_by_role("heading", name="Train a style").wait_for()
    yield "style, on a server that cannot train"
    page.goto(f"{trainer}/#style")
    page.get_by_role("heading", name=": flat").wait_for()
    yield "style, trained"
    page.goto(report.as_uri())
    page.locator(".viewer").wait_for()
    yield "report with intermediates"
    page.goto(locked)
    page.get_by_label("API key").wait_for()
    yield "sign-in form"
    page.goto(f"{address}docs")
    page.locator(".opblock").first.wait_for()
    yield "API description (Swagger UI)"


def accessibility(browser: Browser, begin: partial[Iterator[str]]) -> dict[str, Counter[str]]:
    """State → rules broken by impact, the most in any view."""
    most: dict[str, Counter[str]] = {}
    for width, scheme in VIEWS:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        for state in begin(page):
            now = found(page)
            most[state] = most.get(state, Counter()) | now
            print(f"{width} px, {scheme}, {state}: {dict(now) or 'nothing'}", flush=True)
        context.close()
    return most


def document(files: list[tuple[str, int, int]], ours: list[float], plain: list[float], axe: dict[str, Counter[str]], facts: str) -> str:
    total, packed = sum(size for _, size, _ in files), sum(size for _, _, size in files)
    own = Counter[str]() if not axe else sum((count for state, count in axe.items() if "Swagger" not in state), Counter())
    lines = [
        "# The page's figures",
        "",
        "Written by `python -m bench.page --docs`; its docstring says what is measured and how.",
        "",
        "| figure | asked | measured |",
        "|---|---|---|",
        f"| bytes without pictures | under 150 000 | {total} in {len(files)} files ({packed} under gzip) |",
        f"| usable on loopback, no cache, median of {len(ours)} loads | under 1 s | {statistics.median(ours):.0f} ms |",
        f"| the same of a page of one line | | {statistics.median(plain):.0f} ms |",
        f"| quickest and slowest load; of one line | | {min(ours):.0f} and {max(ours):.0f} ms; {min(plain):.0f} and {max(plain):.0f} ms |",
        f"| serious or critical issues that axe finds in page, report and sign-in form | none | {own['serious'] + own['critical']} |",
        "",
        "## What axe finds",
        "",
        f"Rules broken, by impact: the most in any of {len(VIEWS)} views ({', '.join(f'{width} px {scheme}' for width, scheme in VIEWS)}).",
        "",
        "| state | " + " | ".join(IMPACTS) + " |",
        "|---|" + "---|" * len(IMPACTS),
        *(f"| {state} | " + " | ".join(str(count[impact]) for impact in IMPACTS) + " |" for state, count in axe.items()),
        "",
        "## Files",
        "",
        "| file | bytes | under gzip |",
        "|---|---|---|",
        *(f"| `{path}` | {size} | {small} |" for path, size, small in files),
        "",
        facts,
        "",
    ]
    return "\n".join(lines)


def take_picture() -> None:
    """Write the picture of the page."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), NETWORKS_PATH=str(environment().networks_path), PIPELINE_CONFIG="") as server,
        chromium() as browser,
    ):
        server.ready()
        IMAGE.write_bytes(pictured(browser, str(server.client.base_url).rstrip("/") + "/", finished(server, 4096)))
    print(IMAGE)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=11, help="loads of each page")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCUMENT.relative_to(ROOT)}")
    parser.add_argument("--image", action="store_true", help=f"write {IMAGE.relative_to(ROOT)} alone")
    options = parser.parse_args()
    if options.image:
        take_picture()
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "pod", NETWORKS_PATH=str(environment().networks_path)) as server,
        serving(Path(folder) / "locked", WORKERS="0", API_KEY=KEY) as locked,
        serving(Path(folder) / "trainer", command=TRAINER, WORKERS="0", MODEL_VOLUME_PATH=folder) as trainer,
        one_line() as line,
        chromium() as browser,
    ):
        server.ready()
        trained(trainer)
        address = str(server.client.base_url).rstrip("/") + "/"
        files = weight(browser, address)
        load, ours, plain = os.getloadavg()[0], [], []
        for _ in range(options.loads):
            plain.append(usable(browser, line))
            ours.append(usable(browser, address))
            time.sleep(0.2)
        print(f"usable after {statistics.median(ours):.0f} ms, one line {statistics.median(plain):.0f} ms", flush=True)
        done, report = finished(server), Path(folder) / "report.html"
        report.write_bytes(server.client.get(f"/api/v1/jobs/{done}/output/report").content)
        failed = server.submit(save(Image.new("RGB", (900, 600), "grey"), "JPEG"), size=1024)  # no vehicle
        if server.over(failed)["status"] != "failed":
            raise SystemExit("A grey picture was drawn, so there is no failed job to look at.")
        begin = partial(states, address=address, done=done, failed=failed, locked=str(locked.client.base_url), report=report)
        begin = partial(begin, trainer=str(trainer.client.base_url).rstrip("/"))
        axe = accessibility(browser, begin)
        facts = f"Chromium {browser.version}, {os.cpu_count()} processors, load before the loads {load:.1f} (others used the machine too)."
    text = document(files, ours, plain, axe, facts)
    print(text)
    if options.docs:
        DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
