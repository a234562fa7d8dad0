"""The caller's own outline, a matte or an alpha channel, and whether it really is an outline.

It serves all engines. Where there is a network, its look at the photo settles only what geometry cannot.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.color import srgb_to_lab
from pipeline.intake.photo import GivenMatte, turned_upright
from pipeline.phase0_vehicle.looks import Grid, look_at, whole
from pipeline.phase0_vehicle.outline import Outline
from pipeline.raster import carried_outwards, ellipse, mask_iou
from pipeline.steps import Look
from pipeline.values import Gray, Mask, Photo, Rgb

#: An opaque part that fills this much of its smallest rectangle is a picture's frame, not an outline; so is one that takes more than
#: half of so many borders.
FRAME_FILL, FRAME_BORDERS = 0.97, 3
#: A matte that covers more, or less, of the photo than this can hardly be meant.
NEARLY_ALL, NEARLY_NOTHING = 0.97, 0.002
#: A matte fits a look that it overlaps by the first (IoU), and does not fit below the second.
FITS, FITS_NOT = 0.7, 0.35
#: Side at which shadows of cut-outs are looked for, pixels.
SIDE = 1024
#: A soft rim is thinner than this share of the longer side; wider soft areas are shadows or glass.
RIM = 0.006
#: A shadow has at least this share of the opaque area, and is dark (L*) and nearly colourless (C*).
SHADOW_AREA, SHADOW_LIGHT, SHADOW_CHROMA = 0.004, 45.0, 14.0

ALPHA_IGNORED = "ALPHA_IGNORED: The picture's alpha channel is the shape of a picture, not of a vehicle, and was ignored."
TURNED = "MATTE_ODD: The matte was made before the photo was turned upright, and was turned with it."
INVERTED = "MATTE_ODD: The matte was black on white, and was inverted."
LOOKS_INVERTED = "MATTE_ODD: The matte covers the photo's borders and not its middle; it looks inverted (white is the vehicle)."
SHADOW = "SHADOW_LEFT_OUT: A shadow that hung on the cut-out was left out of the vehicle."


@dataclass(frozen=True, slots=True)
class Known:
    """`outline` as the caller gave it, None where he gave none that can be used; `cut_out`: it is the photo's own alpha channel."""

    outline: Outline | None
    cut_out: bool
    warnings: tuple[str, ...]


def known(photo: Photo, matte: GivenMatte | None, look: Look | None) -> Known:
    """The caller's own outline: his matte first, then an alpha channel that is a cut-out."""
    if matte is not None:
        alpha, told = _meant(photo, matte.alpha, look)
        return Known(_outline(alpha), False, (*matte.warnings, *told))
    if photo.alpha is None:
        return Known(None, False, ())
    if not is_cut_out(photo.alpha):
        return Known(None, False, (ALPHA_IGNORED,))
    shadow = _shadow(photo, photo.alpha, look)
    if not shadow.any():
        return Known(_outline(photo.alpha), True, ())
    return Known(_outline(np.where(shadow, 0, photo.alpha).astype(np.uint8)), True, (SHADOW,))


def without_canvas(photo: Photo) -> Rgb:
    """The photo (H, W, 3), its transparent part filled with the nearest opaque pixels' colours, so that no edge stands out."""
    if photo.alpha is None or (opaque := photo.alpha > 127).all() or not opaque.any():
        return photo.rgb
    return carried_outwards(photo.rgb, opaque)[0]


def is_cut_out(alpha: Gray) -> bool:
    """Whether an alpha channel (H, W) is an outline: not the rectangle, upright or turned, of a picture, nor what fills the frame."""
    opaque = (alpha > 127).astype(np.uint8)
    if not opaque.any():
        return False
    points, area = cv2.findNonZero(opaque), float(opaque.sum())
    (_, (width, height), _), (_, _, columns, rows) = cv2.minAreaRect(points), cv2.boundingRect(points)
    fills = area / min(max(1.0, (width + 1) * (height + 1)), columns * rows)
    borders = sum(float(side.mean()) > 0.5 for side in (opaque[0], opaque[-1], opaque[:, 0], opaque[:, -1]))
    return fills < FRAME_FILL and borders < FRAME_BORDERS


def _outline(alpha: Gray) -> Outline:
    return Outline(alpha, _grid(alpha), None)


