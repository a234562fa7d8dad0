"""How sure an outline is: the expected IoU with the true one, judged by its signs.

Calibrated on thirteen photographs and on the same spoiled in seven ways (`python -m bench.vehicle --doubt`, which also tells how it does on
cases that were not used for the calibration).
"""

from dataclasses import dataclass

#: The expected IoU falls by the soft pixels' share times this.
LOST = 0.6
#: Signs that an outline holds two vehicles: the second piece's least share when narrow places are worn away, and the least stretch;
#: a single vehicle seen from its side reaches 3.8, a lorry with its trailer about 4.6.
TWO_HALVES, TWO_LONG = 0.06, 4.7
#: Another vehicle of at least this share of the chosen one's area may be the one that is meant.
RIVAL = 0.4
#: Below this verdict the outlined part is hardly like a vehicle.
UNLIKE = 0.3
#: A box that overlaps the outline's bounds by less (IoU) points at something else.
ASIDE = 0.6
#: Factors of the expected IoU for these signs, and the expected IoU of a close-up's frame and of a cut by colours alone.
TWO, OTHER, CLOSE_UP, COLOURS = 0.5, 0.7, 0.6, 0.7


@dataclass(frozen=True, slots=True)
class Signs:
    """What speaks against an outline.

    `soft`: pixels between 0.1 and 0.9 near the outline, as a share of its area; `halves`: the second largest piece when narrow places
    are worn away, as a share of the area; `stretch`: the bounds' width by their height, over the solidity; `verdict` 0..1 of the network
    that knows vehicles, None without one; `rival`: the next vehicle's area as a share of this one's; `fit`: IoU of the bounds with the
    box that was given, None without one.
    """

    soft: float = 0.0
    halves: float = 0.0
    stretch: float = 0.0
    verdict: float | None = None
    rival: float = 0.0
    fit: float | None = None


def confidence(signs: Signs) -> float:
    """The expected IoU, 0..1."""
    expected = 1 - LOST * min(1.0, signs.soft)
    if signs.fit is None and (signs.halves >= TWO_HALVES or signs.stretch >= TWO_LONG or signs.rival >= RIVAL):
        expected *= TWO  # with a box the caller has chosen among them
    if signs.verdict is not None and signs.verdict < UNLIKE:
        expected *= OTHER
    if signs.fit is not None and signs.fit < ASIDE:
        expected *= OTHER
    return expected
