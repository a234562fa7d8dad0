"""One seed to one scene: picture and ground truth."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.raster import bounds
from pipeline.sample import car, decals, houses, pickup, pickup_sheets, street
from pipeline.sample.camera import Camera, aim
from pipeline.sample.form import Extent, form
from pipeline.sample.lens import defocus, expose
from pipeline.sample.light import Light, make_light
from pipeline.sample.look import Look, choose
from pipeline.sample.skin import Skin

Box = tuple[float, float, float, float]
#: Unit rays (h, w, 3) → linear colours (h, w, 3) and what they show (h, w), 0 where they miss the vehicle.
Render = Callable[[NDArray[np.floating[Any]]], tuple[NDArray[np.floating[Any]], NDArray[np.uint8]]]
_SCALE, _BAND = 2, 48


@dataclass(frozen=True, slots=True)
class Text:
    """Words in the picture: `box` as fractions, `text` as written, `on` what they stand on ("plate", "door", "roundel", "tailgate")."""

    box: Box
    text: str
    on: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it.

    `rgb` (H, W, 3) uint8 sRGB; `mask` (H, W) bool of the vehicle (body, glass, wheels, mirrors; neither shadow nor ground), `glass` (H, W)
    bool of its window panes.
    Boxes are x0, y0, x1, y1 as fractions of the picture. `texts` are the vehicle's; `sign` is a word on a house, with its box,
    that belongs to the background; `paint` is the colour's name, `second_paint` a livery's other
    one.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    glass: NDArray[np.bool_]
    vehicle_box: Box
    plates: tuple[Box, ...]
    texts: tuple[Text, ...]
    badges: tuple[Box, ...]
    mirrors: tuple[Box, ...]
    sign: Text | None
    paint: str
    second_paint: str | None


def _renderer(look: Look, light: Light, camera: Camera) -> Render:
    """What draws the look's vehicle."""
    studio = car.Studio(look, light, camera.origin.astype(np.float32))
    if look.kind == "pickup":
        return partial(pickup.render, studio, pickup_sheets.draw(look), car.flakes(look))
    return partial(car.render, studio, Skin(look, light, decals.draw(look), car.flakes(look)))


def _window(camera: Camera, extent: Extent) -> tuple[int, int, int, int]:
    """Pixels x0, y0, x1, y1 that hold the whole vehicle."""
    corners = np.array([[x, y, z * 1.15] for x, y, z in product(*extent)])
    flat = camera.project(corners)
    x0, y0 = np.floor(flat.min(0)).astype(int) - 4
    x1, y1 = np.ceil(flat.max(0)).astype(int) + 4
    return max(0, int(x0)), max(0, int(y0)), min(camera.width, int(x1)), min(camera.height, int(y1))


