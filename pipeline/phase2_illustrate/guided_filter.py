"""The guided filter with a colour guide, inside a mask: smooths one picture along the edges of another.

Source: He, Sun, Tang, "Guided Image Filtering", ECCV 2010, equations 19 to 21. Windows are averaged over the mask's pixels only,
so nothing bleeds in from outside the mask. The time does not depend on the radius.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.values import Mask


def box_mean(picture: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Mean over the (2·radius + 1)² window; beyond the frame counts as zero."""
    side = 2 * radius + 1
    return cv2.blur(picture, (side, side), borderType=cv2.BORDER_CONSTANT).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class GuidedFilter:
    """A guide made ready: its window means and inverse window covariances, shared by every picture that it filters.

    `guide`, `mean` (H, W, 3); `inverse` (H, W, 6) as rr, rg, rb, gg, gb, bb; `weight` (H, W) 1 inside, 0 outside;
    `per_window` (H, W) the inverse of the share of each window that lies inside.
    """

    guide: NDArray[np.float32]
    mean: NDArray[np.float32]
    inverse: NDArray[np.float32]
    weight: NDArray[np.float32]
    per_window: NDArray[np.float32]
    radius: int

    @classmethod
    def of(cls, guide: NDArray[np.float32], inside: Mask, radius: int, epsilon: float) -> "GuidedFilter":
        """Prepare a guide (H, W, 3) in any unit; `epsilon` is in that unit squared: contrast below its root counts as flat."""
        weight = inside.astype(np.float32)
        share = box_mean(weight, radius)
        per_window = np.where(share > 0, 1 / np.maximum(share, 1e-6), 0).astype(np.float32)
        masked = guide * weight[..., None]
        mean = box_mean(masked, radius) * per_window[..., None]
        pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
        rr, rg, rb, gg, gb, bb = (
            box_mean(masked[..., i] * guide[..., j], radius) * per_window - mean[..., i] * mean[..., j] + (epsilon if i == j else 0)
            for i, j in pairs
        )
        # The inverse of a symmetric 3×3 matrix by its adjugate.
        adjugate = (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg, rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg)
        determinant = rr * adjugate[0] + rg * adjugate[1] + rb * adjugate[2]
        return cls(guide, mean, np.stack([m / determinant for m in adjugate], -1), weight, per_window, radius)

    def __call__(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter one channel (H, W); outside the mask the answer is meaningless."""
        masked = picture * self.weight
        mean = box_mean(masked, self.radius) * self.per_window
        r, g, b = np.moveaxis(
            box_mean(self.guide * masked[..., None], self.radius) * self.per_window[..., None] - self.mean * mean[..., None], -1, 0
        )
        rr, rg, rb, gg, gb, bb = np.moveaxis(self.inverse, -1, 0)
        slope = np.stack([rr * r + rg * g + rb * b, rg * r + gg * g + gb * b, rb * r + gb * g + bb * b], -1)
        offset = mean - (slope * self.mean).sum(-1)
        slope = box_mean(slope * self.weight[..., None], self.radius) * self.per_window[..., None]
        offset = box_mean(offset * self.weight, self.radius) * self.per_window
        return np.asarray((slope * self.guide).sum(-1) + offset, np.float32)
