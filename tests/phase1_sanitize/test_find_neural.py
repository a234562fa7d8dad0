"""GroundingDINO: what it is asked, how its answer is read, and the network itself with random weights."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.errors import Code, JobError
from pipeline.phase0_vehicle.locate import VEHICLES, make_locate
from pipeline.phase1_sanitize.find_neural import TEXT_THRESHOLD, make_find
from pipeline.phase1_sanitize.prompt_neural import CLS, SEP, STOP, head, prompts
from pipeline.phase1_sanitize.sanitize import ANY_LABEL, SanitizeSettings, sanitize
from pipeline.progress import Progress
from pipeline.values import Frame, Matte, Vehicle
from tests.support.stand_in_steps import stand_in_steps
from tests.support.stand_ins import StandInCache, image_processor, loaded
from tests.support.tiny_tokenizers import write_bert_tokenizer

pytestmark = pytest.mark.neural

DEFAULT = ("side view mirror", "car logo", "brand badge", "license plate", "text", "sticker")
MAX_TEXT = 256


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    write_bert_tokenizer(folder)
    return BertTokenizerFast.from_pretrained(folder)


class Detector:
    """Answers every prompt with the same boxes; `scores` gives each the probability of the tokens of some labels."""

    def __init__(self, boxes, scores, tokenizer, separator=0.01, queries=None):
        self.boxes, self.scores, self.tokenizer, self.separator, self.asked = boxes, scores, tokenizer, separator, []
        self.config = SimpleNamespace(max_text_len=MAX_TEXT)
        self.change = lambda output: output

    def __call__(self, pixel_values, pixel_mask, input_ids, token_type_ids, attention_mask):
        assert pixel_values.shape[0] == input_ids.shape[0] == 1
        assert input_ids.shape == token_type_ids.shape == attention_mask.shape
        ids = input_ids[0].tolist()
        self.asked.append(ids)
        logits = torch.full((1, len(self.boxes), MAX_TEXT), -torch.inf)
        logits[:, :, : len(ids)] = torch.logit(torch.tensor(self.separator))
        for query, scores in enumerate(self.scores):
            for label, probabilities in scores.items():
                at = self._place(ids, label)
                if at is not None:
                    logits[0, query, at : at + len(probabilities)] = torch.logit(torch.tensor(probabilities))
        return self.change(SimpleNamespace(logits=logits, pred_boxes=torch.tensor(self.boxes, dtype=torch.float32)[None]))

    def _place(self, ids, label):
        tokens = self.tokenizer.encode(label, add_special_tokens=False)
        starts = [i for i in range(len(ids)) if ids[i : i + len(tokens) + 1] == [*tokens, STOP] and ids[i - 1] in (CLS, STOP)]
        return starts[0] if starts else None


def detector(tokenizer, boxes, scores, **more):
    """The stand-in and a cache that holds it."""
    model, images = Detector(boxes, scores, tokenizer, **more), image_processor()
    return model, images, StandInCache(grounding_dino=loaded(model, images, tokenizer=tokenizer))


def picture(side=256):
    return np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)


WHOLE = (0.0, 0.0, 256.0, 256.0)
BOX = (0.5, 0.5, 0.2, 0.1)


# --- what is asked ---


def test_a_prompt_is_the_text_that_the_network_was_trained_on(tokenizer):
    (prompt,) = prompts(DEFAULT, tokenizer, MAX_TEXT)
    assert list(prompt.ids) == tokenizer(" . ".join(DEFAULT) + " .")["input_ids"]
    assert prompt.labels == DEFAULT
    assert [tokenizer.decode(prompt.ids[start:end]) for start, end in prompt.spans] == list(DEFAULT)


@pytest.mark.parametrize("label", ["text.", "Text?", ". text", "?text.?", "TEXT..."])
def test_signs_that_end_a_label_are_taken_out_of_it(tokenizer, label):
    (prompt,) = prompts([label], tokenizer, MAX_TEXT)
    assert [prompt.ids[0], prompt.ids[-1]] == [CLS, SEP]
    assert prompt.ids.count(STOP) == 1
    assert [tokenizer.decode(prompt.ids[start:end]) for start, end in prompt.spans] == ["text"]
    assert prompt.labels == (label,)


@pytest.mark.parametrize("label", ["text [SEP]", "[CLS] text", "car. text? [MASK] [PAD]", "a.b?c"])
def test_marks_that_somebody_typed_are_words(tokenizer, label):
    (prompt,) = prompts([label, "car"], tokenizer, MAX_TEXT)
    borders = [i for i, number in enumerate(prompt.ids) if number in (CLS, SEP, STOP, 1029, tokenizer.pad_token_id)]
    assert borders == [0, prompt.spans[0][1], prompt.spans[1][1], len(prompt.ids) - 1]


def test_the_same_words_are_asked_for_once_and_found_under_their_first_name(tokenizer):
    (prompt,) = prompts(["text", "text.", "TEXT", "car"], tokenizer, MAX_TEXT)
    assert prompt.labels == ("text", "car")


@pytest.mark.parametrize("label", [".", "?", "...", "😀", "  "])
def test_a_label_without_words_is_the_callers_mistake(tokenizer, label):
    with pytest.raises(JobError) as error:
        prompts(["text", label], tokenizer, MAX_TEXT)
    assert error.value.code == Code.INVALID_INPUT


def test_a_label_longer_than_the_texts_limit_is_the_callers_mistake(tokenizer):
    prompts(["car " * 13], tokenizer, 16)
    with pytest.raises(JobError, match="too long"):
        prompts(["car " * 14], tokenizer, 16)


@pytest.mark.parametrize("limit", [16, 40, 256])
def test_many_labels_are_split_so_that_no_text_is_too_long(tokenizer, limit):
    labels = [f"badge {number} of the car" for number in range(100)]
    asked = prompts(labels, tokenizer, limit)
    assert all(len(prompt.ids) <= limit for prompt in asked)
    assert [label for prompt in asked for label in prompt.labels] == labels
    # No text could have taken the next one's first label as well.
    assert all(len(a.ids) + b.spans[0][1] - b.spans[0][0] + 1 > limit for a, b in pairwise(asked))


# --- how the answer is read ---


def test_a_score_is_the_best_of_the_labels_own_tokens(tokenizer):
    scores = [{"license plate": [0.2, 0.7], "text": [0.6]}, {"license plate": [0.39, 0.26], "text": [0.38]}]
    _, _, cache = detector(tokenizer, [BOX, (0.2, 0.2, 0.1, 0.1)], scores)
    found = make_find(cache)(picture(), WHOLE, DEFAULT)
    assert [(f.label, pytest.approx(f.score)) for f in found] == [("license plate", 0.7), ("license plate", 0.39)]


def test_one_word_does_not_decide_a_label(tokenizer):
    """The whole car, on which "car" answers and "logo" does not, and a door's mirror, on which "mirror" alone does."""
    scores = [{"car logo": [0.80, 0.06]}, {"side view mirror": [0.1, 0.12, 0.6]}, {"car logo": [0.8, 0.06], "text": [0.3]}]
    _, _, cache = detector(tokenizer, [(0.5, 0.5, 0.98, 0.98), BOX, (0.2, 0.2, 0.1, 0.1)], scores)
    found = make_find(cache)(picture(), WHOLE, DEFAULT)
    assert [(f.label, pytest.approx(f.score)) for f in found] == [("side view mirror", 0.6), ("text", 0.3)]


