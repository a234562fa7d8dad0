"""A livery's sheets: stripes along the side and over bonnet and roof, a number in a roundel, a team's name."""

from dataclasses import dataclass

from pipeline.sample.canvas import Canvas, Points, arc, curve
from pipeline.sample.fields import Array, Sheet, smoothstep
from pipeline.sample.look import Look

_ROUNDEL, _RADIUS = (0.23, 0.665), 0.205  # on the front door, metres
#: The band along the side: it widens from the front wing to the rear one.
_UPPER: Points = [(2.10, 0.60), (1.50, 0.585), (0.60, 0.56), (-0.40, 0.60), (-1.20, 0.72), (-1.75, 0.92), (-2.10, 1.12)]
_LOWER: Points = [(-2.10, 0.62), (-1.75, 0.52), (-1.20, 0.44), (-0.40, 0.40), (0.60, 0.42), (1.50, 0.50), (2.10, 0.555)]
_RAISED, _PIN = 0.035, 0.022  # of the thin stripe: above the band, its width
_INNER, _OUTER, _SOFT = 0.09, 0.27, 0.004  # of the stripes over the bonnet: from the middle, and their edges' softness


@dataclass(frozen=True, slots=True)
class Livery:
    """Sheets in side coordinates (x, y), each 0..1: where the second paint lies, the roundel's disc, its ring, its number, the name."""

    stripes: Sheet
    disc: Sheet
    ring: Sheet
    number: Sheet
    name: Sheet


def draw(look: Look) -> Livery:
    """The livery of a look that has a second paint."""
    stripes, disc, ring, number, name = (Canvas.blank(-2.15, 2.2, 0.12, 1.47, 640) for _ in range(5))
    stripes.fill(curve(_UPPER) + curve(_LOWER))
    stripes.line([(x, y + _RAISED) for x, y in curve(_UPPER)], _PIN)
    disc.fill(arc(*_ROUNDEL, _RADIUS, 0, 360, 90))
    ring.line(arc(*_ROUNDEL, _RADIUS - 0.008, 0, 360, 90), 0.016, closed=True)
    number.text(look.number, _ROUNDEL, 0.20, 1.0, 10, look.mirrored)
    name.text(look.team, (0.06, 0.325), 0.082, 1.45, 9, look.mirrored)
    return Livery(stripes.sheet(0.001), disc.sheet(0.001), ring.sheet(0.001), number.sheet(), name.sheet())


def over(z: Array, facing: Array) -> Array:
    """Cover (N,) of the two stripes over bonnet and roof, from the distance to the middle and the normals' height."""
    away = abs(abs(z) - (_INNER + _OUTER) / 2)
    half = (_OUTER - _INNER) / 2
    return smoothstep(half + _SOFT, half - _SOFT, away) * smoothstep(0.30, 0.45, facing)
