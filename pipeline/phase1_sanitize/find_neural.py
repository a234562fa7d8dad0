"""Anything that has a name, by GroundingDINO (Liu and others, 2023).

A box's score for a label is the greatest sigmoid among that label's own tokens, read from the network's logits, where its head noun
reaches `TEXT_THRESHOLD`; else none. Without that a box around the whole car is a "car logo" as surely as it is a car. The greatest and not
the mean: the detector's box threshold is meant for it, and "side" and "view" hardly answer on a real side view mirror, so that a mean of
the three would lose it. The processor's own reading glues together the tokens above the text threshold, which may be words of two labels
or half of one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.prompt_neural import Prompt, prompts
from pipeline.steps import Find
from pipeline.values import Box, Found, Rgb

if TYPE_CHECKING:
    from model_cache.cache import ModelCache

MODEL = "grounding-dino"
#: Least score of a label's head noun, the published text threshold. What is worth removing is decided by a threshold of the caller's.
TEXT_THRESHOLD = 0.25


def make_find(cache: "ModelCache", model: str = MODEL) -> Find:
    """The step that finds any labels: everything from `TEXT_THRESHOLD` up, best first, each box under its best label.

    The same thing may be boxed several times. Raises JobError INVALID_INPUT for labels that cannot be asked for, and
    `RuntimeError` when the network's answer is not one (shape, NaN).
    """

    def find(rgb: Rgb, region: Box, labels: Sequence[str]) -> list[Found]:
        return _detect(cache, model, rgb, region, labels)

    return find


def _detect(cache: "ModelCache", model: str, rgb: Rgb, region: Box, labels: Sequence[str]) -> list[Found]:
    """What the network sees in `region` of `rgb` (S, S, 3); the crop gets the network's whole resolution."""
    rows, columns = quads.window(region)
    crop = np.ascontiguousarray(rgb[rows, columns])
    if not crop.size or not labels:
        return []
    (loaded,) = cache.take(model)
    found: list[Found] = []
    with torch.inference_mode():
        shown = loaded.processor.image_processor(images=crop, input_data_format="channels_last", device=cache.device, return_tensors="pt")
        picture = {
            "pixel_values": shown["pixel_values"].to(cache.device, cache.dtype(model)),
            "pixel_mask": shown["pixel_mask"].to(cache.device),
        }
        for prompt in prompts(labels, loaded.processor.tokenizer, loaded.model.config.max_text_len):
            ids = torch.tensor([prompt.ids], device=cache.device)
            text = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": torch.ones_like(ids)}
            scores, boxes = _answer(loaded.model(**picture, **text), prompt)
            found += _found(scores, boxes, prompt.labels, crop.shape[1], crop.shape[0], (columns.start, rows.start))
    return sorted(found, key=lambda f: (-f.score, f.label, f.box))


def _answer(output: Any, prompt: Prompt) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (Q, labels) 0..1, 0 where the head noun does not answer, and boxes (Q, 4): centre, width and height in shares of the picture.

    Both are checked.
    """
    logits, boxes = output.logits, output.pred_boxes
    queries = boxes.shape[1] if boxes.ndim == 3 else 0
    if boxes.shape != (1, queries, 4) or logits.ndim != 3 or logits.shape[:2] != (1, queries) or logits.shape[2] < len(prompt.ids):
        raise RuntimeError(f"{MODEL} returned logits {tuple(logits.shape)} and boxes {tuple(boxes.shape)} for {len(prompt.ids)} tokens")
    best, heads = (torch.stack([logits[0, :, a:b].amax(1) for a, b in part], dim=1) for part in (prompt.spans, prompt.heads))
    answered = heads.float().sigmoid() >= TEXT_THRESHOLD
    scores = torch.where(answered, best.float().sigmoid(), 0.0).cpu().numpy()
    places = boxes[0].float().cpu().numpy()
    # amax passes a NaN on; a sigmoid hides an infinity, so the logits themselves are asked.
    if not (bool(torch.isfinite(best).all()) and np.isfinite(places).all()):
        raise RuntimeError(f"{MODEL} returned numbers that are not finite")
    return scores, places


def _found(
    scores: NDArray[np.float32], boxes: NDArray[np.float32], labels: Sequence[str], width: int, height: int, origin: tuple[int, int]
) -> list[Found]:
    """The boxes that are something, in the pixels of the square that the crop (`width` × `height` at `origin`) is from."""
    names, best = scores.argmax(1), scores.max(1)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    corners = corners.clip(0, 1) * np.array([width, height, width, height], np.float32)
    wide = (corners[:, 2] - corners[:, 0] >= 1) & (corners[:, 3] - corners[:, 1] >= 1)
    found = []
    for query in np.flatnonzero(wide & (best > 0)):
        x0, y0, x1, y1 = corners[query]
        quad = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32) + np.array(origin, np.float32)
        found.append(Found(labels[names[query]], float(best[query]), quad))
    return found