@pytest.mark.parametrize("word", ["car", "side", "view", "brand", "license"])
def test_what_only_a_label_s_first_word_answers_to_is_left_alone_and_not_told(tokenizer, word):
    label = next(label for label in DEFAULT if word in label.split())
    answers = [0.8 if w == word else 0.06 for w in label.split()]
    _, _, cache = detector(tokenizer, [(0.5, 0.5, 0.98, 0.98), BOX], [{label: answers}] * 2)
    plate = sanitized(cache, picture())
    assert plate.removed == ()
    assert plate.warnings == ()


@pytest.mark.parametrize(
    ("label", "noun"),
    [
        ("car logo", "logo"),
        ("side view mirror", "mirror"),
        ("text", "text"),
        ("badge on the car", "badge"),
        ("brand badge of a truck", "badge"),
        ("side-mirror", "mirror"),
        ("logos!", "logos"),
        ("logo 😀", "logo"),
        ("on car", "car"),
    ],
)
def test_the_head_noun_is_what_a_label_is_about(tokenizer, label, noun):
    (prompt,) = prompts(["text", label] if label != "text" else [label], tokenizer, MAX_TEXT)
    start, end = prompt.heads[-1]
    assert prompt.spans[-1][0] <= start < end <= prompt.spans[-1][1]
    assert list(prompt.ids[start:end]) == tokenizer.encode(noun, add_special_tokens=False)


