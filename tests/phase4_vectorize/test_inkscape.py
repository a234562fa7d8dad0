"""The SVG in Inkscape itself: opened, selected in, saved and drawn, without a display."""

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.phase4_vectorize.svg import INKSCAPE, SVG, Stroke
from pipeline.run import TRACERS
from tests.phase4_vectorize.label_images import car, drawn, on_white, rendered

pytestmark = pytest.mark.skipif(not shutil.which("inkscape"), reason="inkscape is not installed (Debian: apt-get install inkscape)")

ABOUT = {"seed": 42, "engine": "classical & drawn"}
STROKE = Stroke(4.0, "#FF0000")
DRAWN = {f"{{{SVG}}}{name}" for name in ("svg", "g", "path", "rect")}  # all that is drawn or holds what is drawn

Inkscape = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def inkscape(tmp_path_factory: pytest.TempPathFactory) -> Inkscape:
    """Inkscape with a home and settings of its own: nothing of the user's is read or written, and no window opens."""
    home = tmp_path_factory.mktemp("home")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = ["inkscape", *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=home, text=True, capture_output=True, timeout=60, check=True)

    return call


@pytest.fixture(scope="module", params=sorted(TRACERS))
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The car by each tracer."""
    path: Path = tmp_path_factory.mktemp(request.param) / "car.svg"
    path.write_bytes(drawn(request.param, ABOUT, stroke=STROKE, canvas="photo", background="#0000FF"))
    return path


def complaints(call: subprocess.CompletedProcess[str]) -> set[str]:
    """The lines of standard error without the process's number and the time."""
    return {re.sub(r"inkscape:\d+|\d\d:\d\d:\d\d\.\d+", "", line) for line in call.stderr.splitlines()}


def layers(file: Path) -> dict[str | None, ElementTree.Element]:
    """Id → layer, from the document's topmost level."""
    return {g.get("id"): g for g in ElementTree.parse(file).getroot().findall(f"{{{SVG}}}g")}


