"""The report page as text: self-contained, escaped, complete, the same every time."""

import base64
import copy
import hashlib
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import Code
from pipeline.job import read
from pipeline.outputs.report import VIEWER, report_html, shown_settings
from pipeline.settings import load

SVG = b"""<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" version="1.1" width="800" height="600"
 viewBox="100 200 800 600"><metadata>{"seed": 42, "note": "&lt;b&gt;"}</metadata>
<g id="fills" inkscape:groupmode="layer" inkscape:label="Fills"><g data-color="#FF0000" fill="#FF0000"><path d="M200 300H700V600H200Z"/></g>
<g data-color="#0000FF" fill="#0000FF"><path d="M300 350H400V450H300Z"/><path d="M500 350H600V450H500Z"/></g>
<g data-color="#FF0000" fill="#FF0000"><path d="M320 370H340V390H320Z"/></g></g>
<g id="lines" fill="none" stroke="#000000" stroke-width="4"><path d="M200 300H700" vector-effect="non-scaling-stroke"/></g></svg>
"""
RESULT = {
    "job_id": "job-1",
    "status": "completed",
    "engine": "classical",
    "schema": 1,
    "svg_url": "https://bucket.example/illustration.svg?X-Amz-Signature=0123",
    "intermediates": {"matte": "https://bucket.example/matte.png?X-Amz-Signature=4567"},
    "processing_time_ms": 11873,
    "timings_ms": {"fetch": 60, "vehicle": 2100, "sanitize": 1020, "illustrate": 2411, "enforce": 1893, "vectorize": 4210, "deliver": 0},
    "peak_vram_mb": 0,
    "seed": 42,
    "palette": ["#FF0000", "#0000FF", "#00FF00"],
    "frame": {"width": 1024, "height": 1024, "scale": 2.0, "x0": 0, "y0": 128, "photo_width": 512, "photo_height": 384},
    "vehicle_box": [0.1, 0.2, 0.9, 0.95],
    "removed": [{"label": "license plate", "score": 0.912, "box": [0.25, 0.5, 0.5, 0.625]}],
    "draw": {"seed": 42, "steps": None, "depth_weight": None, "canny_weight": None},
    "quality": {
        "iou": None,
        "matte_confidence": 0.834,
        "attempts": 1,
        "colors_used": 2,
        "off_palette_colors": 0,
        "regions": 96,
        "curves": 12873,
        "svg_bytes": 615000,
        "removed_fraction": 0.0061,
        "detail_changed_fraction": 0.0214,
    },
    "warnings": ["MATTE_UNCERTAIN: The outline is in doubt."],
    "versions": {"worker": "0.1.0", "models": {"rapidocr": "3.10.0"}},
}


def picture(array: np.ndarray, palette: bool = False) -> Image.Image:
    image = Image.fromarray(array)
    if palette:
        image.putpalette([255, 0, 0, 0, 0, 255, 255, 255, 255])
        image.info["transparency"] = 2
    return image


def photo(width: int = 512, height: int = 384) -> np.ndarray:
    """The upright photo: red grows to the right, green downwards."""
    across, down = np.linspace(0, 255, width).astype(np.uint8), np.linspace(0, 255, height).astype(np.uint8)
    shape = (height, width)
    return np.stack([np.broadcast_to(across, shape), np.broadcast_to(down[:, None], shape), np.full(shape, 90, np.uint8)], -1)


