"""What a seed and a kind decide: paint, light, view, street and lettering."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Paint:
    """A car paint: `base` linear RGB albedo of the pigment; `metallic` 0..1, the share of flakes in it."""

    name: str
    base: tuple[float, float, float]
    metallic: float


PAINTS = (
    Paint("red", (0.42, 0.012, 0.014), 0.25),
    Paint("blue", (0.012, 0.07, 0.34), 0.55),
    Paint("white", (0.74, 0.745, 0.73), 0.0),
    Paint("silver", (0.40, 0.42, 0.44), 1.0),
    Paint("dark green", (0.012, 0.085, 0.04), 0.45),
    Paint("yellow", (0.72, 0.40, 0.012), 0.1),
    Paint("orange", (0.62, 0.14, 0.012), 0.35),
    Paint("graphite", (0.055, 0.06, 0.07), 0.8),
    Paint("light blue", (0.16, 0.36, 0.52), 0.5),
)
_BLACK = Paint("black", (0.0075, 0.0075, 0.008), 0.6)
#: The body's paint and the stripes', two colour families each.
_LIVERIES = (
    (PAINTS[2], PAINTS[1]),
    (PAINTS[8], PAINTS[6]),
    (PAINTS[2], PAINTS[0]),
    (PAINTS[4], PAINTS[5]),
    (PAINTS[0], PAINTS[2]),
)
#: What a scene shows: a car; one of black paint on dark wheels; one in two paints, with a number and a name; a pick-up from behind.
KINDS = ("car", "dark", "livery", "pickup")
_TEAMS = ("NORTHLINE", "VELOCE", "TORRENT", "HALCYON", "PELICAN")
MODELS = ("AURELIA", "MERIDIAN", "ALVERNA", "CALDERA", "VANTARO", "LIMARA")
SIGNS = ("BAKERY", "PHARMACY", "BOOKS", "CAFE ROMA", "HOTEL", "FLORIST")
# Letters that look alike (I and 1, O and 0, B and 8, S and 5, Z and 2) stay out, as on many real plates.
_PLATE_LETTERS, _PLATE_DIGITS = "ACEFHLMNPRTUX", "34679"


@dataclass(frozen=True, slots=True)
class Look:
    """One scene's choices. Angles in radians, lengths in metres; the vehicle shows its +x end and its +z side: a car's nose, a pick-up's
    tailgate.
    """

    seed: int
    paint: Paint
    mirrored: bool
    azimuth: float  # of the camera, from the +z side (0) towards the +x end (pi / 2)
    distance: float
    eye: float  # height of the camera
    sun: tuple[float, float, float]  # unit vector towards the sun
    haze: float  # 0 a clear sky, 1 an overcast one
    spokes: int
    dark_rims: bool
    trim: str  # "chrome" or "black"
    plate: str
    model: str
    sign: str
    kind: str = "car"
    second: Paint | None = None  # the stripes' of a livery, which has a number and a team's name, too
    number: str = ""
    team: str = ""

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose, so that a change in one part of the picture leaves the others alone."""
        return np.random.default_rng([self.seed, purpose])


def choose(seed: int, kind: str = "car") -> Look:
    """The look of a seed and of one of `KINDS`; the same two give the same look."""
    look, rng = _car(seed), np.random.default_rng([seed, 10])
    match kind:
        case "dark":
            # A bright, hazy sky: what is mirrored in black paint is all that shows its shape.
            return replace(look, kind=kind, paint=_BLACK, dark_rims=True, haze=0.45 + 0.5 * look.haze)
        case "livery":
            first, second = _LIVERIES[int(rng.integers(len(_LIVERIES)))]
            number, team = str(rng.integers(11, 99)), str(rng.choice(_TEAMS))
            return replace(look, kind=kind, paint=first, second=second, number=number, team=team)
        case "pickup":
            azimuth, eye = float(np.deg2rad(rng.uniform(48, 54))), float(rng.uniform(1.62, 1.80))
            return replace(look, kind=kind, azimuth=azimuth, eye=eye)
        case "car":
            return look
        case _:
            raise ValueError(f"a scene is one of {', '.join(KINDS)}, not {kind}")


def _car(seed: int) -> Look:
    """The look of a seed's car, which all kinds begin with."""
    rng = np.random.default_rng([seed, 0])
    azimuth = np.deg2rad(rng.uniform(40, 47))
    # On the camera's side of the street, so that the houses' fronts are lit.
    sun_azimuth = azimuth + np.deg2rad(-rng.uniform(28, 60) if rng.random() < 0.5 else rng.uniform(15, 32))
    height = np.deg2rad(rng.uniform(36, 52))
    sun = (np.sin(sun_azimuth) * np.cos(height), np.sin(height), np.cos(sun_azimuth) * np.cos(height))
    letters = "".join(rng.choice(list(_PLATE_LETTERS), 3))
    digits = "".join(rng.choice(list(_PLATE_DIGITS), 3))
    return Look(
        seed=seed,
        paint=PAINTS[int(rng.integers(len(PAINTS)))],
        mirrored=bool(rng.integers(2)),
        azimuth=float(azimuth),
        distance=float(rng.uniform(6.6, 8.0)),
        eye=float(rng.uniform(1.15, 1.55)),
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        haze=float(rng.uniform(0.05, 0.5)),
        spokes=int(rng.integers(5, 11)),
        dark_rims=bool(rng.random() < 0.3),
        trim=str(rng.choice(["chrome", "black"])),
        plate=f"{letters} {digits}",
        model=str(rng.choice(MODELS)),
        sign=str(rng.choice(SIGNS)),
    )
