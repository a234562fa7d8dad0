"""The web page in Debian's Chromium against the running server: what a person does with mouse, finger and keyboard."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Response, expect

from model_cache import embedded
from tests.conftest import NETWORKS
from tests.support import quick
from tests.support.browser import Witness, chromium, violations
from tests.support.ports import free_port
from tests.support.serving import JOB_SECONDS, NO_NETWORKS, until

pytestmark = pytest.mark.xdist_group("browser")
expect.set_options(timeout=20_000)  # ms; for busy machines
ROOT = Path(__file__).parents[2]
Opener = Callable[..., Page]


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[str]:
    """A server of its own process on a free port, ready for jobs."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "ENGINE": "classical", "OUTPUT_DIR": str(folder)}
    environment |= {embedded.VARIABLE: NO_NETWORKS, **quick.VARIABLE}
    command = [sys.executable, "-m", "server", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment | settings, stdout=log, stderr=log)
    origin = f"http://127.0.0.1:{port}"
    try:

        def ready() -> bool:
            assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{origin}/ready", timeout=5).close()
            except (urllib.error.URLError, OSError):
                return False
            return True

        until(ready, JOB_SECONDS)
        yield origin
    finally:
        process.terminate()
        process.wait(40)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started(tmp_path_factory.mktemp("server")) as origin:
        yield origin


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, origin: str) -> Iterator[Opener]:
    """Opens pages of one browser context. Afterwards none may have asked elsewhere or complained, but as `expected` says."""
    contexts: list[tuple[BrowserContext, Witness, str]] = []

    def open_page(path: str = "/", expected: str = "", beside: Page | None = None, **options: object) -> Page:
        if beside is not None:
            context = beside.context
        else:
            context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
            contexts.append((context, Witness(context, origin), expected))
        page = context.new_page()
        page.goto(origin + path)
        return page

    yield open_page
    for context, _, _ in contexts:
        context.close()
    assert [line for _, witness, expected in contexts for line in witness.said if not (expected and re.search(expected, line))] == []


def send(origin: str, photo: bytes, **options: object) -> str:
    """Submit a job as any client does; its id."""
    boundary = "x" * 32
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="options"\r\n\r\n{json.dumps(options)}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="car.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode(),
        photo,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{origin}/api/v1/process", b"".join(parts), headers)
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["job_id"])


