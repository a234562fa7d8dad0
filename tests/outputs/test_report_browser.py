"""The report in Debian's Chromium, opened as a file: what a reader does with mouse, finger and keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.outputs.test_report import RESULT, SVG
from tests.outputs.test_report import page as report
from tests.support.browser import Witness, chromium, violations

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


#: The same drawing with a background, a body of two shapes, a wheel and a lamp.
IN_PARTS = (
    SVG.replace(b'<path d="M200', b'<rect x="100" y="200" width="800" height="600"/><path data-part="body" d="M200')
    .replace(b'<path d="M300', b'<path data-part="wheel" d="M300')
    .replace(b'<path d="M500', b'<path data-part="body" d="M500')
    .replace(b'<path d="M320', b'<path data-part="lamp" d="M320')
)


@pytest.fixture
def shown(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The open report, of another drawing where a test names one; afterwards it must have asked and complained about nothing."""
    (tmp_path / "report.html").write_text(report(svg=getattr(request, "param", SVG)), "utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    witness = Witness(page, (tmp_path / "report.html").as_uri())
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector(".viewer")
    yield page
    page.close()
    assert witness.said == []


def view_box(page: Page) -> list[float]:
    return [float(number) for number in page.locator(".scene").get_attribute("viewBox").split()]


def share(page: Page) -> float:
    return float(page.locator(".slider").input_value())


def test_the_slider_moves_by_key_by_handle_and_anywhere(shown: Page) -> None:
    before = shown.locator(".before")
    assert "50%" in before.evaluate("e => getComputedStyle(e).clipPath")
    shown.locator(".slider").focus()
    for _ in range(20):
        shown.keyboard.press("ArrowRight")
    assert "40%" in before.evaluate("e => getComputedStyle(e).clipPath")  # a step is half a percent
    box = shown.locator(".stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    shown.mouse.move(box["x"] + box["width"] * 0.6, middle)  # the handle
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] * 0.25, middle, steps=4)
    shown.mouse.up()
    assert share(shown) == pytest.approx(25, abs=3)
    shown.mouse.move(box["x"] + box["width"] * 0.7, middle)  # beside the handle
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    shown.mouse.up()
    assert share(shown) == pytest.approx(80, abs=1)


def test_photo_and_drawing_lie_over_each_other_at_every_zoom(shown: Page) -> None:
    """The photo's part of the square is (0, 128, 1024, 768); the canvas of 800 × 600 begins at (100, 200)."""
    shown.locator(".surface").focus()
    for key in ("", "+", "ArrowRight", "ArrowDown"):
        if key:
            shown.keyboard.press(key)
        x, y, width, _ = view_box(shown)
        stage, photo = shown.locator(".surface").bounding_box(), shown.locator(".picture").bounding_box()
        k = stage["width"] / width
        assert photo["x"] == pytest.approx(stage["x"] + (0 - x) * k, abs=0.6)
        assert photo["y"] == pytest.approx(stage["y"] + (128 - y) * k, abs=0.6)
        assert (photo["width"], photo["height"]) == pytest.approx((1024 * k, 768 * k), abs=0.6)


def test_zoom_and_pan_stay_inside_the_drawing(shown: Page) -> None:
    surface = shown.locator(".surface")
    whole = view_box(shown)
    assert whole == pytest.approx([100, 200, 800, 600], abs=1)
    surface.focus()
    shown.keyboard.press("+")
    assert view_box(shown)[2:] == pytest.approx([whole[2] / 1.5, whole[3] / 1.5], rel=1e-3)
    for _ in range(30):
        shown.keyboard.press("ArrowRight")
    x, _, width, _ = view_box(shown)
    assert x + width == pytest.approx(900, abs=0.1)
    box = surface.bounding_box()
    shown.mouse.move(box["x"] + 200, box["y"] + 200)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 300, box["y"] + 200)
    shown.mouse.up()
    assert view_box(shown)[0] == pytest.approx(x - width * 100 / box["width"], rel=0.02)
    shown.get_by_role("button", name="Fit the whole drawing").click()
    assert view_box(shown) == whole
    shown.get_by_role("button", name="Zoom in").click()
    assert shown.locator(".zoom").inner_text() == "150 %"


