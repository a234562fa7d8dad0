"""The palette: 2 to 64 sRGB colours, in the caller's order."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, JobError

DEFAULT = tuple(
    "#" + h
    for h in (
        [
            "000000",
            "FFFFFF",
            "FF0000",
            "00FF00",
            "0000FF",
            "FFFF00",
            "FF00FF",
            "00FFFF",
            "808080",
            "FFA500",
            "800080",
            "FFC0CB",
            "A52A2A",
            "008080",
            "FFD700",
        ]
    )
)
LEAST, MOST = 2, 64
#: Entries that a palette may list, repeated ones counted.
MOST_LISTED = 1000
_HEX = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


@dataclass(frozen=True, slots=True)
class Palette:
    """Distinct colours as `#RRGGBB`, and those the caller wrote more than once."""

    colors: tuple[str, ...]
    repeated: tuple[str, ...] = ()

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(n, 3) uint8 sRGB."""
        return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in self.colors], np.uint8)

    def __len__(self) -> int:
        return len(self.colors)


def shown(text: str, most: int = 40) -> str:
    """A caller's text as a sentence may repeat it: its beginning, on one line, without what cannot be seen or encoded."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:most])


def normalize_hex(text: object) -> str:
    """`#RRGGBB` from 3 or 6 hex digits of any case, `#` optional; raises `INVALID_PALETTE`."""
    if not isinstance(text, str) or not _HEX.fullmatch(text.strip()):
        found = shown(text if isinstance(text, str) else type(text).__name__)
        raise JobError(Code.INVALID_PALETTE, f"A palette colour must be 3 or 6 hex digits, such as FF0000 or #f00, not '{found}'.")
    digits = text.strip().lstrip("#").upper()
    return "#" + (digits if len(digits) == 6 else "".join(d * 2 for d in digits))


def parse(colors: str | Sequence[object] | None) -> Palette:
    """A palette from a list or one comma-separated string; None is the default. Raises `INVALID_PALETTE`.

    A repeated colour counts once, at its first place; a comma at the end counts for nothing.
    """
    if colors is None:
        return Palette(DEFAULT)
    if isinstance(colors, str):
        colors = colors.strip().removesuffix(",")
    listed = colors.count(",") + 1 if isinstance(colors, str) else len(colors)
    if listed > MOST_LISTED:
        raise JobError(Code.INVALID_PALETTE, f"A palette lists {MOST_LISTED:,} colours at most, repeated ones counted, not {listed:,}.")
    items: Iterable[object] = colors.split(",") if isinstance(colors, str) else colors
    if isinstance(colors, str) and not colors.strip():
        items = []
    seen = [normalize_hex(c) for c in items]
    unique = tuple(dict.fromkeys(seen))
    if not LEAST <= len(unique) <= MOST:
        raise JobError(Code.INVALID_PALETTE, f"A palette holds {LEAST} to {MOST} different colours, not {len(unique)}.")
    return Palette(unique, tuple(c for c in unique if seen.count(c) > 1))
