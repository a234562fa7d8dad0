"""What is drawn on the pick-up: windows, gaps, tailgate, tail lamps, plate, lettering; sheets seen from the side or from behind."""

from dataclasses import dataclass

import numpy as np

from pipeline.sample.body import AXLE, WHEELS
from pipeline.sample.canvas import Canvas, Points, arc, curve
from pipeline.sample.decals import plate_sheets
from pipeline.sample.fields import Sheet
from pipeline.sample.look import Look
from pipeline.sample.pickup_form import BED, RAIL

ARCH = 0.392  # the openings' radius
PLATE = (-0.215, 0.462, 0.215, 0.562)  # on the bumper
_WINDOW: Points = [(-0.90, 1.135), (-0.60, 1.45), (-0.50, 1.495), (-0.02, 1.495), (0.045, 1.135)]
_PANE: Points = [(-0.56, 1.17), (-0.505, 1.46), (-0.46, 1.485), (0.46, 1.485), (0.505, 1.46), (0.56, 1.17)]
_GATE: Points = [(-0.695, 0.635), (-0.695, 1.085), (0.695, 1.085), (0.695, 0.635)]
_LAMP = (0.715, 0.655, 0.845, 1.075)  # on one side, z and y
_RINGS = ((0.78, 1.005, 0.056), (0.78, 0.785, 0.056))
_AMBER, _REVERSE = (0.852, 0.938), (0.668, 0.712)  # heights of the indicator and of the reversing lamp
#: A lamp's values in `lamp`: red, amber, white.
RED, AMBER, WHITE = 85, 170, 255


@dataclass(frozen=True, slots=True)
class Sheets:
    """Sheets in side (x, y) or rear (z, y) coordinates, each 0..1."""

    window: Sheet
    window_edge: Sheet
    gaps: Sheet
    plastic: Sheet
    handle: Sheet
    flank_lamp: Sheet
    seats: Sheet
    pane: Sheet
    pane_edge: Sheet
    gate: Sheet
    grip: Sheet
    lettering: Sheet
    lamp: Sheet
    lamp_lines: Sheet
    plate: Sheet
    characters: Sheet


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _grown(points: Points, by: float) -> Points:
    """A polygon pushed out from its middle."""
    p = np.array(points)
    way = p - p.mean(0)
    return [(float(x), float(y)) for x, y in p + by * np.sign(way)]


def _side() -> Canvas:
    return Canvas.blank(-2.25, 2.25, 0.12, 1.65, 640)


def _rear() -> Canvas:
    return Canvas.blank(-0.95, 0.95, 0.12, 1.65, 900)


