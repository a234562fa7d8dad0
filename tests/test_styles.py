"""Whole jobs with palettes by name and from a picture, presets and colour locks, on the drawn sample."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pipeline import service, settings
from pipeline.errors import Code, JobError
from pipeline.library import SHIPPED
from pipeline.progress import Progress
from pipeline.sample import scene
from tests.support.pictures import save
from tests.support.quick import CONFIG

QUICK = settings.load(CONFIG)
SVG = "{http://www.w3.org/2000/svg}"
BRAND = ("#C8102E", "#0B2A5B", "#FFFFFF", "#111111", "#8A8D8F")


def board() -> bytes:
    colors = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in BRAND], np.uint8)
    return save(Image.fromarray(np.repeat(np.repeat(colors[None], 8, 1), 8, 0)), "PNG")


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    """Serves the brand's board at every address but `/gone` and `/text`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"/gone": b"", "/text": b"colours"}.get(self.path, board())
            self.send_response(404 if self.path == "/gone" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def car() -> dict[str, str]:
    """The sample's photo and its true matte, so that nothing has to be found."""
    sample = scene(seed=1, width=640, height=426)
    matte = Image.fromarray((sample.mask * 255).astype(np.uint8))
    made = {"image_base64": Image.fromarray(sample.rgb), "matte_base64": matte}
    return {key: base64.b64encode(save(image, "PNG")).decode() for key, image in made.items()}


@pytest.fixture
def do(worker, car, tmp_path):
    def run(presets=None, **keys):
        environment = worker.environment.model_copy(update={"allow_private_urls": True, "job_presets_path": presets})
        job = {**car, "size": 1024, "remove": [], "outputs": ["svg"], **keys}
        folder = tmp_path / "made"
        result = service.perform("styled", job, replace(worker, environment=environment, settings=QUICK), Progress(), folder=folder)
        return result, (folder / "illustration.svg").read_bytes()

    return run


def drawn(svg: bytes) -> dict[str, set[str]]:
    """Colour → the parts that its fills say they are."""
    root = ElementTree.parse(io.BytesIO(svg)).getroot()
    out: dict[str, set[str]] = {}
    for group in root.iter(f"{SVG}g"):
        if color := group.get("data-color"):
            out.setdefault(color, set()).update(path.get("data-part", "") for path in group.findall(f"{SVG}path"))
    return out


def digest(svg: bytes) -> str:
    return json.loads(ElementTree.fromstring(svg).find(f"{SVG}metadata").text)["settings_sha256"]


def test_a_named_palette_is_its_colours(do):
    result, svg = do(palette_name="poster")
    assert result["palette"] == list(SHIPPED.palette("poster").colors)
    assert set(drawn(svg)) <= set(result["palette"])
    assert svg == do(palette_hex_list=result["palette"])[1]


def test_a_palette_from_a_picture(do, pictures):
    result, svg = do(palette_from_url=f"{pictures}/brand.png?signature=secret", background="#ffffff")
    assert set(result["palette"]) == set(BRAND)
    assert b"secret" not in svg
    assert svg == do(palette_hex_list=result["palette"], background="#FFFFFF")[1]


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        ("/gone", {}, Code.INPUT_UNREACHABLE),
        ("/text", {}, Code.UNSUPPORTED_IMAGE),
        ("/brand.png", {"background": "#00FF00"}, Code.INVALID_PALETTE),
    ],
)
def test_a_palettes_picture_that_cannot_be_had(do, pictures, path, more, code):
    with pytest.raises(JobError) as caught:
        do(palette_from_url=pictures + path, **more)
    assert caught.value.code is code
    assert code is Code.INVALID_PALETTE or caught.value.sentence.startswith("palette_from_url: ")


def test_a_preset_of_the_deployment(do, tmp_path):
    (tmp_path / "shop.yaml").write_text("palette_name: greys\ncanvas: vehicle\nstroke: {mode: none}\n")
    _, svg = do(tmp_path, job_preset="shop", canvas="square")
    assert svg == do(palette_name="greys", canvas="square", stroke={"mode": "none"})[1]
    assert b'viewBox="0 0 1024 1024"' in svg


def test_locks_of_every_kind(do):
    where, _ = do()
    x0, y0, x1, y1 = where["vehicle_box"]
    pane = [x0 + 0.42 * (x1 - x0), y0 + 0.22 * (y1 - y0)]
    locks = [
        {"part": "body", "color": "#C8102E"},
        {"part": "wheels", "color": "#F2B705"},
        {"point": pane, "color": "#00AAFF"},
        {"point": [0, 0], "color": "#123456"},
    ]
    result, svg = do(color_locks=locks)
    found = drawn(svg)
    assert result["palette"][-4:] == ["#C8102E", "#F2B705", "#00AAFF", "#123456"]
    assert result["quality"]["off_palette_colors"] == 0
    assert {color: found[color] for color in ("#C8102E", "#F2B705", "#00AAFF")} == {
        "#C8102E": {"body"},
        "#F2B705": {"wheel"},
        "#00AAFF": {"glass"},
    }
    assert [warning for warning in result["warnings"] if warning.startswith("LOCK_MISSED: color_locks[3] ")]
    assert svg == do(color_locks=locks)[1]
    assert digest(svg) != digest(do()[1])


def test_a_lock_in_a_colour_of_the_palette_adds_none(do):
    result, svg = do(color_locks=[{"part": "glass", "color": "008080"}])
    assert len(result["palette"]) == 15
    assert "glass" in drawn(svg)["#008080"]
