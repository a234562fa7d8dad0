"""The twin of `ciede2000` for pictures that are on a GPU already: the same labels, term by term. Imports torch."""

import math

import torch

from pipeline.palette import Palette
from pipeline.phase3_enforce.ciede2000 import TIE, colors_of, lab_of

_TWO_PI = 2 * math.pi
_25_POW_7 = 25.0**7


def _squared(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Squared ΔE00 of (3,) and (n, 3) CIELAB float64 → (n,); Sharma, Wu, Dalal (2005), equations 2 to 22."""
    (L1, a1, b1), (L2, a2, b2) = first, second.unbind(1)
    mean_c7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - torch.sqrt(mean_c7 / (mean_c7 + _25_POW_7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    C1, C2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1) % _TWO_PI, torch.atan2(b2, a2) % _TWO_PI
    grey = C1 * C2 == 0
    h1, h2 = torch.where(C1 > 0, h1, 0.0), torch.where(C2 > 0, h2, 0.0)
    dh, total = h2 - h1, h1 + h2
    around = torch.where(total < _TWO_PI, total + _TWO_PI, total - _TWO_PI)
    hue = torch.where(grey, total, torch.where(dh.abs() <= math.pi, total, around) / 2)
    dh = torch.where(dh > math.pi, dh - _TWO_PI, torch.where(dh < -math.pi, dh + _TWO_PI, dh))
    dh = torch.where(grey, 0.0, dh)
    dL, dC, dH = L2 - L1, C2 - C1, 2 * torch.sqrt(C1 * C2) * torch.sin(dh / 2)
    C = (C1 + C2) / 2
    T = (
        1
        - 0.17 * torch.cos(hue - math.pi / 6)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    c7 = C**7
    turn = math.radians(30) * torch.exp(-(((torch.rad2deg(hue) - 275) / 25) ** 2))
    rotation = -torch.sin(2 * turn) * 2 * torch.sqrt(c7 / (c7 + _25_POW_7))
    middle = ((L1 + L2) / 2 - 50) ** 2
    lightness = dL / (1 + 0.015 * middle / torch.sqrt(20 + middle))
    chroma = dC / (1 + 0.045 * C)
    tint = dH / (1 + 0.015 * C * T)
    squared: torch.Tensor = lightness * lightness + chroma * chroma + tint * tint + rotation * chroma * tint
    return squared


def nearest(lab: torch.Tensor, palette: torch.Tensor) -> torch.Tensor:
    """Index of the nearest palette colour: (n, 3) and (k, 3) CIELAB float64 → (n,) uint8; the earlier colour wins a tie (`TIE`)."""
    best = torch.full((len(lab),), math.inf, dtype=torch.float64, device=lab.device)
    index = torch.zeros(len(lab), dtype=torch.uint8, device=lab.device)
    for j, color in enumerate(palette):
        d = _squared(color, lab)
        nearer = d < best - TIE
        best = torch.where(nearer, d, best)
        index = index.masked_fill(nearer, j)
    return index


def label(rgb: torch.Tensor, palette: Palette) -> torch.Tensor:
    """The palette index of every pixel: (H, W, 3) uint8 sRGB on any device → (H, W) uint8 there, as `ciede2000.label` answers.

    Only the distinct colours are computed, in float64, through a table of all 2^24. Their CIELAB comes from the one conversion
    of `pipeline.color`, so that both twins compare the very same numbers.
    """
    wide = rgb.to(torch.int32)
    code = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    table = torch.zeros(1 << 24, dtype=torch.uint8, device=rgb.device)
    table[code] = 1
    present = table.nonzero()[:, 0]
    lab = torch.from_numpy(lab_of(colors_of(present.cpu().numpy()))).to(rgb.device)
    table[present] = nearest(lab, torch.from_numpy(lab_of(palette.rgb)).to(rgb.device))
    return table[code]