def painted(layer: ElementTree.Element) -> list[tuple[str | None, ...]]:
    """Every path and rectangle of a layer in painter's order: its geometry, its paint as inherited, its vector effect."""
    paint = ("fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "fill-rule")
    geometry = ("d", "x", "y", "width", "height", "vector-effect")
    found = []

    def visit(node: ElementTree.Element, above: tuple[str | None, ...]) -> None:
        here = tuple(node.get(name, value) for name, value in zip(paint, above, strict=True))
        if node.tag in (f"{{{SVG}}}path", f"{{{SVG}}}rect"):
            found.append((*here, *map(node.get, geometry)))
        for child in node:
            visit(child, here)

    visit(layer, (None,) * len(paint))
    return found


def different(a: np.ndarray, b: np.ndarray) -> float:
    """The share of pixels that differ by more than antialiasing does."""
    assert a.shape == b.shape
    return float((np.abs(a - b).max(2) > 64).mean())


def test_opens_without_a_complaint(file: Path, inkscape: Inkscape) -> None:
    """What Inkscape says of an empty document too (no display, no bus) is about its surroundings, not about the file."""
    empty, torn = file.with_name("empty.svg"), file.with_name("torn.svg")
    empty.write_bytes(f'<svg xmlns="{SVG}" width="9" height="9" viewBox="0 0 9 9"/>'.encode())
    torn.write_bytes(file.read_bytes().replace(b' d="M', b' d="M0 0 L ? M', 1))
    surroundings = complaints(inkscape("--query-all", empty))
    assert complaints(inkscape("--query-all", file)) <= surroundings
    assert any("Malformed SVG path" in line for line in complaints(inkscape("--query-all", torn)) - surroundings)


def test_objects_lie_where_they_were_drawn(file: Path, inkscape: Inkscape) -> None:
    nodes = [node for node in ElementTree.parse(file).iter() if node.tag in DRAWN]
    rows = list(csv.reader(inkscape("--query-all", file).stdout.splitlines()))
    assert len(rows) == len(nodes) > 8
    box, by_id = {}, {}
    for node, (name, *numbers) in zip(nodes, rows, strict=True):  # both in the document's order
        assert name == node.get("id", name)  # Inkscape makes ids for those that have none
        x, y, width, height = map(float, numbers)
        assert width > 0 < height
        box[node] = np.array([x, y, -x - width, -y - height])  # a box within another has the larger numbers
        by_id[name] = node
    assert all((box[child] >= box[node] - 0.01).all() for node in nodes for child in node if child in box)

    image = car()
    left, top, *_ = image.frame.content  # Inkscape counts from the page's corner
    columns, rows_ = np.flatnonzero(image.inside.any(0)), np.flatnonzero(image.inside.any(1))
    expected = np.array([columns[0] - left, rows_[0] - top, left - columns[-1] - 1, top - rows_[-1] - 1])
    for layer, beyond in (("fills", 0.0), ("lines", STROKE.width / 2)):
        paths = [box[path] for path in by_id[layer].iter(f"{{{SVG}}}path")]
        assert np.abs(np.min(paths, 0) - (expected - beyond)).max() < 2


def test_layers_can_be_selected(file: Path, inkscape: Inkscape) -> None:
    """`select-all:layers` finds what Inkscape itself takes for a layer; deleting one leaves the other as it was."""
    selected = inkscape("--actions=select-all:layers;select-list", file).stdout
    assert [line.split()[0] for line in selected.splitlines()] == ["fills", "lines"]

    left = file.with_name("without_lines.svg")
    inkscape(f"--actions=select-by-id:lines;delete-selection;export-filename:{left};export-do", file)
    assert list(layers(left)) == ["fills"]
    assert painted(layers(left)["fills"]) == painted(layers(file)["fills"])


def test_one_colour_can_be_selected(file: Path, inkscape: Inkscape) -> None:
    left = file.with_name("without_red.svg")
    inkscape(f'--actions=select-by-selector:g[data-color="#FF0000"];delete-selection;export-filename:{left};export-do', file)
    fills = painted(layers(file)["fills"])
    others = [shape for shape in fills if shape[0] != "#FF0000"]
    assert len(others) < len(fills)
    assert painted(layers(left)["fills"]) == others


@pytest.mark.parametrize("plain", [False, True], ids=["inkscape", "plain"])
def test_survives_a_save(file: Path, inkscape: Inkscape, plain: bool) -> None:
    """Saved as Inkscape saves its own documents, and as plain SVG, which has no layers by definition but keeps their ids."""
    saved = file.with_name("saved.svg")
    inkscape(file, "--export-type=svg", f"--export-filename={saved}", *(["--export-plain-svg"] if plain else []))
    before, after = ElementTree.parse(file).getroot(), ElementTree.parse(saved).getroot()
    assert [after.get(name) for name in ("viewBox", "width", "height")] == [before.get(name) for name in ("viewBox", "width", "height")]
    assert json.loads(after.findtext(f"{{{SVG}}}metadata", "")) == ABOUT

    assert list(layers(saved)) == ["fills", "lines"]
    for name, layer in layers(saved).items():
        named = {key: layer.get(f"{{{INKSCAPE}}}{key}") for key in ("groupmode", "label")}
        assert named == ({"groupmode": None, "label": None} if plain else {"groupmode": "layer", "label": str(name).capitalize()})
        assert painted(layer) == painted(layers(file)[name])
    assert all(shape[-1] == "non-scaling-stroke" for shape in painted(layers(saved)["lines"]))
    assert not different(rendered(file.read_bytes()), rendered(saved.read_bytes()))


@pytest.mark.parametrize("scale", [1, 3])
def test_inkscape_draws_what_resvg_draws(file: Path, inkscape: Inkscape, scale: int) -> None:
    """Inkscape honours `vector-effect`, resvg does not: three times as large, its lines are as wide as resvg's of a third."""
    svg = file.read_bytes()
    width = round(scale * float(ElementTree.fromstring(svg).get("width", "")))
    png = file.with_name(f"{width}.png")
    inkscape(file, "--export-type=png", f"--export-width={width}", f"--export-filename={png}")
    given = f'stroke-width="{STROKE.width:g}"'.encode()
    assert svg.count(given) == 1
    thin = svg.replace(given, f'stroke-width="{STROKE.width / scale:g}"'.encode())
    assert different(on_white(png.read_bytes()), rendered(thin, width)) < 0.0005
