"""The vehicle's matte by BiRefNet (Zheng et al., 2024), within a box or in the whole photo."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model_cache.cache import ModelCache
from pipeline.errors import Code, JobError
from pipeline.steps import MatteOf
from pipeline.values import Box, Frame, Gray, Mask, Matte, Rgb

Window = tuple[int, int, int, int]
Plane = NDArray[np.float32]

#: What the network was trained on: pictures of this side, whatever their aspect was, normalised with ImageNet's mean and spread.
SIDE = 1024
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MARGIN = 0.15  # of the box's sides, added all round: a box is rough, and the network needs to see what is not vehicle
CORE = 0.5  # share of the box's sides: what reaches into its middle belongs to the vehicle
SMALL = 0.02  # share of the largest part below which a part is a speck
NOTHING = 0.001  # share of the window below which what was cut out is no vehicle

NO_VEHICLE = "No vehicle was found in the photo: tell where it is with vehicle_box, or send a matte."
NOT_THERE = "No vehicle could be cut out where one was expected: tell where it is with vehicle_box, or send a matte."


def make_matte(cache: ModelCache, side: int = SIDE) -> MatteOf:
    """The step `matte`, with the network that `cache` holds as "birefnet" working at `side` × `side`, a multiple of 32.

    The step takes `rgb` (S, S, 3) uint8 sRGB, the photo in `frame.at(S).content`, and a box in the square's pixels or None. Alpha is
    0 outside the box widened by `MARGIN`, and outside the photo. The confidence 0..1 is the IoU that the network expects of its own
    mask: the probabilities' sum inside, over the mask's pixels and the probabilities' sum outside.
    Raises JobError NO_VEHICLE when nothing is cut out, RuntimeError when the network answers with a wrong shape or a NaN, ValueError
    when the box does not meet the photo.
    """
    if side <= 0 or side % 32:
        raise ValueError(f"BiRefNet works at multiples of 32 pixels, not at {side}")

    def matte(rgb: Rgb, frame: Frame, box: Box | None) -> Matte:
        window = window_of(frame.at(len(rgb)), box)
        x0, y0, x1, y1 = window
        p = probability(cache, rgb[y0:y1, x0:x1], side)
        soft = np.rint(255 * p).astype(np.uint8)
        place = None if box is None else (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)
        kept = vehicle_only(soft, place)
        inside = kept > 127
        if np.count_nonzero(inside) < max(1.0, NOTHING * inside.size):
            raise JobError(Code.NO_VEHICLE, NO_VEHICLE if box is None else NOT_THERE)
        alpha = np.zeros(rgb.shape[:2], np.uint8)
        alpha[y0:y1, x0:x1] = kept
        return Matte(alpha, expected_iou(p, inside))

    return matte


def window_of(frame: Frame, box: Box | None) -> Window:
    """The whole pixels of the square that the network sees: the photo's, or the widened box's within the photo.

    Raises ValueError when the box does not meet the photo.
    """
    a, b, c, d = frame.content
    if box is not None:
        dx, dy = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
        a, b, c, d = max(a, box[0] - dx), max(b, box[1] - dy), min(c, box[2] + dx), min(d, box[3] + dy)
    # Inwards, so that no pixel is half margin of the square.
    x0, y0, x1, y1 = (int(np.ceil(a - 1e-6)), int(np.ceil(b - 1e-6)), int(np.floor(c + 1e-6)), int(np.floor(d + 1e-6)))
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"the box {box} does not meet the photo's content {frame.content}")
    return x0, y0, x1, y1


@torch.inference_mode()
def probability(cache: ModelCache, rgb: Rgb, side: int) -> Plane:
    """(h, w) float32 0..1: how probably each pixel of `rgb` (h, w, 3) belongs to the salient thing. Raises RuntimeError."""
    (net,) = cache.take("birefnet")
    picture = torch.from_numpy(np.ascontiguousarray(rgb)).to(cache.device).permute(2, 0, 1)[None].float() / 255
    small = functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)
    mean, spread = (torch.tensor(values, device=cache.device)[None, :, None, None] for values in (MEAN, SPREAD))
    logits = net(((small - mean) / spread).to(cache.dtype("birefnet")))
    if tuple(logits.shape) != (1, 1, side, side):
        raise RuntimeError(f"birefnet answered with the shape {tuple(logits.shape)}, not {(1, 1, side, side)}")
    if not bool(torch.isfinite(logits).all()):
        raise RuntimeError("birefnet answered with values that are no finite numbers")
    # In float32: half a step of float16 near 1 is a visible step of alpha.
    p = functional.interpolate(logits.float().sigmoid(), rgb.shape[:2], mode="bilinear", antialias=True)
    return np.asarray(p[0, 0].cpu().numpy(), np.float32)


def vehicle_only(alpha: Gray, box: Box | None) -> Gray:
    """`alpha` (h, w) without the parts that do not belong to the vehicle; soft pixels go with the part they are nearest to.

    A part is a connected area of alpha above 127. One that reaches into the box's core stays; any other must hold `SMALL` of the
    largest and lie mostly in the box. Without a box, size alone decides. Holes stay as they are.
    """
    hard = alpha > 127
    if not hard.any():
        return np.zeros_like(alpha)
    _, part = cv2.distanceTransformWithLabels((~hard).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP)
    area = np.bincount(part[hard])
    central, mostly = np.zeros(len(area), bool), area > 0
    if box is not None:
        central[np.unique((part * hard)[_pixels(alpha.shape, box, CORE)])] = True
        central[0] = False
        mostly &= 2 * np.bincount((part * hard)[_pixels(alpha.shape, box, 1.0)].ravel(), minlength=len(area)) > area
    large = area >= SMALL * area[mostly | central].max(initial=0)
    return np.where((central | (mostly & large))[part], alpha, 0).astype(np.uint8)


def _pixels(shape: tuple[int, ...], box: Box, share: float) -> tuple[slice, slice]:
    """The pixels of the box, shrunk about its centre to `share` of its sides, within a picture of `shape`."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    w, h = share * (box[2] - box[0]) / 2, share * (box[3] - box[1]) / 2

    def between(low: float, high: float, end: int) -> slice:
        return slice(min(end, max(0, int(np.floor(low)))), min(end, max(0, int(np.ceil(high)))))

    return between(y - h, y + h, shape[0]), between(x - w, x + w, shape[1])


def expected_iou(p: Plane, inside: Mask) -> float:
    """Expected intersection over expected union of `inside` (h, w) with the vehicle, were `p` (h, w) its pixels' probabilities."""
    own = float(p[inside].sum(dtype=np.float64))
    other = float(p[~inside].sum(dtype=np.float64))
    return own / (int(np.count_nonzero(inside)) + other)
