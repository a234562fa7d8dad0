"""How soon a batch's gallery can be used: opened from disk in Chromium at 15, 200 and 10,000 rows, filtered and scrolled.

`python -m bench.gallery [COUNT …]` prints milliseconds and how many cards and pictures are in the page; `--from DIR` repeats the rows of a
real batch, so that the pictures are real, and leaves screenshots there.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from batch import results
from batch.collect import AFTER, BEFORE, FILES
from batch.gallery import Gallery
from batch.ledger import Ledger, Row
from tests.support.browser import Witness, chromium


def drawn_rows(folder: Path) -> list[Row]:
    """Ten rows, completed and failed, with pictures of one colour each."""
    rows = []
    for number in range(10):
        name, failed = f"car-{number}", number % 5 == 4
        warnings = ["LOW_IOU: The drawing left the outline."] if number % 3 == 0 else []
        result = {"quality": {"iou": 0.8 + number / 50}, "warnings": warnings}
        error = "NO_VEHICLE: No vehicle was found." if failed else None
        shown = {"files": [AFTER, BEFORE, "illustration.svg", "preview.png"], "rect": [-0.1, 0.1, 1.2, 0.8]}
        row = Row(name, f"{name}.jpg", None, name, not failed, "failed" if failed else "completed", 1, result, shown, error, 2.0, 0.0, name)
        if not failed:
            place = folder / FILES / name
            place.mkdir(parents=True)
            Image.new("RGB", (600, 400), (20 * number, 90, 120)).save(place / BEFORE)
            Image.new("RGB", (600, 600), (200, 20 * number, 60)).save(place / AFTER)
            Image.new("RGB", (600, 600), (200, 20 * number, 60)).save(place / "preview.png")
            (place / "illustration.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"/>')
        rows.append(row)
    return rows


def repeated(rows: list[Row], count: int, folder: Path) -> Iterator[Row]:
    """So many rows, each with an id and pictures of its own: hard links, as a duplicate's files are."""
    for number, row in enumerate(islice(cycle(rows), count)):
        name = f"{number:05}-{row.id}"
        if (folder / FILES / row.id).exists():
            shutil.copytree(folder / FILES / row.id, folder / FILES / name, copy_function=os.link, dirs_exist_ok=True)
        yield replace(row, id=name, first=name)


def write(folder: Path, rows: Iterator[Row], title: str) -> Path:
    page = folder / "gallery.html"
    with page.open("wb") as file:
        gallery = Gallery(file, folder, title)
        for row in rows:
            gallery.add(row, results.told_of(row))
        gallery.close()
    return page


def timed(page: Page, act: str, ready: str) -> float:
    """Milliseconds until a condition of the page is true after an act of it, the frame drawn."""
    began = time.perf_counter()
    if act:
        page.evaluate(act)
    page.wait_for_function(ready)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return 1000 * (time.perf_counter() - began)


def measure(browser: Browser, page_file: Path, count: int, shots: Path | None) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    witness = Witness(page, "file:")
    began = time.perf_counter()
    page.goto(page_file.as_uri(), wait_until="commit")
    first = timed(
        page, "", "() => [...document.querySelectorAll('#grid img')].slice(0, 2).some(each => each.complete && each.naturalWidth)"
    )
    told = {"usable_ms": 1000 * (time.perf_counter() - began), "after_commit_ms": first}
    if shots:
        page.wait_for_timeout(1500)
        page.screenshot(path=shots / f"gallery-{count}.png")
    filter_ = (
        "() => { document.getElementById('status').value = 'failed'; document.getElementById('filters').dispatchEvent(new Event('input')) }"
    )
    told["filter_ms"] = timed(page, filter_, "() => document.querySelectorAll('.card.failed').length > 0")
    page.evaluate("() => document.getElementById('filters').reset()")
    told["to_the_end_ms"] = timed(
        page, "() => scrollTo(0, document.body.scrollHeight)", f"() => document.querySelector('[aria-posinset=\"{count}\"]')"
    )
    told["cards"] = page.evaluate("() => document.querySelectorAll('.card').length")
    told["pictures"] = page.evaluate("() => document.images.length")
    if shots:
        page.evaluate("() => scrollTo(0, 0)")
        page.emulate_media(color_scheme="dark")
        page.locator(".card:not(.failed)").first.click()
        page.wait_for_timeout(1500)
        page.screenshot(path=shots / f"gallery-{count}-large.png")
    assert not witness.said, witness.said
    page.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=[15, 200, 10_000])
    parser.add_argument("--from", dest="real", type=Path)
    given = parser.parse_args()
    with chromium() as browser:
        for count in given.counts:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if given.real:
                    rows = list(Ledger(given.real).rows())
                    shutil.copytree(given.real / FILES, folder / FILES)
                else:
                    rows = drawn_rows(folder)
                page = write(folder, repeated(rows, count, folder), f"{count} pictures")
                told = measure(browser, page, count, given.real)
                print(
                    f"{count:6} rows, {page.stat().st_size / 1e6:.1f} MB: " + ", ".join(f"{key} {value:.0f}" for key, value in told.items())
                )


if __name__ == "__main__":
    main()