def test_the_pieces_of_a_word_are_one_word():
    assert head(["side", "number", "##plate"], "[UNK]") == (1, 3)
    assert head(["number", "##plate", "of", "a", "car"], "[UNK]") == (0, 2)
    assert head(["mirror", "(", "left", ")"], "[UNK]") == (0, 1)
    assert head(["!", "!"], "[UNK]") == (0, 2)


def test_the_stops_between_labels_and_the_padding_do_not_count(tokenizer):
    _, _, cache = detector(tokenizer, [BOX], [{"text": [0.3]}], separator=0.02)
    model = cache.take("grounding-dino")[0].model

    def loud_borders(output):
        for at, number in enumerate(model.asked[-1]):
            if number in (CLS, SEP, STOP):
                output.logits[0, 0, at] = 9.0
        output.logits[0, 0, len(model.asked[-1]) :] = 9.0
        return output

    model.change = loud_borders
    assert [(f.label, pytest.approx(f.score)) for f in make_find(cache)(picture(), WHOLE, DEFAULT)] == [("text", 0.3)]


def test_what_no_word_answers_to_is_noise(tokenizer):
    least = TEXT_THRESHOLD
    _, _, cache = detector(tokenizer, [BOX, BOX], [{"text": [least + 0.001]}, {"text": [least - 0.001]}])
    assert [f.score for f in make_find(cache)(picture(), WHOLE, DEFAULT)] == [pytest.approx(least + 0.001)]


def test_boxes_are_in_the_pixels_of_the_square(tokenizer):
    _, images, cache = detector(tokenizer, [(0.5, 0.25, 0.5, 0.1)], [{"text": [0.9]}])
    rgb = picture()
    (found,) = make_find(cache)(rgb, (40.0, 100.0, 240.0, 200.0), ["text"])
    assert (images.seen[0] == rgb[100:200, 40:240]).all()
    np.testing.assert_allclose(found.quad, [[90, 120], [190, 120], [190, 130], [90, 130]], atol=1e-4)
    assert found.quad.dtype == np.float32


def test_boxes_end_at_the_crop_and_those_without_a_pixel_are_dropped(tokenizer):
    boxes = [(0.0, 0.5, 0.4, 0.2), (0.5, 0.5, 0.004, 0.5), (0.5, 0.5, 0.5, 0.0), (1.3, 0.5, 0.4, 0.4)]
    _, _, cache = detector(tokenizer, boxes, [{"text": [0.9]}] * 4)
    (found,) = make_find(cache)(picture(), (40.0, 100.0, 240.0, 200.0), ["text"])
    assert found.box == pytest.approx((40, 140, 80, 160), abs=1e-4)