def _vehicle_layer(render: Render, camera: Camera, extent: Extent) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """The vehicle at the picture's size: colour times coverage (H, W, 3), coverage (H, W); and ids at twice the size."""
    color = np.zeros((camera.height, camera.width, 3), np.float32)
    cover = np.zeros((camera.height, camera.width), np.float32)
    ids = np.zeros((camera.height * _SCALE, camera.width * _SCALE), np.uint8)
    x0, y0, x1, y1 = _window(camera, extent)

    def band(top: int) -> None:
        low = min(top + _BAND, y1)
        fine, names = render(camera.rays(x0, top, x1, low, _SCALE))
        # Highlights are cut before averaging, as a sensor's wells are, or their edges would stay jagged.
        fine = np.minimum(fine, 6.0) * (names > 0)[..., None]
        size = (x1 - x0, low - top)
        color[top:low, x0:x1] = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
        cover[top:low, x0:x1] = cv2.resize((names > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        ids[top * _SCALE : low * _SCALE, x0 * _SCALE : x1 * _SCALE] = names

    # The bands do not overlap, so their order does not matter; NumPy works outside the interpreter's lock.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(band, range(y0, y1, _BAND)))
    return color, cover, ids


def _bounds(mask: NDArray[np.bool_]) -> Box:
    """The tight box of a mask as fractions of its picture."""
    height, width = mask.shape
    x0, y0, x1, y1 = bounds(mask) or (0.0, 0.0, 0.0, 0.0)
    return (x0 / width, y0 / height, x1 / width, y1 / height)


def _found(ids: NDArray[np.uint8], *names: int) -> tuple[Box, ...]:
    """The box of what shows these ids, or nothing when too little of it is seen (40 pixels)."""
    seen = np.isin(ids, names)
    return (_bounds(seen),) if int(seen.sum()) > 40 * _SCALE**2 else ()


def _solid(cover: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The vehicle's mask: pixels that it covers by half, its largest piece."""
    _, names, stats, _ = cv2.connectedComponentsWithStats((cover >= 0.5).astype(np.uint8), connectivity=8)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(names == largest)


def _sign(look: Look, camera: Camera, mask: NDArray[np.bool_]) -> Text | None:
    """The word on the houses where the car leaves it in sight."""
    x0, y0, x1, y1 = houses.sign_box()
    corners = np.array([[x, y + street.KERB_HEIGHT, street.HOUSES] for x in (x0, x1) for y in (y0, y1)])
    flat = camera.project(corners) / [camera.width, camera.height]
    left, right = float(flat[:, 0].min()), float(flat[:, 0].max())
    if look.mirrored:
        left, right = 1 - right, 1 - left
    box = (left, float(flat[:, 1].min()), right, float(flat[:, 1].max()))
    inside = box[0] > 0 and box[1] > 0 and box[2] < 1 and box[3] < 1
    rows, columns = (
        slice(int(box[1] * mask.shape[0]), int(box[3] * mask.shape[0])),
        slice(int(box[0] * mask.shape[1]), int(box[2] * mask.shape[1])),
    )
    return Text(box, look.sign, "house") if inside and not mask[rows, columns].any() else None


def scene(seed: int = 42, width: int = 1600, height: int = 1066, kind: str = "car") -> Scene:
    """The scene of a seed at a size, of one of `KINDS`; the same arguments give the same bytes on one machine.

    Raises ValueError for another kind and for pictures too small to hold the vehicle (below 160 x 120).
    """
    if width < 160 or height < 120:
        raise ValueError(f"the sample picture needs at least 160 x 120 pixels, not {width} x {height}")
    look = choose(seed, kind)
    row = houses.houses(look)
    camera, light = aim(look, width, height), make_light(look, row)
    background, depth = street.render(street.prepare(look, light, row), camera)
    background = defocus(background, depth, look.distance + 0.5, width / 300)
    color, cover, ids = _vehicle_layer(_renderer(look, light, camera), camera, form(look).extent)
    background *= (1 - cover)[..., None]
    picture = background + color
    del background, depth, color
    if look.mirrored:
        picture, cover, ids = picture[:, ::-1].copy(), cover[:, ::-1].copy(), ids[:, ::-1]
    mask = _solid(cover)
    plates = _found(ids, car.PLATE_ID, car.PLATE_TEXT)
    texts = [Text(box, look.plate, "plate") for box in _found(ids, car.PLATE_TEXT)]
    texts += [Text(box, look.team or look.model, "tailgate" if look.kind == "pickup" else "door") for box in _found(ids, car.LETTERING)]
    texts += [Text(box, look.number, "roundel") for box in _found(ids, car.NUMBER)]
    return Scene(
        rgb=expose(picture, look.rng(9), 0.78 + 0.22 * look.haze),
        mask=mask,
        glass=mask & (cv2.resize((ids == car.GLASS).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) >= 0.5),
        vehicle_box=_bounds(mask),
        plates=plates,
        texts=tuple(texts),
        badges=_found(ids, car.EMBLEM_ID),
        mirrors=_found(ids, car.NEAR_MIRROR) + _found(ids, car.FAR_MIRROR),
        sign=_sign(look, camera, mask),
        paint=look.paint.name,
        second_paint=look.second.name if look.second else None,
    )