def job(origin: str, job_id: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{origin}/api/v1/jobs/{job_id}") as answer:
        return dict(json.load(answer))


@pytest.fixture(scope="module")
def sample(origin: str) -> bytes:
    with urllib.request.urlopen(f"{origin}/api/v1/sample") as answer:
        return bytes(answer.read())


@pytest.fixture(scope="module")
def done(origin: str, sample: bytes) -> str:
    """A job that is finished, with every file."""
    job_id = send(origin, sample, size=1024, vehicle_box=BOX, outputs=["svg", "png", "pdf", "report"])
    for _ in range(JOB_SECONDS * 5):
        if job(origin, job_id)["status"] == "completed":
            return job_id
        time.sleep(0.2)
    pytest.fail(f"the job did not end: {job(origin, job_id)}")


GUIDE = (
    "#FF0000,#00FF00,#0000FF,#FFFF00,#FF00FF,#00FFFF,#000000,#FFFFFF,#808080,#404040,#C0C0C0,#FFA500,#800080,#008080,#FFB6C1".split(",")  # noqa: SIM905
)
BOX = [0.2, 0.35, 0.81, 0.8]


def unfold(page: Page, *names: str) -> None:
    for name in names:
        page.locator("details.group", has=page.locator("summary", has_text=name)).evaluate("e => { e.open = true }")


def small(page: Page, *, remove: bool = False) -> None:
    """The settings of a quick job: a small square, and nothing to look for unless `remove`."""
    unfold(page, "Picture", "Removal")
    page.get_by_label("Working size").select_option("1024")
    for box in page.get_by_role("group", name="What is removed").get_by_role("checkbox").all():
        box.set_checked(remove)


def edge(page: Page, name: str) -> Locator:
    """The field of one edge of the vehicle box."""
    return page.get_by_role("spinbutton", name=f"{name} %")


def numbers(page: Page) -> list[float]:
    return [float(edge(page, name).input_value()) for name in ("Left", "Top", "Right", "Bottom")]


def use_sample(page: Page) -> None:
    page.get_by_role("button", name="Use the sample").click()
    expect(page.get_by_role("img", name="The chosen photo")).to_be_visible()
    assert numbers(page) == [20, 35, 81, 80]  # its vehicle's box comes with it, and the page says why
    expect(page.get_by_text("no network that finds vehicles")).to_be_visible()


def draw(page: Page) -> None:
    page.get_by_role("button", name="Draw", exact=True).click()


def finished(page: Page) -> None:
    expect(page.locator(".viewer")).to_be_visible(timeout=1000 * JOB_SECONDS)


def test_submit_watch_compare_download(opened: Opener, origin: str) -> None:
    page = opened()
    use_sample(page)
    small(page, remove=True)
    draw(page)
    expect(page.get_by_role("progressbar", name="Progress of the job")).to_be_visible()
    expect(page.locator(".phases [aria-current=step]")).to_be_visible(timeout=20_000)
    assert re.search(r"#job=[\w-]+$", page.url)
    finished(page)
    assert page.locator(".heading h2").inner_text().startswith("Done in ") and page.title() == "Done · Vehicle to vector"

    page.get_by_role("slider").focus()
    before = page.locator(".before").evaluate("e => getComputedStyle(e).clipPath")
    page.keyboard.press("ArrowRight")
    assert page.locator(".before").evaluate("e => getComputedStyle(e).clipPath") != before
    assert page.locator(".picture").evaluate("e => e.complete && e.naturalWidth > 0")
    assert page.locator(".scene #fills path").count() > 5 and page.locator(".scene #lines path").count() > 5

    # what was removed is told, and shown on the photo's side of the line
    page.get_by_role("button", name="Show where license plate was").click()
    mark, line = page.locator(".what", has_text="license plate"), page.locator(".handle").bounding_box()
    expect(mark).to_be_visible()
    assert mark.bounding_box()["x"] < line["x"]

    beginnings = {"SVG": b"<?xml", "PNG": b"\x89PNG", "PDF": b"%PDF", "Report": b"<!doctype html>"}
    for name, beginning in beginnings.items():
        with page.expect_download() as download:
            page.locator(".heading").get_by_role("link", name=name).click()
        assert Path(download.value.path()).read_bytes().startswith(beginning)
    box = job(origin, page.url.rpartition("=")[2])["result"]["vehicle_box"]
    assert box[0] >= 0 and box[2] <= 1


@pytest.mark.networks
def test_the_sample_needs_no_box(browser: Browser, tmp_path: Path) -> None:
    with started(tmp_path, **{embedded.VARIABLE: str(NETWORKS)}) as origin:
        page = browser.new_page()
        page.goto(origin)
        page.get_by_role("button", name="Use the sample").click()
        expect(page.get_by_role("button", name="Set a vehicle box")).to_be_visible()
        expect(page.get_by_text("no network that finds vehicles")).not_to_be_visible()
        small(page)
        draw(page)
        finished(page)
        told = job(origin, page.url.rpartition("=")[2])
        assert "isnet" in told["result"]["versions"]["models"]
        assert told["result"]["vehicle_box"] == pytest.approx([0.2, 0.35, 0.81, 0.8], abs=0.02)
        page.close()


def test_with_the_keyboard_alone(opened: Opener) -> None:
    page = opened()

    def go_to(name: str) -> None:
        for _ in range(120):
            page.keyboard.press("Tab")
            here = page.evaluate("(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()")
            if here == name:
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none"
                return
        pytest.fail(f"{name!r} cannot be reached with Tab")

    go_to("Use the sample")
    page.keyboard.press("Enter")
    expect(page.get_by_role("img", name="The chosen photo")).to_be_visible()
    go_to("Remove the box")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # focus is on the button that sets one again
    assert page.evaluate("document.activeElement.labels[0].innerText").startswith("Left")
    for _ in range(3):
        page.keyboard.press("Shift+Tab")  # past two buttons to the box itself
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert [edge(page, name).input_value() for name in ("Left", "Top", "Right", "Bottom")] == ["11", "15", "91", "86"]
    page.keyboard.press("Delete")
    assert not page.locator(".box").is_visible()
    page.keyboard.press("Enter")  # focus is on the button that sets one again
    for value in ("5", "20", "95", "95"):
        page.keyboard.press("Control+a")
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    go_to("Picture\nbackground, size, detail")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("1")  # the working size of 1024
    go_to("Draw")
    page.keyboard.press("Enter")
    finished(page)
    page.evaluate("document.getElementById('work').focus()")
    go_to("Drawing; plus and minus zoom, arrows move, 0 fits")
    page.keyboard.press("+")
    expect(page.locator(".zoom")).to_have_text("150 %")


def test_reload_in_mid_job_and_a_second_tab(opened: Opener) -> None:
    page = opened()
    use_sample(page)
    small(page)
    draw(page)
    expect(page.get_by_role("progressbar", name="Progress of the job")).to_be_visible()
    page.reload()
    expect(page.locator(".progress, .viewer").first).to_be_visible(timeout=20_000)
    second = opened(page.url.partition("/#")[2] and "/#" + page.url.partition("/#")[2], beside=page)
    finished(page)
    finished(second)
    name = page.url.rpartition("=")[2]
    for tab in (page, second):
        expect(tab.locator(f'.jobs [data-id="{name}"][data-status="completed"]')).to_be_visible(timeout=20_000)


def test_without_events_the_page_asks(opened: Opener) -> None:
    page = opened(expected="/events")
    page.route("**/events", lambda route: route.abort())
    use_sample(page)
    small(page)
    draw(page)
    finished(page)


def test_a_job_can_be_cancelled(opened: Opener) -> None:
    page = opened()
    use_sample(page)
    unfold(page, "Picture")
    page.get_by_label("Working size").select_option("8192")
    draw(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".heading h2")).to_have_text(re.compile("Cancelled"), timeout=1000 * JOB_SECONDS)
    expect(page.locator(".problem code")).to_have_text("CANCELLED")
    page.get_by_role("button", name="Use photo and settings again").click()
    expect(page.get_by_role("img", name="The chosen photo")).to_be_visible()


