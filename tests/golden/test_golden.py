"""Drawings whose bytes are kept: a change of them is somebody's decision. `./run bless` keeps what is drawn now; then look at the pictures.

`<metadata>` is left out: it holds a digest of the settings. Other vector instructions round sums otherwise: on a processor of another
family than `blessed.json` names, coordinates may differ by `NEAR` of a unit, and nothing else may. The sample rests on 8-bit networks,
too; it is compared only with the networks (sha256) and on the family that it was blessed with.
"""

import base64
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from model_cache import embedded
from pipeline.phase4_vectorize.vectorize import VectorSettings, vectorize
from pipeline.progress import Progress
from pipeline.run import TRACERS
from pipeline.sample.__main__ import jpeg
from pipeline.sample.compose import scene
from pipeline.service import Worker, perform
from tests.golden.label_pictures import PALETTE, PICTURES, picture

KEPT = Path(__file__).parent / "kept"
BLESSED = KEPT / "blessed.json"
BLESS = os.environ.get("BLESS") == "1"
NEAR = 0.5
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def family() -> str:
    """What of the processor decides how sums are rounded: its vector instructions."""
    told = Path("/proc/cpuinfo")
    flags = set(told.read_text().split()) if told.exists() else set()
    return " ".join(name for name in ("fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd") if name in flags)


def blessed() -> dict[str, object]:
    return json.loads(BLESSED.read_text()) if BLESSED.exists() else {}


def bless(svg: str, name: str, **facts: object) -> None:
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.svg").write_text(svg)
    BLESSED.write_text(json.dumps({**blessed(), name: {"processor": family(), **facts}}, indent=1, sort_keys=True) + "\n")


def without_metadata(svg: bytes) -> str:
    return re.sub(r"<metadata>.*?</metadata>\n?", "", svg.decode(), flags=re.DOTALL)


def check(svg: str, name: str, facts: object) -> None:
    kept = (KEPT / f"{name}.svg").read_text()
    if svg == kept:
        return
    same = isinstance(facts, dict) and facts.get("processor") == family()
    assert not same, f"the drawing {name} has changed; look at it, and run ./run bless if that was meant"
    assert NUMBER.sub("#", svg) == NUMBER.sub("#", kept)
    ours, theirs = (np.array([float(n) for n in NUMBER.findall(text)]) for text in (svg, kept))
    assert np.abs(ours - theirs).max() <= NEAR


@pytest.mark.parametrize("name", PICTURES)
def test_a_label_image_is_drawn_as_it_was(name):
    drawing = vectorize(picture(name), PALETTE, TRACERS["planar"], VectorSettings(mode="both"), {}, False, Progress())
    svg = without_metadata(drawing.svg)
    if BLESS:
        bless(svg, name)
    check(svg, name, blessed()[name])


@pytest.mark.networks
def test_the_sample_is_drawn_as_it_was(worker: Worker, tmp_path: Path):
    photo = base64.b64encode(jpeg(scene(seed=1, width=800, height=533))).decode()
    networks = {name: one.sha256 for name, one in embedded.served(worker.environment.networks_path).items()}
    perform("golden", {"image_base64": photo, "size": 1024, "outputs": ["svg"]}, worker, Progress(), folder=tmp_path)
    svg = without_metadata((tmp_path / "illustration.svg").read_bytes())
    if BLESS:
        bless(svg, "sample", networks=networks)
    facts = blessed()["sample"]
    if facts["networks"] != networks or facts["processor"] != family():
        pytest.skip("the sample was blessed with other networks or on a processor of another family")
    check(svg, "sample", facts)
