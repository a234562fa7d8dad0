"""What camera and shadow have to know of each vehicle's form."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.sample import body, pickup_form
from pipeline.sample.fields import Array
from pipeline.sample.look import Look

Extent = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Form:
    """`extent`: the bounding box in x, y and z; the body lies between the heights `floor` and `roof`, metres.

    `half_width` tells half its width (N,) at positions x (N,) at one height; at the height `sill` its outline shades the ground.
    """

    extent: Extent
    floor: float
    roof: float
    sill: float
    half_width: Callable[[Array, float], Array]


CAR = Form(((-2.06, 2.17), (0.0, 1.45), (-0.95, 0.95)), body.FLOOR, body.ROOF, 0.3, body.half_width)
PICKUP = Form(pickup_form.EXTENT, pickup_form.FLOOR, pickup_form.ROOF, 0.45, pickup_form.half_width)


def form(look: Look) -> Form:
    """The form of a look's vehicle."""
    return PICKUP if look.kind == "pickup" else CAR