LABELS = picture((np.arange(2048 * 2048).reshape(2048, 2048) // 700000 % 3).astype(np.uint8), palette=True)


def page(**changes: object) -> str:
    given = {
        "photo": photo(),
        "svg": SVG,
        "intermediates": {"labels": LABELS, "matte": picture(np.zeros((64, 64), np.uint8))},
        "result": RESULT,
        "settings": {"size": 1024, "remove": ["text"], "vehicle_box": [0.1, 0.2, 0.9, 0.95]},
    }
    return report_html(**{**given, **changes}).decode()


class Reader(HTMLParser):
    """Collects the elements, and complains about those that are closed wrongly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_one_file_that_asks_for_nothing() -> None:
    text = page()
    reader = Reader(text)
    for tag, attributes in reader.elements:
        assert tag not in {"link", "iframe", "object", "base", "form"}
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert re.findall(r"url\((?!\"data:)", text) == [] and "@import" not in text


def test_policy_allows_the_pages_own_script_only() -> None:
    text = page()
    scripts = re.findall(r'<script type="module">(.*?)</script>', text, re.S)
    assert len(scripts) == 1 and text.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text and "default-src 'none'" in text


def test_same_input_same_bytes() -> None:
    assert page() == page()


def test_neither_addresses_nor_secrets() -> None:
    text = page()
    assert "X-Amz-Signature" not in text and "bucket.example" not in text


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onfocus=alert(1) x='", "</style><script>", "-->"]
)
def test_everything_of_the_result_is_escaped(evil: str) -> None:
    harmless = page()
    result = copy.deepcopy(RESULT)
    result["job_id"] = result["engine"] = evil
    result["warnings"] = [evil, f"{evil}: {evil}"]
    result["removed"][0]["label"] = evil
    result["versions"] = {"worker": evil, "models": {evil: evil}}
    result["draw"]["steps"] = evil
    result["palette"] = [*RESULT["palette"], evil]
    text = page(result=result, intermediates={evil: picture(np.zeros((64, 64, 3), np.uint8))}, settings={"prompt": evil})
    assert evil not in text or evil in harmless
    tags = {tag for tag, _ in Reader(text).elements}
    assert tags == {tag for tag, _ in Reader(harmless).elements}
    assert text.count("<script") == 1 and "".join(Reader(text).text).count(evil.replace('"', '\\"')) >= 8  # told as text, in the JSON


def told(text: str) -> dict[str, object]:
    found = re.search(r'<pre id="data">(.*?)</pre>', text, re.S)
    return json.loads(html.unescape(found[1]))


def test_holds_the_whole_result_and_the_settings() -> None:
    data = told(page())
    assert data["settings"]["vehicle_box"] == [0.1, 0.2, 0.9, 0.95]
    assert data["result"] == {key: value for key, value in RESULT.items() if key not in ("svg_url", "intermediates")}


def test_settings_tell_what_was_asked_and_nothing_secret() -> None:
    secret = {"image_url": "https://host.example/car.jpg?key=1", "output_prefix": "mine"}
    job = read({**secret, "size": 2048, "stroke": {"width": 3}, "prompt": "a red car", "vehicle_box": [0.1, 0.2, 0.9, 0.9]})
    shown = shown_settings(job, load())
    assert shown["stroke"] == {"mode": "both", "width": 3, "color": "#000000"} and shown["detail"] == load().phase3.detail
    assert shown["prompt"] == "a red car" and shown["size"] == 2048
    assert not {"image_url", "image_base64", "matte_url", "output_prefix", "preset"} & set(shown)
    assert "host.example" not in str(shown)


def test_the_drawing_is_there_with_its_groups_once() -> None:
    elements = Reader(page()).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert ids.count("fills") == ids.count("lines") == 1 and len(set(ids)) == len(ids)
    groups = [attributes["data-color"] for tag, attributes in elements if tag == "g" and "data-color" in attributes]
    assert groups == ["#FF0000", "#0000FF", "#FF0000"]
    assert "metadata" not in {tag for tag, _ in elements}


def test_pictures_show_the_photos_part_of_the_square() -> None:
    """A photo of 512 × 384 in a square of 1024 units, so that the bars of 128 units above and below are cut off."""
    text = page()
    places = {name: json.loads(place) for name, place in re.findall(r'data-name="(\w+)" data-rect="([^"]*)"', text)}
    assert places == {name: [0, 128, 1024, 768] for name in ("photo", "matte", "labels")}
    assert [image.size for image in pictures(text)] == [(512, 384), (64, 48), (1024, 768)]


#: A vehicle in the photo's upper right corner: its square of 1024 units reaches beyond the photo above and to the right.
CORNER = {"width": 1024, "height": 1024, "scale": 2.0, "x0": -1200.0, "y0": 250.5, "photo_width": 1000, "photo_height": 700}


def test_a_square_that_reaches_beyond_the_photo_shows_its_part_and_the_photo_is_whole() -> None:
    text = page(photo=photo(1000, 700), result={**RESULT, "frame": CORNER})
    places = dict(re.findall(r'data-name="(\w+)" data-rect="([^"]*)"', text))
    assert json.loads(places["photo"]) == [-1200.0, 250.5, 2000.0, 1400.0]
    # 64 and 2048 pixels for 1024 units: the whole pixels below 250.5 and left of 800
    assert json.loads(places["matte"]) == [0, 256, 800, 768]
    assert json.loads(places["labels"]) == [0, 250.5, 800, 773.5]
    sizes = [image.size for image in pictures(text)]
    assert sizes == [(1000, 700), (50, 48), (1024, 990)]


def pictures(text: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_pictures_are_of_a_size_for_looking() -> None:
    big = photo(2048, 1536)
    labels = next(image for image in pictures(page(photo=big)) if image.mode == "P")
    assert labels.size == (1024, 768) and labels.info["transparency"] is not None
    assert set(np.unique(np.asarray(labels.convert("RGBA")).reshape(-1, 4), axis=0)[:, 3]) == {0, 255}
    assert max(max(image.size) for image in pictures(page(photo=big))) == 1024


def test_without_warnings_removals_and_intermediates() -> None:
    text = page(result={**RESULT, "warnings": [], "removed": []}, intermediates={})
    Reader(text)
    assert re.findall(r'data-name="(\w+)"', text) == ["photo"]


def explained(name: str) -> set[str]:
    """The keys of one table of the viewer's texts."""
    table = re.search(rf"export const {name} = {{(.*?)^}};", (VIEWER / "texts.js").read_text("utf-8"), re.S | re.M)
    return set(re.findall(r"^  (\w+): ", table[1], re.M))


def test_every_code_figure_and_phase_is_explained() -> None:
    assert {str(code) for code in Code} <= explained("ERRORS")
    assert set(RESULT["quality"]) == explained("QUALITY") and set(RESULT["timings_ms"]) == explained("PHASES")
    documented = Path("docs/errors.md").read_text("utf-8").partition("## Warnings")[2]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", documented, re.M)) <= explained("WARNINGS")