def _side_sheets() -> dict[str, Sheet]:
    window, edge, gaps, plastic, handle, lamp, seats = (_side() for _ in range(7))
    window.fill(_WINDOW)
    edge.fill(_grown(_WINDOW, 0.022))
    gaps.line(curve([(-0.97, 1.10), (-1.00, 0.85), (-0.97, 0.60), (-0.90, 0.43), (-0.84, 0.415)]), 0.007)
    gaps.line([(-0.84, 0.415), (0.06, 0.415), (0.095, 0.45), (0.10, 1.115), (0.06, 1.40), (0.02, 1.52)], 0.007)
    gaps.line([(0.205, 0.38), (0.205, RAIL)], 0.016)
    gaps.line(curve([(-1.55, 0.80), (0.0, 0.795), (2.02, 0.775)]), 0.006, 110)
    gaps.line([(BED[0], 1.075), (2.02, 1.075)], 0.005, 170)
    gaps.line(curve([(-1.02, 1.06), (-1.50, 1.03), (-2.10, 0.95)]), 0.007)
    gaps.line([(-1.72, 0.52), (-2.15, 0.55)], 0.006)
    gaps.line(arc(0.66, 0.93, 0.072, 0, 360), 0.005, 220, closed=True)
    plastic.fill(_box(-2.2, 0.0, 2.2, 0.405))
    plastic.fill(_box(-2.2, 0.0, -1.76, 0.52))
    for wheel in WHEELS:
        plastic.fill(arc(wheel, AXLE, ARCH + 0.058, 0, 360, 90))
    handle.fill(curve([(-0.09, 0.985), (0.04, 0.985), (0.05, 1.005), (0.04, 1.025), (-0.09, 1.025), (-0.10, 1.005)], closed=True))
    lamp.fill(_box(1.955, _LAMP[1], 2.10, _LAMP[3]), RED)
    lamp.fill(_box(1.955, _AMBER[0], 2.10, _AMBER[1]), AMBER)
    lamp.fill(_box(-2.2, 0.78, -1.93, 0.90), WHITE)
    seats.fill(curve([(-0.05, 0.8), (-0.02, 1.28), (-0.08, 1.30), (-0.16, 1.26), (-0.22, 0.8)], closed=True))
    seats.fill(curve([(-0.03, 1.31), (-0.02, 1.42), (-0.11, 1.43), (-0.13, 1.31)], closed=True))
    seats.line(curve([(-0.62, 1.16), (-0.72, 1.25), (-0.70, 1.05)]), 0.03)
    return {
        "window": window.sheet(0.001),
        "window_edge": edge.sheet(0.001),
        "gaps": gaps.sheet(0.001),
        "plastic": plastic.sheet(0.001),
        "handle": handle.sheet(0.001),
        "flank_lamp": lamp.sheet(),
        "seats": seats.sheet(0.01),
    }


def _lamps() -> tuple[Canvas, Canvas]:
    """Both tail lamps: what colour lies where, and the lines between their chambers and round their rings."""
    lamp, lines = _rear(), _rear()
    z0, y0, z1, y1 = _LAMP
    for side in (-1.0, 1.0):
        lamp.fill(_box(side * z0, y0, side * z1, y1), RED)
        lamp.fill(_box(side * z0, _AMBER[0], side * z1, _AMBER[1]), AMBER)
        lamp.fill(_box(side * z0, _REVERSE[0], side * z1, _REVERSE[1]), WHITE)
        for y in (*_AMBER, _REVERSE[1]):
            lines.line([(side * z0, y), (side * z1, y)], 0.008, 120)
        lines.line([(side * a, b) for a, b in _box(z0, y0, z1, y1)], 0.008, 120, closed=True)
        for z, y, radius in _RINGS:
            lines.line(arc(side * z, y, radius * 0.80, 0, 360), 0.015, closed=True)
            lines.line(arc(side * z, y, radius * 0.34, 0, 360), 0.012, closed=True)
    return lamp, lines


def _rear_sheets(look: Look) -> dict[str, Sheet]:
    pane, edge, gate, grip, lettering = (_rear() for _ in range(5))
    pane.fill(_PANE)
    edge.fill(_grown(_PANE, 0.02))
    gate.line(_GATE, 0.010, closed=True)
    gate.line(_box(-0.60, 0.705, 0.60, 0.905), 0.005, 120, closed=True)
    grip.fill(_box(-0.085, 0.955, 0.085, 1.035))
    # Seen from behind +z runs to the left, so letters are mirrored on this sheet, unless the whole picture will be.
    lettering.text(look.model, (0.0, 0.805), 0.115, 1.6, 9, not look.mirrored)
    lamp, lines = _lamps()
    plate, characters = plate_sheets(look, PLATE)
    return {
        "pane": pane.sheet(0.001),
        "pane_edge": edge.sheet(0.001),
        "gate": gate.sheet(0.001),
        "grip": grip.sheet(0.001),
        "lettering": lettering.sheet(),
        "lamp": lamp.sheet(),
        "lamp_lines": lines.sheet(0.001),
        "plate": plate,
        "characters": characters,
    }


def draw(look: Look) -> Sheets:
    """All sheets of one pick-up."""
    return Sheets(**_side_sheets(), **_rear_sheets(look))