def test_errors_say_what_to_do(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "car.jpg").write_bytes(b"no picture at all" * 40)
    page = opened(expected="status of 4..")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("There is no photo yet")
    page.get_by_label("Photo file").set_input_files(tmp_path / "car.jpg")
    expect(page.locator(".unseen")).to_be_visible()
    draw(page)
    expect(page.locator(".problem code")).to_have_text("UNSUPPORTED_IMAGE", timeout=1000 * JOB_SECONDS)
    expect(page.get_by_role("alert")).to_contain_text("Send a JPEG, PNG, WebP")
    assert violations(page) == []
    page.goto(page.url.partition("#")[0] + "#job=0000-none")
    expect(page.locator(".work .problem code")).to_have_text("NOT_FOUND")


def test_settings_are_checked_before_they_are_sent(opened: Opener) -> None:
    page = opened()
    use_sample(page)
    unfold(page, "Lines", "Files")
    page.get_by_label("Colour", exact=True).fill("#12")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("is not a colour")
    page.get_by_label("Colour", exact=True).fill("")
    page.get_by_label("Width").fill("-3")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("Width")
    assert "#job" not in page.url


def test_what_is_chosen_is_what_is_sent(opened: Opener) -> None:
    page = opened(expected="/process")
    sent: list[str] = []
    page.route("**/api/v1/process", lambda route: (sent.append(route.request.post_data_buffer.decode("latin-1")), route.abort()))
    use_sample(page)
    unfold(page, "Picture", "Lines", "Removal", "Files", "Named styles")
    page.get_by_role("button", name="Guide’s").click()
    page.get_by_label("Saved preset").fill("lineart")
    page.get_by_label("Colour locks").fill('[{"part": "glass", "color": "0AF"}]')
    page.get_by_label("Background").select_option("#404040")
    page.get_by_label("Canvas").select_option("vehicle")
    page.get_by_label("Detail").fill("0.0001")
    page.get_by_role("button", name="Centrelines").click()
    page.get_by_label("Width").fill("3.5")
    page.get_by_label("Colour", exact=True).fill("f00")
    page.get_by_label("sticker").uncheck()
    page.get_by_label("Other things").fill("antenna, roof rack")
    page.get_by_label("PDF").uncheck()
    page.get_by_label("Seed").fill("7")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    options = json.loads(re.search(r'name="options"\r\n\r\n(.*?)\r\n', sent[0])[1])
    assert options == {
        "outputs": ["svg", "png", "report"],
        "remove": ["side view mirror", "car logo", "brand badge", "license plate", "text", "antenna", "roof rack"],
        "background": "#404040",
        "canvas": "vehicle",
        "detail": 0.0001,
        "seed": 7,
        "stroke": {"mode": "centerlines", "width": 3.5, "color": "f00"},
        "palette_hex_list": GUIDE,
        "job_preset": "lineart",
        "color_locks": [{"part": "glass", "color": "0AF"}],
        "vehicle_box": BOX,
    }


