"""What is drawn on the body: windows, gaps, lamps, grille, plate, emblem, lettering; as flat sheets seen from the side or the front."""

from dataclasses import dataclass

import numpy as np

from pipeline.sample import livery
from pipeline.sample.body import ARCH, AXLE, WHEELS
from pipeline.sample.canvas import Canvas, Points, arc, curve
from pipeline.sample.fields import Sheet
from pipeline.sample.livery import Livery
from pipeline.sample.look import Look

GLASS_FRONT: Points = [(0.63, 1.0), (0.50, 1.09), (0.30, 1.20), (0.06, 1.305), (-0.12, 1.338), (-0.33, 1.35), (-0.33, 0.985), (0.60, 0.985)]
GLASS_REAR: Points = [(-0.40, 1.35), (-0.80, 1.333), (-1.12, 1.265), (-1.33, 1.15), (-1.42, 1.06), (-1.38, 1.02), (-0.40, 0.988)]
SURROUND: Points = [
    (0.76, 0.965), (0.70, 1.0), (0.53, 1.105), (0.31, 1.225), (0.07, 1.333), (-0.12, 1.366), (-0.35, 1.378), (-0.82, 1.360), (-1.15, 1.288),
    (-1.37, 1.165), (-1.475, 1.055), (-1.44, 1.005), (-1.2, 0.982), (-0.36, 0.962),
]  # fmt: skip
SCREEN: Points = [
    (0.69, 0.985),
    (0.55, 1.325),
    (0.35, 1.36),
    (0.0, 1.372),
    (-0.35, 1.36),
    (-0.55, 1.325),
    (-0.69, 0.985),
    (-0.35, 0.965),
    (0.35, 0.965),
]
LAMP: Points = [
    (0.47, 0.668),
    (0.62, 0.705),
    (0.78, 0.752),
    (0.85, 0.770),
    (0.858, 0.73),
    (0.83, 0.675),
    (0.72, 0.625),
    (0.56, 0.605),
    (0.46, 0.612),
]
GRILLE: Points = [(0.44, 0.668), (0.44, 0.612), (0.36, 0.575), (-0.36, 0.575), (-0.44, 0.612), (-0.44, 0.668)]
INTAKE: Points = [(0.50, 0.385), (0.62, 0.255), (0.52, 0.215), (-0.52, 0.215), (-0.62, 0.255), (-0.50, 0.385)]
FOG: Points = [(0.60, 0.43), (0.80, 0.455), (0.82, 0.33), (0.69, 0.26)]
PLATE = (-0.26, 0.405, 0.26, 0.52)
EMBLEM = (0.0, 0.622, 0.062)


@dataclass(frozen=True, slots=True)
class Decals:
    """Sheets in side (x, y) or front (z, y) coordinates, each 0..1."""

    glass: Sheet
    surround: Sheet
    gaps: Sheet
    relief: Sheet
    metal: Sheet
    plastic: Sheet
    lettering: Sheet
    seats: Sheet
    screen: Sheet
    frit: Sheet
    lamp: Sheet
    beam: Sheet
    grille: Sheet
    slats: Sheet
    front_gaps: Sheet
    chrome: Sheet
    emblem: Sheet
    fog: Sheet
    wipers: Sheet
    plate: Sheet
    characters: Sheet
    livery: Livery | None


def _side(density: float = 640) -> Canvas:
    return Canvas.blank(-2.15, 2.2, 0.12, 1.47, density)


def _front(density: float = 900) -> Canvas:
    return Canvas.blank(-0.95, 0.95, 0.12, 1.47, density)


def _both(canvas: Canvas, points: Points, value: int = 255) -> None:
    canvas.fill(points, value)
    canvas.fill([(-a, b) for a, b in points], value)


def _gap_lines() -> list[Points]:
    front = WHEELS[0]
    return [
        curve(
            [
                (0.80, 0.962),
                (0.84, 0.75),
                (0.80, 0.45),
                (0.76, 0.262),
                (0.70, 0.25),
                (-0.30, 0.25),
                (-0.345, 0.28),
                (-0.365, 0.6),
                (-0.365, 0.97),
            ]
        ),
        curve([(-0.345, 0.252), (-0.75, 0.25), (-0.86, 0.29)])
        + arc(WHEELS[1], AXLE, ARCH + 0.05, 8, 62, 20)
        + curve([(-1.10, 0.72), (-1.20, 0.85), (-1.30, 0.99)]),
        curve([(front + 0.36, 0.44), (front + 0.44, 0.55), (front + 0.46, 0.66)]),
        curve([(-1.64, 0.40), (-1.72, 0.52), (-1.76, 0.70)]),
        curve([(1.02, 0.93), (1.25, 0.875), (1.50, 0.82), (1.68, 0.775)]),
    ]


