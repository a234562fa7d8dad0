"""Segment Anything: geometry with a network that paints the boxes it is given, and both networks with random weights."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.phase1_sanitize import mask_neural
from pipeline.phase1_sanitize.mask_neural import BATCH, LEAN_BATCH, LEAST_SOFT
from pipeline.values import Found
from tests.support.stand_ins import StandInCache, image_processor, loaded

pytestmark = pytest.mark.neural

SIDE = 256
#: The masks as the network answers them.
make_mask = partial(mask_neural.make_mask, soft=0)
#: The network's own side, and that of the masks that it answers with.
SEEN, LOW = 128, 32


def thing(x0: float, y0: float, x1: float, y1: float, label: str = "text") -> Found:
    return Found(label, 0.9, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32))


class Segmenter:
    """Its second candidate is the box itself, the others are everything and nothing; `change` may break the answer."""

    def __init__(self, scores=(0.1, 0.9, 0.2), grow=0.0):
        self.scores, self.grow, self.embedded, self.batches = scores, grow, 0, []
        self.change = lambda output: output

    def get_image_embeddings(self, pixels):
        assert pixels.shape == (1, 3, SEEN, SEEN)
        self.embedded += 1
        return pixels.mean(1, keepdim=True)

    def __call__(self, image_embeddings, input_boxes, multimask_output):
        assert multimask_output
        assert input_boxes.dtype == torch.float32  # 16 bits would move a box before it is encoded
        self.batches.append(input_boxes.shape[1])
        centres = (torch.arange(LOW) + 0.5) * SEEN / LOW
        x0, y0, x1, y1 = (input_boxes[0, :, k, None] for k in range(4))
        across = torch.minimum(centres - x0, x1 - centres) + self.grow  # positive inside, as deep as the border is far
        down = torch.minimum(centres - y0, y1 - centres) + self.grow
        box = torch.minimum(down[:, :, None], across[:, None, :])
        masks = torch.stack([torch.full_like(box, 5.0), box, torch.full_like(box, -5.0)], dim=1)[None]
        scores = torch.tensor(self.scores).expand(1, len(box), 3)
        return self.change(SimpleNamespace(pred_masks=masks, iou_scores=scores))


def stand_in(**more):
    model, images = Segmenter(**more), image_processor(SEEN)
    return model, images, StandInCache(sam=loaded(model, images), sam2=loaded(model, images))


def picture(side=SIDE):
    return np.random.default_rng(2).integers(0, 256, (side, side, 3), np.uint8)


def bounds(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


THINGS = [thing(150, 60, 190, 100), thing(30, 80, 90, 110), thing(100, 120, 120, 180)]


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_each_mask_lies_where_its_box_is(which):
    _, _, cache = stand_in()
    masks = make_mask(cache, which)(picture(), THINGS)
    assert len(masks) == len(THINGS)
    for mask, one in zip(masks, THINGS, strict=True):
        assert (mask.shape, mask.dtype) == ((SIDE, SIDE), np.bool_)  # never (1, S, S)
        # A pixel of the network's masks is 8 of the picture's here: what it sees is 208 pixels wide, in 32.
        np.testing.assert_allclose(bounds(mask), one.box, atol=4)
        assert mask.sum() == pytest.approx((one.box[2] - one.box[0]) * (one.box[3] - one.box[1]), rel=0.25)


@pytest.mark.parametrize("side", [256, 2048])
def test_a_mask_is_widened_by_half_of_the_networks_point(side):
    """A point that the network cuts off the rim would leave a badge's chrome."""
    _, _, cache = stand_in()
    scaled = [thing(*(v * side / SIDE for v in THINGS[0].box))]
    exact, wide = (bounds(make(picture(side), scaled)[0]) for make in (make_mask(cache), mask_neural.make_mask(cache)))
    window = max(0.25 * side, 1.3 * 40 * side / SIDE + 2)
    more = max(LEAST_SOFT, round(0.5 * np.ceil(window) / LOW))
    assert np.subtract(exact, wide).tolist() == [more, more, -more, -more]


def test_a_small_window_gives_fine_masks():
    """Alone, a small thing gets the whole resolution: its window is a quarter of the picture, 2 pixels to one of the masks'."""
    _, images, cache = stand_in()
    rgb = picture()
    (mask,) = make_mask(cache)(rgb, [thing(100, 130, 124, 150)])
    assert images.seen[0].shape == (64, 64, 3)
    assert (images.seen[0] == rgb[108:172, 80:144]).all()
    np.testing.assert_allclose(bounds(mask), (100, 130, 124, 150), atol=1)


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (236, 0, 256, 30), (-8, 200, 30, 262), (0, 0, 256, 256), (0, 250, 256, 256)])
def test_boxes_at_the_pictures_border(box):
    _, _, cache = stand_in()
    (mask,) = make_mask(cache)(picture(), [thing(*box)])
    np.testing.assert_allclose(bounds(mask), np.clip(box, 0, SIDE), atol=8)


def test_a_mask_ends_a_little_beyond_its_box():
    _, _, cache = stand_in(scores=(0.9, 0.1, 0.1))  # the candidate that is everything
    masks = make_mask(cache)(picture(), [thing(100, 100, 140, 160), thing(40, 40, 50, 50)])
    assert bounds(masks[0]) == (96, 94, 144, 166)  # a tenth of its sides
    assert bounds(masks[1]) == (38, 38, 52, 52)  # at least two pixels


def test_a_mask_of_nothing_is_empty_and_keeps_its_place():
    model, _, cache = stand_in()

    def second_is_empty(output):
        output.pred_masks[:, 1] = -3.0
        return output

    model.change = second_is_empty
    assert [bool(mask.any()) for mask in make_mask(cache)(picture(), THINGS)] == [True, False, True]


