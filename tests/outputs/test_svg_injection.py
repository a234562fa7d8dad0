"""Nothing that a job or a photo says becomes markup: not in the SVG, not in the report."""

import html
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from pipeline import service
from pipeline.errors import JobError
from pipeline.job import read
from pipeline.palette import Palette
from pipeline.phase4_vectorize.svg import Stroke, write
from pipeline.progress import Progress
from pipeline.sample import scene
from tests.support.pictures import matrix_profile

SVG = "{http://www.w3.org/2000/svg}"
LABEL, MODE = (f"{{http://www.inkscape.org/namespaces/inkscape}}{name}" for name in ("label", "groupmode"))
#: Every element that a drawing may hold, with its attributes.
ALLOWED = {
    "svg": {"version", "width", "height", "viewBox"},
    "metadata": set(),
    "g": {"id", "fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "data-color", LABEL, MODE},
    "path": {"d", "data-part", "vector-effect"},
    "rect": {"x", "y", "width", "height"},
}
MARK = "iNjEcTeD"
PAYLOADS = [
    f"<script>{MARK}()</script>", f"</metadata><script>{MARK}()</script>", f"--><a href='javascript:{MARK}()'>x</a><!--",
    f"]]>&{MARK};<!DOCTYPE x>",
    f"\" onload=\"{MARK}()", f"' onerror='{MARK}()", f"</title></style></pre></script><img src=x onerror={MARK}()>", f"<?xml {MARK}?>",
]  # fmt: skip


def assert_is_plain(svg: bytes) -> ElementTree.Element:
    """The document parses and holds nothing but drawing."""
    assert b"<!" not in svg
    assert svg.count(b"<?") == 1
    root = ElementTree.fromstring(svg)
    for node in root.iter():
        name = node.tag.removeprefix(SVG)
        assert name in ALLOWED, name
        assert set(node.attrib) <= ALLOWED[name], node.attrib
        assert name == "metadata" or not (node.text or "").strip()
    return root


class Page(HTMLParser):
    """Elements with their attributes, and the texts that are no script and no style."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.code: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.code.append(data)


def assert_page_is_plain(page: str) -> Page:
    """No element, attribute or script that came from outside."""
    read = Page(page)
    assert not {tag for tag, _ in read.elements} & {"iframe", "object", "embed", "base", "link", "form", "foreignobject", "use"}
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "a" or not re.match(r"\s*javascript:", attributes.get("href") or "")
        assert all(value.startswith("data:") for name, value in attributes.items() if name == "src" and value), (tag, attributes)
    assert sum(tag == "script" for tag, _ in read.elements) == 1
    assert MARK not in "".join(read.code)
    return read


texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(PAYLOADS)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(texts, texts | st.lists(texts)))
def test_any_metadata_is_text_and_comes_back_whole(about: dict[str, object]) -> None:
    svg = write([], ["M0 0H9"], Palette(("#000000", "#FFFFFF")), Stroke(2.0, "#000000"), (0, 0, 9, 9), 9, "#FFFFFF", about)
    root = assert_is_plain(svg)
    assert json.loads(root.findtext(f"{SVG}metadata") or "") == about


def hostile_photo(payload: str, kind: str) -> bytes:
    """A sound picture whose every text says `payload`."""
    image = Image.fromarray(scene(seed=7, width=320, height=213).rgb)
    exif = Image.Exif()
    for tag in (270, 271, 272, 305, 315, 33432):
        exif[tag] = payload
    profile = matrix_profile(2.2, primaries=((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)))
    file, told = BytesIO(), PngImagePlugin.PngInfo()
    told.add_itxt("Title", payload)
    told.add_itxt("XML:com.adobe.xmp", payload)
    options: dict[str, object] = {"pnginfo": told} if kind == "PNG" else {"comment": payload.encode()}
    image.save(file, kind, exif=exif, icc_profile=profile.ljust(len(profile) + 4, b"\0"), **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_job_and_a_photo_full_of_markup(kind: str, quick_worker: service.Worker, tmp_path: Path) -> None:
    every = " ".join(PAYLOADS)
    job = {
        "image_base64": b64encode(hostile_photo(every, kind)).decode(),
        "size": 1024,
        "remove": [*(payload[:80] for payload in PAYLOADS), "text"],
        "palette_hex_list": "000,fff,f00,888",
        "outputs": ["svg", "report"],
        "output_prefix": f"orders/{PAYLOADS[0].replace('/', '|')}",
        "vehicle_box": [0.1, 0.1, 0.9, 0.9],
    }
    answer = service.perform(every, job, quick_worker, Progress(), folder=tmp_path / "files")
    assert answer["job_id"] == every
    svg = (tmp_path / "files" / "illustration.svg").read_bytes()
    assert_is_plain(svg)
    assert MARK.encode() not in svg
    page = (tmp_path / "files" / "report.html").read_text("utf-8")
    assert_page_is_plain(page)
    assert every in html.unescape(page)  # it is shown, as text


@settings(max_examples=100, deadline=None)
@given(texts)
def test_a_palette_is_colours_or_refused(text: str) -> None:
    try:
        job = read({"image_base64": "AAAA", "palette_hex_list": [text, "#123456", "#000"], "stroke": {"color": "#fff"}})
    except JobError:
        return
    assert all(re.fullmatch("#[0-9A-F]{6}", color) for color in job.palette.colors)