def _flap() -> Points:
    return curve([(-1.62, 0.75), (-1.46, 0.75), (-1.455, 0.90), (-1.615, 0.90)], closed=True)


def _side_sheets(look: Look) -> dict[str, Sheet]:
    glass, surround, gaps, metal, plastic, lettering = (_side() for _ in range(6))
    glass.fill(curve(GLASS_FRONT[:6]) + GLASS_FRONT[6:])
    glass.fill(GLASS_REAR[:1] + curve(GLASS_REAR[1:6]) + GLASS_REAR[6:])
    surround.fill(SURROUND[:1] + curve(SURROUND[1:12]) + SURROUND[12:])
    for points in _gap_lines():
        gaps.line(points, 0.006)
    gaps.line(_flap(), 0.004, 200, closed=True)
    relief = Canvas(gaps.pixels.copy(), gaps.left, gaps.top, gaps.density)
    for x in (-0.19, -1.03):
        metal.fill(curve([(x - 0.10, 0.845), (x + 0.08, 0.835), (x + 0.10, 0.852), (x + 0.08, 0.872), (x - 0.09, 0.882)], closed=True))
    if look.trim == "chrome":
        metal.line([(0.74, 0.966), (-0.36, 0.966), (-1.2, 0.985), (-1.44, 1.008)], 0.014, 254)
    plastic.fill([(0.92, 0.0), (0.94, 0.205), (-0.86, 0.205), (-0.84, 0.0)])
    plastic.fill([(1.70, 0.0), (1.72, 0.19), (2.3, 0.20), (2.3, 0.0)])
    for wheel in WHEELS:
        plastic.line(arc(wheel, AXLE, ARCH + 0.008, -25, 205), 0.018)
    if not look.second:  # a livery brings its own
        lettering.text(look.model, (0.20, 0.40), 0.098, 1.25, 9, look.mirrored)
    return {
        "glass": glass.sheet(),
        "surround": surround.sheet(),
        "gaps": gaps.sheet(0.0012),
        "relief": relief.sheet(0.006),
        "metal": metal.sheet(0.001),
        "plastic": plastic.sheet(0.001),
        "lettering": lettering.sheet(),
        "seats": _seats(),
    }


def _seats() -> Sheet:
    seats = _side(160)
    for x in (-0.28, -1.05):
        seats.fill(curve([(x + 0.10, 0.6), (x - 0.04, 1.10), (x - 0.12, 1.16), (x - 0.24, 1.13), (x - 0.22, 0.6)], closed=True))
        seats.fill(curve([(x - 0.08, 1.18), (x - 0.10, 1.29), (x - 0.20, 1.30), (x - 0.22, 1.18)], closed=True))
    seats.fill([(0.45, 0.6), (0.62, 1.02), (1.2, 0.99), (1.2, 0.6)])
    seats.fill([(2.0, 0.9), (2.0, 0.99), (-2.1, 0.99), (-2.1, 0.5), (2.0, 0.5)])
    seats.line(curve([(0.30, 1.10), (0.42, 0.92)]), 0.03)
    return seats.sheet(0.012)


def _slats(grille: Canvas) -> Canvas:
    slats = _front()
    for y in np.arange(0.565, 0.68, 0.019):
        slats.line([(-0.5, float(y)), (0.5, float(y))], 0.006)
    for k, y in enumerate(np.arange(0.20, 0.40, 0.022)):
        for z in np.arange(-0.58 + 0.02 * (k % 2), 0.55, 0.04):
            slats.line([(float(z), float(y)), (float(z) + 0.02, float(y) + 0.022), (float(z) + 0.04, float(y))], 0.004, 150)
    np.minimum(slats.pixels, grille.pixels, out=slats.pixels)
    return slats


