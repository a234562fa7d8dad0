"""The page's tab for training a style, in Debian's Chromium, with a stand-in for the builder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server.test_pod_training import COMMAND, a_zip
from tests.support.browser import Witness, chromium, violations
from tests.support.serving import Server, serving

pytestmark = pytest.mark.xdist_group("browser")
expect.set_options(timeout=20_000)  # ms; for busy machines


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "volume").mkdir()
    with serving(tmp_path / "out", command=COMMAND, WORKERS="0", MODEL_VOLUME_PATH=str(tmp_path / "volume")) as running:
        yield running


def look(page: Page, name: str) -> None:
    """Keep what is seen, light and dark, where LOOK names a folder."""
    if folder := os.environ.get("LOOK"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.screenshot(path=Path(folder) / f"{name}-{scheme}.png", full_page=True)


def test_a_style_is_trained_by_the_page(browser: Browser, pod: Server, tmp_path: Path) -> None:
    origin = str(pod.client.base_url)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    witness = Witness(page, origin)
    page.goto(f"{origin}/")
    page.get_by_role("link", name="Style").click()
    start = page.get_by_role("button", name="Start")
    expect(page.get_by_text("None were sent yet.")).to_be_visible()
    expect(start).to_be_disabled()
    (tmp_path / "pairs.zip").write_bytes(a_zip())
    page.get_by_label("A zip of pairs").set_input_files(tmp_path / "pairs.zip")
    expect(page.get_by_text("On the server: 5 png, 5 svg.")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("slow")
    page.get_by_label("Epochs", exact=True).fill("3")
    start.click()
    expect(page.get_by_role("heading", name="Training: slow")).to_be_visible()
    expect(page.get_by_text("Epoch 2: loss")).to_be_visible()
    expect(page.get_by_text("car1, epoch 2")).to_be_visible()
    assert violations(page) == []
    look(page, "training")
    page.reload()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Stopped: slow")).to_be_visible()
    expect(page.get_by_role("button", name="Go on")).to_be_enabled()
    expect(page.get_by_label("Name", exact=True)).to_have_value("slow")
    page.get_by_label("Name", exact=True).fill("quick")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Trained: quick")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the LoRA").click()
    assert Path(download.value.path()).read_bytes() == b"a style" and download.value.suggested_filename == "quick.safetensors"
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("heading", name="Installed: quick")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert violations(page) == []
    look(page, "trained")
    assert [line for line in witness.said if "503" not in line] == []  # /ready, while the style is trained
    page.close()


def test_without_a_volume_the_tab_says_what_is_missing(browser: Browser, intake: Server) -> None:
    page = browser.new_page()
    page.goto(f"{intake.client.base_url}/#style")
    expect(page.get_by_text("No model volume is named")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    assert violations(page) == []
    look(page, "lacking")
    page.close()
