import pytest

from bench.gallery import drawn_rows, repeated, write
from tests.support.browser import Witness, chromium, violations


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """A gallery of 300 rows, every fifth failed."""
    folder = tmp_path_factory.mktemp("gallery")
    return write(folder, repeated(drawn_rows(folder), 300, folder), "cars & <b>vans</b>")


@pytest.fixture
def page(browser, gallery):
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    witness = Witness(page, "file:")
    page.goto(gallery.as_uri())
    yield page
    assert not witness.said
    page.close()


def loaded(page):
    page.wait_for_function("() => [...document.images].some(each => each.complete && each.naturalWidth)")
    return page.evaluate("() => document.querySelectorAll('.card').length")


def test_only_what_is_in_view_is_in_the_page(page):
    assert page.inner_text("h1") == "cars & <b>vans</b>" and page.inner_text("#count") == "300 pictures"
    assert loaded(page) < 30
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector('[aria-posinset="300"]')
    assert loaded(page) < 30


def test_filters_and_order(page):
    page.select_option("#status", "failed")
    assert page.inner_text("#count") == "60 of 300 pictures" and not page.locator(".card:not(.failed)").count()
    page.click("#clear")
    page.select_option("#error", "NO_VEHICLE")
    assert page.inner_text("#count") == "60 of 300 pictures"
    page.click("#clear")
    page.select_option("#warning", "LOW_IOU")
    page.select_option("#iou", "0.9")
    assert page.inner_text("#count") == "60 of 300 pictures"  # cars 0 and 3 of every ten: IoU 0.80 and 0.86
    page.click("#clear")
    page.select_option("#order", "iou")
    assert page.inner_text(".card b >> nth=0").endswith("car-0")
    page.fill("#words", "00017")
    assert page.inner_text("#count") == "1 of 300 pictures"
    page.fill("#words", "nothing such")
    assert page.is_visible("#none")


def test_the_keyboard_reaches_everything(page):
    loaded(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "00001-car" in page.evaluate("() => document.activeElement.innerText")
    page.keyboard.press("End")
    assert "00299-car" in page.evaluate("() => document.activeElement.innerText")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.inner_text("#name") == "00000-car-0" and "LOW_IOU" in page.inner_text("#facts")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#name") == "00001-car-1"
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.innerText.includes('00001-car')")  # once the browser has told of the close
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.id") == "words"


def test_before_and_after_lie_on_each_other(page):
    loaded(page)
    page.locator(".card").first.click()
    page.wait_for_function("() => [...document.querySelectorAll('.compare img')].every(each => each.naturalWidth)")
    drawing, photo = (page.locator(f"{which} img").first.bounding_box() for which in (".compare >", ".half"))
    assert photo["x"] - drawing["x"] == pytest.approx(-0.1 * drawing["width"], abs=1)
    assert photo["width"] == pytest.approx(1.2 * drawing["width"], abs=1)
    assert photo["height"] == pytest.approx(0.8 * drawing["height"], abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_schemes(page, scheme):
    page.emulate_media(color_scheme=scheme)
    loaded(page)
    assert violations(page) == []
    page.locator(".card").first.click()
    assert violations(page) == []