def _lamps() -> tuple[Canvas, Canvas]:
    lamp, beam = _front(), _front()
    _both(lamp, curve(LAMP, closed=True, steps=8))
    for side in (-1.0, 1.0):
        for z, y, r in ((0.60, 0.655, 0.032), (0.715, 0.690, 0.036)):
            beam.fill(arc(side * z, y, r * 1.25, 0, 360), 110)
            beam.fill(arc(side * z, y, r, 0, 360), 60)
            beam.fill(arc(side * z - 0.006, y + 0.008, r * 0.62, 0, 360), 200)
        beam.line([(side * a, b) for a, b in curve([(0.49, 0.622), (0.58, 0.618), (0.71, 0.642), (0.82, 0.69), (0.845, 0.74)])], 0.011)
        beam.line([(side * a, b) for a, b in curve([(0.50, 0.662), (0.62, 0.692), (0.80, 0.745)])], 0.005, 140)
    return lamp, beam


def plate_sheets(look: Look, box: tuple[float, float, float, float]) -> tuple[Sheet, Sheet]:
    """A plate's board, its rim darker, and its characters, in a box of front (z, y) coordinates."""
    plate, characters = _front(1400), _front(1400)
    x0, y0, x1, y1 = box
    plate.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], 150)
    plate.fill([(x0 + 0.006, y0 + 0.006), (x1 - 0.006, y0 + 0.006), (x1 - 0.006, y1 - 0.006), (x0 + 0.006, y1 - 0.006)], 255)
    # Seen from the front +z runs to the left, so letters are mirrored on this sheet, unless the whole picture will be.
    characters.text(look.plate, ((x0 + x1) / 2, (y0 + y1) / 2), 0.075, 1.0, 6, not look.mirrored)
    return plate.sheet(), characters.sheet()


def _front_sheets(look: Look) -> dict[str, Sheet]:
    screen, frit, grille, gaps, chrome, emblem, fog, wipers = (_front() for _ in range(8))
    screen.fill(SCREEN)
    frit.fill([(z * 1.045, y + (0.016 if y > 1.2 else -0.022)) for z, y in SCREEN])
    grille.fill(GRILLE)
    grille.fill(curve(INTAKE, closed=True, steps=6))
    _both(grille, curve(FOG, closed=True, steps=6))
    slats = _slats(grille)
    gaps.line(
        curve([(-0.9, 0.79), (-0.80, 0.765), (-0.62, 0.722), (-0.45, 0.69), (0.45, 0.69), (0.62, 0.722), (0.80, 0.765), (0.9, 0.79)]), 0.006
    )
    gaps.line([(-0.87, 0.56), (-0.72, 0.565), (-0.44, 0.545), (0.44, 0.545), (0.72, 0.565), (0.87, 0.56)], 0.004, 150)
    chrome.line(GRILLE, 0.014, closed=True)
    for side in (-1, 1):
        fog.fill(arc(side * 0.715, 0.37, 0.036, 0, 360), 230)
    z, y, r = EMBLEM
    emblem.fill(arc(z, y, r, 0, 360), 255)
    emblem.fill(arc(z, y, r * 0.80, 0, 360), 70)
    for k, high in enumerate((0.000, 0.018, 0.036)):
        bar = z + (k - 1) * 0.026 * (1 if look.mirrored else -1)
        emblem.fill([(bar - 0.009, y - 0.030), (bar + 0.009, y - 0.030), (bar + 0.009, y + high), (bar - 0.009, y + high - 0.012)], 235)
    wipers.line([(-0.62, 0.985), (-0.10, 1.012)], 0.012)
    wipers.line([(0.02, 0.982), (0.60, 1.030)], 0.012)
    wipers.fill(
        curve([(-0.075, 1.29), (0.075, 1.29), (0.085, 1.315), (0.07, 1.338), (-0.07, 1.338), (-0.085, 1.315)], closed=True, steps=4)
    )
    lamp, beam = _lamps()
    plate, characters = plate_sheets(look, PLATE)
    return {
        "screen": screen.sheet(),
        "frit": frit.sheet(),
        "grille": grille.sheet(),
        "slats": slats.sheet(),
        "front_gaps": gaps.sheet(0.001),
        "chrome": chrome.sheet(0.001),
        "emblem": emblem.sheet(),
        "fog": fog.sheet(0.001),
        "wipers": wipers.sheet(0.001),
        "lamp": lamp.sheet(),
        "beam": beam.sheet(0.0015),
        "plate": plate,
        "characters": characters,
    }


def draw(look: Look) -> Decals:
    """All sheets of one car."""
    return Decals(**_side_sheets(look), **_front_sheets(look), livery=livery.draw(look) if look.second else None)