def test_a_palette_by_name_is_sent_in_place_of_the_colours(opened: Opener) -> None:
    page = opened(expected="/process")
    sent: list[str] = []
    page.route("**/api/v1/process", lambda route: (sent.append(route.request.post_data_buffer.decode("latin-1")), route.abort()))
    use_sample(page)
    unfold(page, "Named styles")
    page.get_by_label("Colour locks").fill("body: red")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("must be a list in JSON")
    page.get_by_label("Colour locks").fill("")
    page.get_by_label("Palette name").fill(" greys ")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    options = json.loads(re.search(r'name="options"\r\n\r\n(.*?)\r\n', sent[0])[1])
    assert options["palette_name"] == "greys"
    assert "palette_hex_list" not in options


def colors(page: Page) -> list[str]:
    return page.locator(".swatches .tile").evaluate_all("all => all.map(e => e.title)")


def test_the_palette(opened: Opener) -> None:
    page = opened()
    assert len(colors(page)) == 15 and colors(page)[0] == "#000000"
    page.get_by_text("Paste a list").click()
    area = page.get_by_label("Colours as hex")
    area.fill("ff0000, #0f0 nonsense")
    page.get_by_role("button", name="Use these").click()
    expect(page.locator(".say")).to_have_text("Not a colour: nonsense.")
    area.fill('["ff0000", "#0f0"]\n0000FF; 0000ff')
    page.get_by_role("button", name="Use these").click()
    assert colors(page) == ["#FF0000", "#00FF00", "#0000FF"]
    assert page.get_by_role("button", name="Own").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Colour 3: #0000FF").click()
    page.get_by_role("button", name="Move this colour forward").click()
    assert colors(page) == ["#FF0000", "#0000FF", "#00FF00"]
    page.get_by_label("This colour as hex").fill("abc")
    page.keyboard.press("Tab")
    assert colors(page) == ["#FF0000", "#AABBCC", "#00FF00"]
    page.get_by_role("button", name="Add a colour").click()
    page.keyboard.type("123456")
    page.keyboard.press("Tab")
    assert colors(page)[3] == "#123456"
    page.get_by_role("button", name="Remove this colour").click()
    page.locator(".tile").nth(0).drag_to(page.locator(".tile").nth(2))
    assert colors(page) == ["#AABBCC", "#00FF00", "#FF0000"]
    unfold(page, "Picture")
    assert "#AABBCC" in page.get_by_label("Background").inner_text()
    page.reload()
    assert colors(page) == ["#AABBCC", "#00FF00", "#FF0000"]  # kept
    page.get_by_role("button", name="Default").click()
    assert len(colors(page)) == 15
    page.get_by_role("button", name="Own").click()
    assert len(colors(page)) == 3


def test_a_palette_is_taken_from_the_photo(opened: Opener) -> None:
    page = opened()
    page.get_by_role("button", name="Use the sample").click()
    page.get_by_text("Take it from a picture").click()
    page.get_by_label("How many colours").fill("5")
    page.get_by_role("button", name="the photo", exact=True).click()
    expect(page.locator(".say")).to_contain_text("taken from the picture", timeout=20_000)
    assert 2 <= len(colors(page)) <= 5