def test_every_label_of_several_prompts_is_found(tokenizer):
    labels = [f"badge {number} of the car" for number in range(100)]
    model, _, cache = detector(tokenizer, [BOX], [{label: [0.5, 0.5] for label in labels}])
    found = make_find(cache)(picture(), WHOLE, labels)
    assert len(model.asked) > 1
    assert len(found) == len(model.asked)  # one box, its best label in each prompt
    assert {f.label for f in found} <= set(labels)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("logits", lambda x: x[0]),
        ("logits", lambda x: x[:, :-1]),
        ("logits", lambda x: x[:, :, :5]),
        ("pred_boxes", lambda x: x[0]),
        ("pred_boxes", lambda x: x[..., :3]),
        ("pred_boxes", lambda x: x.repeat(2, 1, 1)),
        ("logits", lambda x: torch.full_like(x, torch.nan)),
        ("logits", lambda x: torch.full_like(x, torch.inf)),
        ("pred_boxes", lambda x: torch.full_like(x, torch.nan)),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_not_nothing_found(tokenizer, part, change):
    model, _, cache = detector(tokenizer, [BOX, BOX], [{"text": [0.9]}] * 2)

    def broken(output):
        setattr(output, part, change(getattr(output, part)))
        return output

    model.change = broken
    with pytest.raises(RuntimeError, match="grounding-dino returned"):
        make_find(cache)(picture(), WHOLE, DEFAULT)


def test_nothing_to_look_for_and_nowhere_to_look(tokenizer):
    model, _, cache = detector(tokenizer, [BOX], [{"text": [0.9]}])
    assert make_find(cache)(picture(), WHOLE, []) == []
    assert make_find(cache)(picture(), (10.2, 10.2, 10.8, 200.0), ["text"]) == []
    assert model.asked == []


# --- through the logic that both engines share ---


def removed(cache, rgb, **settings):
    return sanitized(cache, rgb, **settings).removed


def sanitized(cache, rgb, **settings):
    frame = Frame.fit(rgb.shape[1], rgb.shape[0], rgb.shape[0])
    matte = Matte(np.full(rgb.shape[:2], 255, np.uint8), None)

    def boxes(rgb, found):
        masks = np.zeros((len(found), *rgb.shape[:2]), bool)
        for mask, one in zip(masks, found, strict=True):
            x0, y0, x1, y1 = (int(v) for v in one.box)
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
        return list(masks)

    black = {"mask": boxes, "inpaint": lambda rgb, mask: np.zeros_like(rgb)}
    steps = stand_in_steps(name="neural", finds=frozenset({ANY_LABEL}), find=make_find(cache), **black)
    return sanitize(Vehicle(rgb, frame, matte), DEFAULT, steps, replace(SanitizeSettings(), **settings), Progress())


def test_the_threshold_applies(tokenizer):
    boxes = [(0.2 * k + 0.1, 0.5, 0.1, 0.1) for k in range(5)]
    _, _, cache = detector(tokenizer, boxes, [{"text": [s]} for s in (0.9, 0.6, 0.4, 0.34, 0.26)])
    counts = {t: len(removed(cache, picture(), score_threshold=t)) for t in (0.1, 0.35, 0.5, 0.95)}
    assert counts == {0.1: 5, 0.35: 3, 0.5: 2, 0.95: 0}


def test_a_box_around_the_whole_vehicle_is_not_text(tokenizer):
    _, _, cache = detector(tokenizer, [(0.5, 0.5, 0.98, 0.98), BOX], [{"text": [0.99]}, {"sticker": [0.8]}])
    assert [f.label for f in removed(cache, picture())] == ["sticker"]


# --- vehicles ---


def test_vehicles_come_best_first_above_their_threshold_and_once(tokenizer):
    boxes = [(0.3, 0.5, 0.4, 0.4), (0.31, 0.5, 0.4, 0.4), (0.8, 0.5, 0.2, 0.2), (0.5, 0.1, 0.1, 0.1)]
    _, _, cache = detector(tokenizer, boxes, [{"truck": [0.6]}, {"car": [0.8]}, {"bus": [0.9]}, {"car": [0.29]}])
    rgb = picture()
    assert [f.label for f in make_locate(make_find(cache))(rgb)] == ["bus", "car"]
    assert [f.label for f in make_locate(make_find(cache), score_threshold=0.2)(rgb)] == ["bus", "car", "car"]
    assert [f.label for f in make_locate(make_find(cache), score_threshold=0.85)(rgb)] == ["bus"]
    assert [f.label for f in make_locate(make_find(cache), same_thing=0.99)(rgb)] == ["bus", "car", "truck"]


