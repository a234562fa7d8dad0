"""What the doctor asks of each step on its sample picture, by name and with a reason.

The sample is an easy picture, of which everything is known. A limit tells a network that works from one that is wrong: other weights, a
swapped axis, a reversed depth. It is no measure of quality, and none of them was calibrated on the model volume's real weights.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """An answer beyond `value` is suspicious: below it, or above it where `most`. `reason`: why there, a sentence without its stop."""

    name: str
    value: float
    reason: str
    most: bool = False

    def passed(self, answer: float) -> bool:
        """Whether the answer is within the limit."""
        return answer <= self.value if self.most else answer >= self.value


VEHICLE = Limit(
    "the vehicle's box, IoU", 0.7, "a box that is a tenth too large on every side has 0.69; one with swapped axes or corners has far less"
)
PLATE = Limit("the plate's box, IoU", 0.3, "a plate is small: a box half as wide again and twice as high has 0.33")
WITHIN = Limit("a mask's share inside its box", 0.7, "a mask of the panel around the thing has most of itself outside of the box")
FILLED = Limit("a mask's share of its box", 0.05, "the strokes of lettering fill more of their box; a lost mask fills next to nothing")
SEAM = Limit("difference at a mended place's border, CIELAB", 20.0, "nine times what an eye just notices (2.3)", most=True)
MATTE = Limit("the outline, IoU", 0.9, "the embedded engine's outlining network has 0.997 on such a scene")
DEPTH = Limit("how much nearer the road is than the houses, of 255", 30.0, "an eighth of the range; reversed, the difference is negative")
KEPT = Limit("pixels that keep their colour when enlarged, share", 0.9, "enlarging a flat drawing changes colours along its outlines alone")


def told(*limits: Limit) -> dict[str, str]:
    """Limits as the page's facts."""
    return {f"Limit: {it.name}": f"at {'most' if it.most else 'least'} {it.value:g}: {it.reason}" for it in limits}
