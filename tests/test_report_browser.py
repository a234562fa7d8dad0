"""The report in Debian's Chromium, opened as a file: what a reader does with mouse, finger and keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.test_report import page as report

pytestmark = pytest.mark.xdist_group("browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The open report; afterwards it must have asked for nothing and complained about nothing."""
    (tmp_path / "report.html").write_text(report(), "utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said: list[str] = []
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("data:", "file:")) else None)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri())
    yield page
    page.close()
    assert said == []


def view_box(page: Page) -> list[float]:
    return [float(number) for number in page.locator(".drawing svg").get_attribute("viewBox").split()]


def test_the_slider_moves_by_key_and_by_mouse(shown: Page) -> None:
    top = shown.locator(".compare .top")
    before = top.evaluate("e => getComputedStyle(e).clipPath")
    shown.locator(".compare input").focus()
    for _ in range(20):
        shown.keyboard.press("ArrowRight")
    by_key = top.evaluate("e => getComputedStyle(e).clipPath")
    assert "50%" in before and "40%" in by_key  # a step is half a percent
    box = shown.locator(".compare").bounding_box()
    shown.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 60)
    assert float(shown.locator(".compare input").input_value()) == pytest.approx(25, abs=3)


def test_zoom_and_pan_stay_inside_the_drawing(shown: Page) -> None:
    stage = shown.locator(".drawing")
    stage.focus()
    shown.keyboard.press("+")
    assert view_box(shown)[2:] == pytest.approx([800 / 1.5, 600 / 1.5])
    for _ in range(30):
        shown.keyboard.press("ArrowRight")
    x, _, width, _ = view_box(shown)
    assert x + width == pytest.approx(900)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    shown.mouse.move(box["x"] + 200, box["y"] + 200)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 300, box["y"] + 200)
    shown.mouse.up()
    assert view_box(shown)[0] == pytest.approx(x - width * 100 / box["width"], rel=0.02)
    shown.locator("[data-zoom=reset]").click()
    assert view_box(shown) == [100, 200, 800, 600]


def test_the_wheel_zooms_with_ctrl_only_and_keeps_the_point_under_it(shown: Page) -> None:
    stage = shown.locator(".drawing")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    shown.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    shown.mouse.wheel(0, -1)
    assert view_box(shown) == [100, 200, 800, 600]
    box = stage.bounding_box()
    shown.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -200)
    shown.keyboard.up("Control")
    x, _, width, _ = view_box(shown)
    assert width < 500 and x + 0.25 * width == pytest.approx(100 + 0.25 * 800, abs=4)


def test_layers_and_colours_are_switched(shown: Page) -> None:
    def visible(selector: str) -> list[bool]:
        return shown.locator(f".drawing {selector}").evaluate_all("all => all.map(e => getComputedStyle(e).display !== 'none')")

    shown.locator("[data-layer=lines]").click()
    assert visible("#lines") == [False] and visible("#fills") == [True]
    shown.locator('.colors [data-color="#FF0000"]').click()
    assert visible('[data-color="#FF0000"]') == [False, False] and visible('[data-color="#0000FF"]') == [True]
    shown.locator('.colors [data-color="#FF0000"]').dblclick()
    assert visible('[data-color="#FF0000"]') == [True, True] and visible('[data-color="#0000FF"]') == [False]
    shown.locator("[data-colors=none]").click()
    assert not any(visible("[data-color]"))
    shown.locator("[data-colors=all]").click()
    assert all(visible("[data-color]"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_fits_the_width_and_reads_in_both_schemes(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    (tmp_path / "report.html").write_text(report(), "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    levels = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor].map(c => c.match(/\\d+/g).map(Number)[0])"
    )
    assert abs(levels[0] - levels[1]) > 150 and (levels[0] > levels[1]) == (scheme == "dark")
    page.close()


def test_without_scripts_both_pictures_show(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report(), "utf-8")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    before, after = page.get_by_alt_text("The photo", exact=True), page.get_by_alt_text("The illustration")
    assert before.is_visible() and after.is_visible()
    left, right = page.locator(".compare .top").bounding_box(), after.bounding_box()
    assert left["x"] + left["width"] <= right["x"]  # side by side, not one over the other
    assert not page.locator(".compare input").is_visible() and not page.locator("[data-layer=lines]").is_visible()
    context.close()