def test_the_wheel_zooms_with_ctrl_or_when_the_drawing_was_chosen(shown: Page) -> None:
    surface = shown.locator(".surface")
    box, whole = surface.bounding_box(), view_box(shown)
    at = (box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    shown.mouse.move(*at)
    shown.mouse.wheel(0, -1)
    assert view_box(shown) == whole
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -200)
    shown.keyboard.up("Control")
    x, _, width, _ = view_box(shown)
    assert width < 500 and x + 0.25 * width == pytest.approx(100 + 0.25 * 800, abs=4)
    surface.focus()
    shown.mouse.wheel(0, -100)
    assert view_box(shown)[2] < width


def test_two_fingers_zoom(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report(), "utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    box = page.locator(".surface").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert view_box(page)[2] == pytest.approx(400, rel=0.05)
    context.close()


def test_layers_and_colours_are_switched(shown: Page) -> None:
    def visible(selector: str) -> list[bool]:
        return shown.locator(f".scene {selector}").evaluate_all("all => all.map(e => getComputedStyle(e).display !== 'none')")

    shown.locator("[data-layer=lines]").click()
    assert visible("#lines") == [False] and visible("#fills") == [True]
    shown.locator('.color[data-color="#FF0000"]').click()
    assert visible('[data-color="#FF0000"]') == [False, False] and visible('[data-color="#0000FF"]') == [True]
    shown.get_by_role("button", name="Only #FF0000").click()
    assert visible('[data-color="#FF0000"]') == [True, True] and visible('[data-color="#0000FF"]') == [False]
    shown.locator("[data-colors=none]").click()
    assert not any(visible("[data-color]"))
    shown.locator("[data-colors=all]").click()
    assert all(visible("[data-color]"))
    assert [" ".join(text.split()) for text in shown.locator(".color").all_inner_texts()] == ["#FF0000 2 paths", "#0000FF 2 paths"]
    assert shown.locator(".unused [role=img]").get_attribute("aria-label") == "#00FF00"


def visible_fills(page: Page) -> list[str]:
    """Where the fills begin that are seen, by path or edge: a shape whose group is hidden is not."""
    told = "all => all.filter(e => e.getClientRects().length > 0).map(e => (e.getAttribute('d') ?? 'rect').split(' ')[0])"
    return [str(start) for start in page.locator("#fills :is(path, rect)").evaluate_all(told)]


@pytest.mark.parametrize("shown", [IN_PARTS], indirect=True)
def test_parts_are_switched_and_work_together_with_colours(shown: Page) -> None:
    background, body, wheel, sill, lamp = "rect", "M200", "M300", "M500", "M320"
    assert visible_fills(shown) == [background, body, wheel, sill, lamp]
    assert shown.locator(".part").all_inner_texts() == ["Body (2)", "Wheels (1)", "Lamps (1)", "Background (1)"]
    parts = shown.get_by_role("group", name="Parts")
    parts.get_by_role("button", name="Body (2)").focus()
    shown.keyboard.press("Space")
    assert parts.get_by_role("button", name="Body (2)").get_attribute("aria-pressed") == "false"
    assert visible_fills(shown) == [background, wheel, lamp]
    shown.locator('.color[data-color="#0000FF"]').click()
    assert visible_fills(shown) == [background, lamp]
    parts.get_by_role("button", name="All parts").click()
    assert visible_fills(shown) == [background, body, lamp]  # the colour is still off
    parts.get_by_role("button", name="Only Wheels").click()
    assert visible_fills(shown) == []
    shown.get_by_role("button", name="All colours").click()
    assert visible_fills(shown) == [wheel]
    shown.get_by_role("button", name="Only #FF0000").click()
    assert visible_fills(shown) == []
    parts.get_by_role("button", name="All parts").click()
    assert visible_fills(shown) == [background, body, lamp]
    parts.get_by_role("button", name="None of the parts").click()
    assert visible_fills(shown) == [] and shown.locator("#lines path").evaluate("e => e.getClientRects().length")
    assert violations(shown) == []


def test_a_drawing_without_parts_has_no_switches_for_them(shown: Page) -> None:
    assert shown.locator(".part").count() == 0 and shown.get_by_role("group", name="Parts").count() == 0
    assert shown.locator(".color").count() == 2


def test_the_drawing_lies_on_white_on_checks_or_on_dark(shown: Page) -> None:
    ground = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).backgroundImage !== 'none']"
    found = []
    for name in ("Paper", "Checks", "Dark"):
        shown.get_by_role("group", name="Backdrop").get_by_role("button", name=name).click()
        found.append(shown.locator(".after").evaluate(ground))
    assert found == [["rgb(255, 255, 255)", False], ["rgb(255, 255, 255)", True], ["rgb(38, 40, 44)", False]]