def test_the_picture_is_embedded_once_and_the_boxes_go_in_batches():
    model, _, cache = stand_in()
    many = [thing(10 + 3 * k, 20, 30 + 3 * k, 50) for k in range(BATCH + 5)]
    masks = make_mask(cache)(picture(), many)
    assert model.embedded == 1
    assert model.batches == [BATCH, 5]
    for mask, one in zip(masks, many, strict=True):
        np.testing.assert_allclose(bounds(mask), one.box, atol=2.5)
    cache.lean = True
    lean = make_mask(cache)(picture(), many)
    assert max(model.batches[2:]) == LEAN_BATCH
    assert all((a == b).all() for a, b in zip(masks, lean, strict=True))


def test_no_boxes_need_no_network():
    model, _, cache = stand_in()
    assert make_mask(cache)(picture(), []) == []
    assert model.embedded == 0


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("pred_masks", lambda x: x[0]),
        ("pred_masks", lambda x: x[:, :, 0]),
        ("pred_masks", lambda x: x[:, :-1]),
        ("pred_masks", lambda x: x[..., :0]),
        ("pred_masks", lambda x: x.transpose(0, 1)),
        ("iou_scores", lambda x: x[..., :2]),
        ("iou_scores", lambda x: x[0]),
        ("pred_masks", lambda x: torch.full_like(x, torch.nan)),
        ("pred_masks", lambda x: torch.full_like(x, torch.inf)),
        ("iou_scores", lambda x: torch.full_like(x, torch.nan)),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_no_empty_mask(part, change):
    model, _, cache = stand_in()

    def broken(output):
        setattr(output, part, change(getattr(output, part)))
        return output

    model.change = broken
    with pytest.raises(RuntimeError, match="sam returned"):
        make_mask(cache)(picture(), THINGS)


# --- the networks ---


@pytest.fixture
def cache(tiny_volume):
    return ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), None)


def lively(cache, which):
    """The network with larger random weights: as they are made, masks hardly depend on the picture. Its second candidate wins."""
    (network,) = cache.take(which)
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=random) * parameter[0].numel() ** -0.5)
        head = network.model.mask_decoder.iou_prediction_head.proj_out
        head.weight.mul_(0.01)
        head.bias.copy_(torch.tensor([0.0, 0.0, 0.5, 0.0]))
    return network


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_the_networks_masks(cache, which):
    lively(cache, which)
    rgb, mask = picture(), make_mask(cache, which)
    masks = mask(rgb, THINGS)
    assert len(masks) == len(THINGS)
    for one, got in zip(THINGS, masks, strict=True):
        assert (got.shape, got.dtype) == ((SIDE, SIDE), np.bool_)
        low, high = np.array(one.box[:2]) - 7, np.array(one.box[2:]) + 7
        rows, columns = np.nonzero(got)
        assert len(rows)
        assert (columns >= low[0]).all()
        assert (rows >= low[1]).all()
        assert (columns < high[0]).all()
        assert (rows < high[1]).all()
    assert [m.tobytes() for m in mask(rgb, THINGS)] == [m.tobytes() for m in masks]
    assert [m.tobytes() for m in mask(255 - rgb, THINGS)] != [m.tobytes() for m in masks]
    assert cache.loads[which] == 1


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_masks_are_those_of_the_librarys_own_reading(cache, which):
    """Where the boxes span the picture, what the network sees is the picture, as the library would show it."""
    network = lively(cache, which)
    rgb, boxes = picture(), [thing(0, 0, 256, 256), *THINGS]
    masks = make_mask(cache, which)(rgb, boxes)
    inputs = network.processor(images=rgb, input_boxes=[[list(one.box) for one in boxes]], return_tensors="pt")
    with torch.inference_mode():
        output = network.model(pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float())
    sizes = [inputs["original_sizes"]] + ([inputs["reshaped_input_sizes"]] if which == "sam" else [])
    theirs = network.processor.post_process_masks(output.pred_masks, *sizes)[0][:, 1].numpy()  # the second candidate wins
    mixed = 0
    for one, ours, their in zip(boxes, masks, theirs, strict=True):
        x0, y0, x1, y1 = (int(v) for v in one.box)
        inside = np.s_[y0:y1, x0:x1]
        mixed += 0.1 < their[inside].mean() < 0.9
        assert (ours[inside] == their[inside]).mean() > 0.97
    assert mixed


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_masks_do_not_depend_on_the_batch(cache, which):
    lively(cache, which)
    together = make_mask(cache, which)(picture(), THINGS * 2)
    cache.lean = True
    apart = make_mask(cache, which)(picture(), THINGS * 2)
    assert all((a == b).mean() > 0.999 for a, b in zip(together, apart, strict=True))
    assert all((a == b).all() for a, b in zip(together[:3], together[3:], strict=True))


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_a_network_that_returns_nan_is_an_error(cache, which):
    (network,) = cache.take(which)
    with torch.no_grad():
        next(network.model.vision_encoder.parameters()).fill_(torch.nan)
    with pytest.raises(RuntimeError, match=f"{which} returned numbers that are not finite"):
        make_mask(cache, which)(picture(), THINGS)


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_the_network_in_float16_as_on_a_card(cache, which):
    network = lively(cache, which)
    full = np.stack(make_mask(cache, which)(picture(), THINGS))
    network.model.half()
    half = np.stack(make_mask(StandInCache(torch.float16, **{which: network}), which)(picture(), THINGS))
    assert (full & half).sum() > 0.95 * (full | half).sum() > 0
