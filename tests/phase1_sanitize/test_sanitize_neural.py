"""Phase 1 by its three networks with random weights, through the loaders and the logic that both engines share."""

import numpy as np
import pytest
import torch

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.phase1_sanitize.find_neural import make_find
from pipeline.phase1_sanitize.inpaint_neural import make_inpaint
from pipeline.phase1_sanitize.mask_neural import make_mask
from pipeline.phase1_sanitize.sanitize import ANY_LABEL, SanitizeSettings, sanitize
from pipeline.progress import Progress
from pipeline.values import CleanPlate, Frame, Matte, Vehicle
from tests.support.stand_in_steps import stand_in_steps

pytestmark = pytest.mark.neural

SIDE = 128
LABELS = ["side view mirror", "license plate", "text"]


@pytest.fixture
def cache(tiny_volume):
    return ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), None)


def segmenter_answers(cache, level):
    """Random weights may see nothing anywhere. Here every mask is its whole box, or nothing, whatever the picture."""
    (network,) = cache.take("sam")
    decoder = network.model.mask_decoder
    with torch.no_grad():
        for parameter in decoder.upscale_conv2.parameters():
            parameter.zero_()
        decoder.upscale_conv2.bias.fill_(1.0)
        for head in decoder.output_hypernetworks_mlps:
            head.proj_out.weight.zero_()
            head.proj_out.bias.fill_(level)


def plate(cache) -> CleanPlate:
    own = {"find": make_find(cache), "mask": make_mask(cache), "inpaint": make_inpaint(cache)}
    steps = stand_in_steps(name="neural", finds=frozenset({ANY_LABEL}), **own)
    inside = np.zeros((SIDE, SIDE), np.uint8)
    inside[20:110, 8:120] = 255
    vehicle = Vehicle(picture(), Frame.fit(400, 400, SIDE), Matte(inside, None))
    return sanitize(vehicle, LABELS, steps, SanitizeSettings(), Progress())


def picture():
    return np.random.default_rng(4).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def test_what_is_found_is_masked_and_painted_over_and_nothing_else(cache):
    segmenter_answers(cache, 1.0)
    rgb, clean = picture(), plate(cache)
    assert clean.removed
    assert {one.label for one in clean.removed} <= set(LABELS)
    for one in clean.removed:
        x0, y0, x1, y1 = (round(v) for v in one.box)
        assert clean.removed_mask[y0:y1, x0:x1].all()
    assert (clean.rgb[~clean.removed_mask] == rgb[~clean.removed_mask]).all()
    assert (clean.rgb[clean.removed_mask] != rgb[clean.removed_mask]).any(1).mean() > 0.9
    again = plate(cache)
    assert again.rgb.tobytes() == clean.rgb.tobytes()
    assert [(f.label, f.score, f.box) for f in again.removed] == [(f.label, f.score, f.box) for f in clean.removed]
    assert dict(cache.loads) == {"grounding-dino": 1, "sam": 1, "lama": 1}


def test_a_found_thing_without_a_mask_goes_with_its_whole_box_and_is_told(cache):
    segmenter_answers(cache, -1.0)
    clean = plate(cache)
    assert any(warning.startswith("MASK_EMPTY: ") for warning in clean.warnings)
    assert clean.removed
    for one in clean.removed:
        x0, y0, x1, y1 = (round(v) for v in one.box)
        assert clean.removed_mask[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].all()