def _grid(picture: Gray) -> Grid:
    """The whole photo at its own size."""
    height, width = picture.shape
    return Grid((0, 0, width, height), width, height)


def _meant(photo: Photo, matte: Gray, look: Look | None) -> tuple[Gray, tuple[str, ...]]:
    """The matte as it was meant, and what is odd about it. It is changed only where a look at the photo says so."""
    hard = matte > 127
    borders = sum(float(side.mean()) > 0.5 for side in (hard[0], hard[-1], hard[:, 0], hard[:, -1]))
    share = float(hard.mean())
    inverted = borders >= FRAME_BORDERS and share < NEARLY_ALL
    # only for a turned photo: a half turn, a mirroring or a square does not show in the aspect
    may_be_turned = photo.orientation != 1 and not inverted
    if look is not None and (inverted or may_be_turned):
        other, what = (turned_upright(matte, photo.orientation), TURNED) if may_be_turned else (255 - matte, INVERTED)
        seen = look_at(photo.rgb, whole(photo.rgb), look).on(_grid(matte)) > 0.5
        if other.shape == matte.shape and mask_iou(seen, hard) < FITS_NOT and mask_iou(seen, other > 127) > FITS:
            return np.ascontiguousarray(other), (what,)
    if inverted:
        return matte, (LOOKS_INVERTED,)
    if share > NEARLY_ALL or share < NEARLY_NOTHING:
        return matte, (f"MATTE_ODD: The matte covers {100 * share:.2g} % of the photo; white is the vehicle.",)
    return matte, ()


def _shadow(photo: Photo, alpha: Gray, look: Look | None) -> Mask:
    """(H, W) what of a cut-out is its shadow on the ground: a wide soft area beside the opaque one, or, where a network looks, a dark
    area that it does not take for a part of what stands out."""
    h, w = alpha.shape
    k = min(1.0, SIDE / max(h, w))
    size = (max(1, round(w * k)), max(1, round(h * k)))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    rgb = cv2.resize(photo.rgb, size, interpolation=cv2.INTER_AREA)
    lab = srgb_to_lab(np.asarray(rgb, np.uint8))
    dark = (lab[..., 0] < SHADOW_LIGHT) & (np.hypot(lab[..., 1], lab[..., 2]) < SHADOW_CHROMA)
    opaque, drawn = small > 247, small > 8
    wide = _opened(drawn & ~opaque, RIM * max(size))
    if look is not None:
        p = look_at(_on_ground(photo, alpha), whole(photo.rgb), look).on(Grid((0, 0, w, h), *size))
        doubted = _opened(drawn & (p < 0.3), RIM * max(size))
        found = (wide & (p < 0.5)) | (doubted & dark)
    else:
        found = wide & dark
    found = _outer(found, drawn, SHADOW_AREA * float(opaque.sum()))
    if not found.any():
        return np.zeros((h, w), bool)
    # its own soft edge goes with it, the vehicle's stays
    grown = cv2.dilate(found.astype(np.uint8), ellipse(2 * RIM * max(size))) > 0
    grown &= found | ~opaque
    return np.asarray(cv2.resize(grown.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST) > 0, bool)


def _on_ground(photo: Photo, alpha: Gray) -> Rgb:
    """The cut-out on a plain ground that is far from its own tones, for the network to look at."""
    opaque = alpha > 247
    tone = float(np.median(photo.rgb[opaque].mean(-1))) if opaque.any() else 0.0
    ground = 225.0 if tone < 150 else 90.0
    a = (alpha.astype(np.float32) / 255)[..., None]
    return np.rint(photo.rgb * a + ground * (1 - a)).astype(np.uint8)


def _outer(found: Mask, drawn: Mask, least: float) -> Mask:
    """The areas of at least `least` pixels that lie at the cut-out's rim: soft glass inside it is no shadow."""
    outside = cv2.dilate((~_filled(drawn)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    outside[[0, -1]], outside[:, [0, -1]] = True, True
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    at_rim = np.unique(labels[outside & found])
    kept = [n for n in at_rim if n and stats[n, cv2.CC_STAT_AREA] >= max(4.0, least)]
    return np.isin(labels, kept)


def _filled(mask: Mask) -> Mask:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(out, outlines, -1, 1, cv2.FILLED)
    return out > 0


def _opened(mask: Mask, radius: float) -> Mask:
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, ellipse(radius)) > 0, bool)