def test_the_box_is_drawn_moved_and_resized(opened: Opener) -> None:
    page = opened()
    page.get_by_role("button", name="Use the sample").click()
    page.get_by_role("button", name="Remove the box").click()
    image = page.get_by_role("img", name="The chosen photo")
    expect(image).to_be_visible()
    area = image.bounding_box()

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        page.mouse.move(area["x"] + start[0] * area["width"], area["y"] + start[1] * area["height"])
        page.mouse.down()
        page.mouse.move(area["x"] + end[0] * area["width"], area["y"] + end[1] * area["height"], steps=5)
        page.mouse.up()

    drag((0.8, 0.9), (0.2, 0.3))
    assert numbers(page) == pytest.approx([20, 30, 80, 90], abs=0.3)
    drag((0.5, 0.5), (0.55, 0.4))
    assert numbers(page) == pytest.approx([25, 20, 85, 80], abs=0.3)
    drag((0.85, 0.8), (0.95, 0.9))
    assert numbers(page) == pytest.approx([25, 20, 95, 90], abs=0.3)
    drag((0.5, 0.5), (-0.5, 0.5))
    assert numbers(page) == pytest.approx([0, 20, 70, 90], abs=0.3)  # it stops at the photo's edge


def test_a_finger_resizes_the_box(opened: Opener) -> None:
    page = opened(viewport={"width": 390, "height": 800}, has_touch=True)
    page.get_by_role("button", name="Use the sample").tap()
    page.get_by_role("button", name="Remove the box").tap()
    page.get_by_role("button", name="Set a vehicle box").tap()
    page.locator(".canvas").scroll_into_view_if_needed()
    corner, area = page.locator("[data-corner=se]").bounding_box(), page.locator(".canvas img").bounding_box()
    x, y = corner["x"] + 22, corner["y"] + 22
    session = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.0), ("touchMove", 0.1), ("touchMove", 0.2), ("touchEnd", None)):
        points = [] if share is None else [{"x": x - share * area["width"], "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert numbers(page) == pytest.approx([10, 15, 70, 85], abs=1.5)


def test_a_photo_can_be_dropped_and_pasted(opened: Opener) -> None:
    page = opened()
    give = """async kind => {
        const blob = await (await fetch('/api/v1/sample')).blob(), files = new DataTransfer();
        files.items.add(new File([blob], kind + '.jpg', { type: 'image/jpeg' }));
        const event = kind === 'drop' ? new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true })
            : new ClipboardEvent('paste', { clipboardData: files, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(give, kind)
        expect(page.locator(".name")).to_have_text(f"{kind}.jpg")
        page.get_by_role("button", name="Clear").click()


def test_jobs_are_listed_opened_and_deleted(opened: Opener, origin: str, sample: bytes, done: str) -> None:
    page = opened()
    page.locator(f'.jobs [data-id="{done}"] a').click()
    finished(page)
    assert page.url.endswith(f"#job={done}")
    page.get_by_role("link", name="Vehicle to vector").click()
    expect(page.get_by_role("heading", name="Drop a photograph of a vehicle")).to_be_visible()
    page.go_back()
    finished(page)
    for _ in range(14):
        path = f"/api/v1/jobs/{send(origin, sample, size=1024)}/cancel"
        urllib.request.urlopen(urllib.request.Request(origin + path, method="POST")).close()
    page.reload()
    expect(page.locator(".jobs li")).to_have_count(12)
    page.get_by_role("button", name="Older jobs").click()
    expect(page.locator(f'.jobs [data-id="{done}"]')).to_be_visible()
    gone = send(origin, sample, size=1024, vehicle_box=BOX, outputs=["svg"])
    page.goto(f"{origin}/#job={gone}")
    finished(page)
    page.locator(f'.jobs [data-id="{gone}"] button').click()
    expect(page.locator(f'.jobs [data-id="{gone}"]')).to_have_count(0)
    expect(page.get_by_role("heading", name="Drop a photograph of a vehicle")).to_be_visible()


def test_the_parts_of_a_drawing_are_switched(opened: Opener, done: str) -> None:
    page = opened(f"/#job={done}")
    finished(page)
    told = "all => all.filter(e => e.getClientRects().length > 0).map(e => e.dataset.part ?? '')"
    fills = page.locator(".scene #fills :is(path, rect)")
    counts = Counter(fills.evaluate_all(told))
    assert counts["body"] and counts["wheel"]
    switches = page.locator(".part").evaluate_all("all => all.map(e => [e.dataset.part, e.innerText])")
    assert {part: int(text.rpartition("(")[2].rstrip(")")) for part, text in switches} == counts
    page.get_by_role("button", name="Only Wheels").click()
    assert Counter(fills.evaluate_all(told)) == {"wheel": counts["wheel"]}
    page.locator("[data-colors=none]").click()
    assert fills.evaluate_all(told) == []
    page.locator("[data-colors=all]").click()
    page.locator("[data-parts=all]").click()
    assert Counter(fills.evaluate_all(told)) == counts


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_fits_the_width_and_is_accessible(opened: Opener, done: str, width: int, scheme: str) -> None:
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    unfold(page, "Picture", "Lines", "Removal", "Files")
    assert violations(page) == []
    use_sample(page)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate(f"location.hash = 'job={done}'")
    finished(page)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    level = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert level > 200 if scheme == "light" else level < 50


def test_the_theme_is_switched_and_kept(opened: Opener) -> None:
    page = opened(color_scheme="light")
    level = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert page.evaluate(level) > 200
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(level) < 50
    page.reload()
    assert page.evaluate(level) < 50 and page.get_by_role("button", name="Theme: dark").is_visible()


def test_small_and_strict(opened: Opener, origin: str) -> None:
    """How soon it can be used is measured by `bench.page`."""
    page = opened()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    answers: list[Response] = []
    page.wait_for_load_state("networkidle")
    page.goto("about:blank")  # so that no answer of the first load is counted
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - Playwright takes no builtin
    page.goto(origin)
    page.wait_for_load_state("networkidle")
    sizes = {answer.url: len(answer.body()) for answer in answers if answer.url.startswith(origin) and "/api/" not in answer.url}
    assert len(sizes) > 10 and sum(sizes.values()) < 150_000, sizes
    with urllib.request.urlopen(origin) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    markup = page.evaluate("fetch('/').then(answer => answer.text())")
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)", markup)


def test_asks_for_the_key_that_the_server_wants(browser: Browser, tmp_path: Path) -> None:
    with started(tmp_path, API_KEY="correct horse") as origin:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        witness = Witness(context, origin)
        page = context.new_page()
        page.goto(origin)
        assert violations(page) == []
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("not the server's API key")
        page.get_by_label("API key").fill("correct horse")
        page.keyboard.press("Enter")
        expect(page.locator(".history")).to_contain_text("None yet")
        use_sample(page)
        small(page)
        draw(page)
        finished(page)
        assert page.locator(".picture").evaluate("e => e.complete && e.naturalWidth > 0")
        with page.expect_download() as download:
            page.locator(".heading").get_by_role("link", name="SVG").click()
        assert Path(download.value.path()).read_bytes().startswith(b"<?xml")
        page.reload()
        finished(page)  # the session is kept, and no script can read it
        assert page.evaluate("document.cookie + JSON.stringify([localStorage, sessionStorage])").count("horse") == 0
        assert page.evaluate("document.cookie") == ""
        context.clear_cookies()
        page.get_by_role("link", name="Vehicle to vector").click()
        page.get_by_role("button", name="Use the sample").click()  # which the browser has kept
        expect(page.get_by_role("img", name="The chosen photo")).to_be_visible()
        draw(page)
        expect(page.locator(".told code")).to_have_text("UNAUTHORIZED")
        page.locator(".told").get_by_role("link", name="Sign in again.").click()
        expect(page.get_by_label("API key")).to_be_visible()
        context.close()
        assert [line for line in witness.said if "status of 401" not in line] == []


def test_scripts_of_a_drawing_never_run(opened: Opener, done: str) -> None:
    """The policy refuses them, which it says on the console, and they are taken out before the page holds the drawing."""
    page = opened(f"/#job={done}", expected="Content Security Policy")
    finished(page)
    evil = """<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9' onload='window.ran=1'>
        <script>window.ran=1</script><style>*{}</style>
        <image href='x' onerror='window.ran=1'/><foreignObject/>
        <g id='fills' style='fill:red' onclick='window.ran=1'><path d='M0 0'/></g></svg>"""
    left = page.evaluate(
        """async text => {
            const { parseDrawing } = await import('/viewer/viewer.js');
            const drawing = parseDrawing(text);
            document.body.append(drawing);
            return drawing.outerHTML;
        }""",
        evil,
    )
    assert re.findall(r"<(\w+)", left) == ["svg", "g", "path"] and " on" not in left and "style" not in left
    assert page.evaluate("window.ran") is None