def test_vehicles_are_asked_for_by_themselves_and_not_with_what_is_removed(tokenizer):
    model, _, cache = detector(tokenizer, [BOX], [{"car": [0.9]}])
    make_locate(make_find(cache))(picture())
    assert model.asked == [tokenizer(". ".join(VEHICLES) + ".")["input_ids"]]


# --- the network ---


@pytest.fixture
def cache(tiny_volume):
    return ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), None)


def test_the_network_finds_in_the_region_what_was_asked_for(cache):
    region, find = (30.0, 50.0, 230.0, 180.0), make_find(cache)
    found = find(picture(), region, DEFAULT)
    assert found == sorted(found, key=lambda f: -f.score)
    assert len({f.label for f in found}) > 1
    for one in found:
        assert one.label in DEFAULT
        assert TEXT_THRESHOLD <= one.score <= 1
        assert one.quad.shape == (4, 2)
        x0, y0, x1, y1 = one.box
        assert region[0] <= x0 < x1 <= region[2]
        assert region[1] <= y0 < y1 <= region[3]
    again = find(picture(), region, DEFAULT)
    assert [(f.label, f.score, f.quad.tobytes()) for f in again] == [(f.label, f.score, f.quad.tobytes()) for f in found]
    assert cache.loads["grounding-dino"] == 1


def test_boxes_and_best_scores_are_those_of_the_librarys_own_reading(cache):
    rgb = picture()
    ours = make_find(cache)(rgb, WHOLE, ["text"])
    (network,) = cache.take("grounding-dino")
    inputs = network.processor(images=rgb, text="text.", return_tensors="pt")
    with torch.no_grad():
        output = network.model(**inputs)
    output.logits[:, :, [0, 2, 3]] = -torch.inf  # [CLS], the stop and [SEP], which the library counts too
    read = network.processor.post_process_grounded_object_detection
    (theirs,) = read(output, threshold=TEXT_THRESHOLD, text_threshold=0, target_sizes=[(256, 256)])
    assert len(ours) == len(theirs["scores"]) > 0
    order = theirs["scores"].argsort(descending=True, stable=True)
    np.testing.assert_allclose([f.score for f in ours], theirs["scores"][order], rtol=1e-5)
    wanted = {tuple(np.round(box.clamp(0, 256).numpy(), 2)) for box in theirs["boxes"]}
    assert {tuple(np.round(np.float32(f.box), 2)) for f in ours} == wanted


def test_the_networks_thresholds_apply(cache):
    rgb, settings = picture(), {"box_size_cap": 1.0, "same_thing": 1.0}
    low, high = (len(removed(cache, rgb, score_threshold=t, **settings)) for t in (0.1, 0.99))
    assert low > high


def test_a_prompt_too_many_costs_nothing_but_time(cache):
    found = make_find(cache)(picture(), WHOLE, [f"badge {number} of the car" for number in range(60)])
    assert found


@pytest.mark.parametrize("region", [(0.0, 0.0, 1.0, 1.0), (10.0, 10.0, 12.0, 250.0), (10.0, 10.0, 250.0, 11.0)])
def test_narrow_regions(cache, region):
    make_find(cache)(picture(), region, ["text"])


def test_a_network_that_returns_nan_is_an_error(cache):
    (network,) = cache.take("grounding-dino")
    with torch.no_grad():
        next(network.model.bbox_embed.parameters()).fill_(torch.nan)
    with pytest.raises(RuntimeError, match="grounding-dino returned numbers that are not finite"):
        make_find(cache)(picture(), WHOLE, DEFAULT)