def test_what_was_removed_is_shown_where_it_was(shown: Page) -> None:
    assert not shown.locator(".marks").is_visible()
    shown.get_by_role("button", name="Show where license plate was").click()
    assert shown.locator(".marks").is_visible()
    gone = shown.locator(".marks .gone")
    # the box [0.25, 0.5, 0.5, 0.625] of a photo that lies at (0, 128, 1024, 768)
    assert [float(gone.get_attribute(name)) for name in ("x", "y", "width", "height")] == [256, 512, 256, 96]
    x, y, width, height = view_box(shown)
    assert x < 256 and y < 512 and x + width > 512 and y + height > 608 and width < 800


def test_every_step_can_be_compared_with_the_drawing(shown: Page) -> None:
    strip = shown.locator(".strip button")
    assert [text.split("\n")[0] for text in strip.all_inner_texts()] == ["Photo", "Matte", "Labels"]
    strip.nth(1).click()
    assert shown.locator(".tag.left").inner_text() == "Matte"
    assert shown.locator(".picture").get_attribute("src") == strip.nth(1).locator("img").get_attribute("src")
    shown.get_by_role("button", name="Matte", exact=True).click()
    assert shown.locator(".stage").get_attribute("data-mode") == "before"


def test_tells_what_was_measured_and_what_was_not(shown: Page) -> None:
    text = " ".join(shown.locator("main").inner_text().split())
    for told in ("Regions 96", "Curves 12 873", "Off-palette colours 0", "Matte confidence 0.834", "Detail changed 2.14 %", "SVG 615 kB"):
        assert told in text
    assert "IoU with the photo – not measured" in text
    for phase in ("Fetch 60 ms", "Vehicle 2.1 s", "Sanitize 1.0 s", "Vectorize 4.2 s", "Together 11.7 s"):
        assert phase in text
    colours = shown.locator(".bar i").evaluate_all("parts => parts.map(part => getComputedStyle(part).backgroundColor)")
    assert len(set(colours)) == len(colours) and "rgba(0, 0, 0, 0)" not in colours
    assert "Deliver" not in text  # the page is written before that, so there is nothing measured to show
    assert "license plate score 0.912" in text and "MATTE_UNCERTAIN The outline is in doubt. Look at the outline" in text
    assert "Model: rapidocr 3.10.0" in text and "Vehicle box 0.1, 0.2, 0.9, 0.95" in text and "Size 1 024" in text


def test_nothing_of_the_result_becomes_markup(browser: Browser, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    result = {**RESULT, "warnings": [f"CODE: {evil}"], "removed": [{"label": evil, "score": 1.0, "box": [0, 0, 1, 1]}], "engine": evil}
    text = report(result={**result, "versions": {"worker": evil, "models": {evil: evil}}}, settings={"prompt": evil, evil: evil})
    (tmp_path / "report.html").write_text(text, "utf-8")
    page = browser.new_page()
    witness = Witness(page, (tmp_path / "report.html").as_uri())
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector(".viewer")
    assert page.locator("img[onerror]").count() == 0 and page.inner_text("main").count(evil) >= 5
    page.close()
    assert witness.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_fits_the_width_reads_in_both_schemes_and_is_accessible(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    (tmp_path / "report.html").write_text(report(), "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector(".viewer")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    levels = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor].map(c => c.match(/\\d+/g).map(Number)[0])"
    )
    assert abs(levels[0] - levels[1]) > 150 and (levels[0] > levels[1]) == (scheme == "dark")
    assert violations(page) == []
    page.close()


def test_without_scripts_pictures_and_figures_show(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report(), "utf-8")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    left, right = page.get_by_alt_text("photo", exact=True).bounding_box(), page.locator("#plain svg").bounding_box()
    assert left["x"] + left["width"] <= right["x"]  # side by side, not one over the other
    assert page.get_by_alt_text("matte").is_visible() and '"regions": 96' in page.inner_text("#data")
    assert page.locator("button").count() == 0
    context.close()
