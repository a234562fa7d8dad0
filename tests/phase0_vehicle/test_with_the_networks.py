"""Phase 0 with the networks that are served: the drawn scene, pictures that packages ship, other numbers of threads."""

from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from model_cache.embedded import EFFICIENTNET, ISNET, served
from pipeline import engines
from pipeline.errors import Code, JobError
from pipeline.job import read
from pipeline.phase0_vehicle.efficientnet import make_verdict
from pipeline.phase0_vehicle.isnet import make_look
from pipeline.phase0_vehicle.search import in_box, search
from pipeline.phase0_vehicle.vehicle import UNCERTAIN
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.sample import scene
from pipeline.settings import load
from pipeline.values import Photo
from tests.conftest import NETWORKS

pytestmark = pytest.mark.networks


@pytest.fixture(scope="module")
def drawn():
    return scene()


@pytest.fixture(scope="module")
def look():
    return make_look(served(NETWORKS)[ISNET].path, 2)


@pytest.fixture(scope="module")
def verdict():
    return make_verdict(served(NETWORKS)[EFFICIENTNET].path)


def shipped(name):
    return np.asarray(Image.open(str(files("skimage") / "data" / name)).convert("RGB"))


def covered(outline, shape):
    """The outline as a mask of the photo's own size."""
    x0, y0, x1, y1 = (round(v) for v in outline.grid.window)
    out = np.zeros(shape[:2], bool)
    out[y0:y1, x0:x1] = np.asarray(Image.fromarray(outline.alpha).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 127
    return out


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def test_the_scenes_car_is_outlined_without_a_hint(drawn, look, verdict):
    outline = search(drawn.rgb, look, verdict)
    assert overlap(covered(outline, drawn.rgb.shape), drawn.mask) >= 0.99
    assert outline.confidence >= 0.9


@pytest.mark.parametrize(("kind", "seed", "least"), [("dark", 7, 0.99), ("livery", 2, 0.99), ("pickup", 5, 0.97)])
def test_other_kinds_of_scenes_are_outlined_too(look, verdict, kind, seed, least):
    """Measured at 0.992 to 0.996, the pick-up, open below and with an open bed, at 0.980 to 0.988 (four seeds each)."""
    shown = scene(seed, 800, 533, kind)
    outline = search(shown.rgb, look, verdict)
    assert overlap(covered(outline, shown.rgb.shape), shown.mask) >= least
    assert outline.confidence >= 0.9


def test_a_box_that_is_off_by_a_twentieth_is_as_good(drawn, look, verdict):
    h, w = drawn.rgb.shape[:2]
    x0, y0, x1, y1 = drawn.vehicle_box
    dx, dy = 0.05 * (x1 - x0) * w, 0.05 * (y1 - y0) * h
    outline = in_box(drawn.rgb, (x0 * w + dx, y0 * h - dy, x1 * w - dx, y1 * h + dy), look, verdict)
    assert overlap(covered(outline, drawn.rgb.shape), drawn.mask) >= 0.97


@pytest.mark.parametrize("name", ["astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "horse.png", "brick.png"])
def test_what_stands_out_and_is_no_vehicle_is_refused(look, verdict, name):
    with pytest.raises(JobError) as told:
        search(shipped(name), look, verdict)
    assert told.value.code is Code.NO_VEHICLE


def test_a_motorcycle_is_a_vehicle(look, verdict):
    assert search(shipped("motorcycle_left.png"), look, verdict).alpha.max() == 255


def test_two_cars_that_touch_are_told(drawn, look, verdict):
    inside = np.argwhere(drawn.mask)
    (y0, x0), (y1, x1) = inside.min(0), inside.max(0) + 1
    car = drawn.rgb[y0:y1, x0:x1]
    both = np.full((y1 - y0 + 80, 2 * (x1 - x0) + 40, 3), drawn.rgb[~drawn.mask].mean(0), np.uint8)
    cut = drawn.mask[y0:y1, x0:x1]
    for left in (20, x1 - x0):  # the second over the first's end
        both[40:-40, left : left + x1 - x0][cut] = car[cut]
    assert search(both, look, verdict).confidence < load().phase0.uncertain_below


def test_the_same_svg_with_any_number_of_threads(drawn):
    networks, settings = served(NETWORKS), load()
    job = read({"image_url": "http://x", "size": 1024, "remove": [], "outputs": ["svg"]})

    def svg(threads):
        steps = engines.classical(networks, find=lambda *_: [], look=make_look(networks[ISNET].path, threads))
        done = run(Photo(drawn.rgb, None, "scene"), None, job, steps, settings, Progress())
        assert UNCERTAIN not in done.warnings
        return done.drawing.svg

    assert svg(1) == svg(2) == svg(3)
