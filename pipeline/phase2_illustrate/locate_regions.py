"""How likely each region of a photograph belongs to the vehicle, from what sets a photographed object apart.

The photo is cut into superpixels. Surroundings reach the photo's border along ways of little colour change and touch it
with much of their outline; a vehicle is shut off from it, lies in the middle and is richer in edges than road and sky.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

from pipeline.color import srgb_to_lab
from pipeline.values import Rgb

SIDE = 256  # the photo's longest side while it is searched
Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
_SEGMENTS = 400
_STEP = 1e-3  # the least cost of a step between neighbours, so that no way is free
_COLOR_REACH = 10.0  # sigma of Zhu et al. (2014) in CIELAB units
_SPACE_REACH = 0.4
_MERGE = 0.072  # how much larger areas must differ in colour to stay apart


@dataclass(frozen=True, slots=True)
class Regions:
    """`lab` (h, w, 3) float32; `label` (h, w) of K superpixels; per superpixel: `area` (K) pixels, `color` (K, 3), `place` (K, 2) 0..1.

    `pairs` (P, 2) are neighbours, `step` (P) their colour distance.
    """

    lab: NDArray[np.float32]
    label: NDArray[np.int64]
    area: Floats
    color: Floats
    place: Floats
    pairs: NDArray[np.int64]
    step: Floats

    def mean(self, plane: NDArray[np.floating]) -> Floats:
        """(h, w) to its mean in each superpixel (K)."""
        total: Floats = np.bincount(self.label.ravel(), plane.ravel(), len(self.area)) / self.area
        return total


def regions_of(photo: Rgb) -> Regions:
    """Superpixels (SLIC, Achanta et al., 2012) of a small photo (h, w, 3) uint8 sRGB."""
    h, w = photo.shape[:2]
    lab = srgb_to_lab(photo).astype(np.float32)
    label = slic(photo, n_segments=_SEGMENTS, compactness=12, sigma=0.7, start_label=0, channel_axis=-1).astype(np.int64)
    _, flat = np.unique(label, return_inverse=True)
    label = flat.reshape(h, w)
    area = np.bincount(label.ravel()).astype(np.float64)
    ys, xs = np.mgrid[0:h, 0:w] + 0.5
    planes = [*np.moveaxis(lab, -1, 0), xs / w, ys / h]
    means = np.stack([np.bincount(label.ravel(), p.ravel(), len(area)) / area for p in planes], 1)
    beside = np.stack([label[:, :-1].ravel(), label[:, 1:].ravel()], 1)
    below = np.stack([label[:-1].ravel(), label[1:].ravel()], 1)
    pairs = np.concatenate([beside, below])
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1), axis=0).reshape(-1, 2)
    step = np.linalg.norm(means[pairs[:, 0], :3] - means[pairs[:, 1], :3], axis=1)
    return Regions(lab, label, area, means[:, :3], means[:, 3:], pairs, step)


def cues(regions: Regions) -> Floats:
    """(K, 11): enclosure, contrast, distance from the border, edges, their direction, range of lightness, place."""
    cost = _ways(regions)
    sides = [np.unique(s) for s in (regions.label[0], regions.label[-1], regions.label[:, 0], regions.label[:, -1])]
    border = np.unique(np.concatenate(sides))
    enclosure, contrast = _background(regions, cost, border)
    graph = _graph(regions.pairs, cost, len(regions.area))
    depth = dijkstra(graph, directed=False, indices=border, min_only=True)
    depth = depth / (np.percentile(depth, 95) + 1e-6)
    x, y = regions.place[:, 0] - 0.5, regions.place[:, 1] - 0.58
    place = [10 * x**2, 10 * y**2, np.minimum(y, 0), 30 * x**4, 30 * y**4]
    return np.stack([enclosure, contrast, depth, *_texture(regions), *place], 1)


def _ways(regions: Regions) -> Floats:
    """(P) cost of stepping between neighbours: their colour distance beyond what neighbours usually differ by."""
    least = np.full(len(regions.area), np.inf)
    for column in (0, 1):
        np.minimum.at(least, regions.pairs[:, column], regions.step)
    usual = float(least[np.isfinite(least)].mean()) if np.isfinite(least).any() else 0.0
    cost: Floats = np.maximum(regions.step - usual, 0) + _STEP
    return cost


def _graph(pairs: NDArray[np.int64], cost: Floats, count: int) -> csr_matrix:
    return csr_matrix((cost, (pairs[:, 0], pairs[:, 1])), (count, count))


def _background(regions: Regions, cost: Floats, border: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Robust background detection (Zhu, Liang, Wei, Sun, 2014): how little each superpixel is background (K), its contrast to it (K)."""
    count = len(regions.area)
    # all border regions are neighbours of one another: a background that the vehicle cuts in two stays one
    first, second = np.triu_indices(len(border), 1)
    linked = np.stack([border[first], border[second]], 1)
    pairs = np.concatenate([linked, regions.pairs])
    costs = np.concatenate([np.full(len(linked), _STEP), cost])
    _, once = np.unique(pairs[:, 0] * count + pairs[:, 1], return_index=True)
    distance = dijkstra(_graph(pairs[once], costs[once], count), directed=False)
    alike = np.exp(-(distance**2) / (2 * _COLOR_REACH**2))
    connectivity = alike[:, border].sum(1) / np.sqrt(alike.sum(1))
    background = 1 - np.exp(-(connectivity**2) / 2)
    h, w = regions.label.shape
    where = regions.place * np.array([w, h]) / max(w, h)
    apart = np.linalg.norm(where[:, None] - where[None], axis=-1)
    differ = np.linalg.norm(regions.color[:, None] - regions.color[None], axis=-1)
    contrast = (differ * np.exp(-(apart**2) / (2 * _SPACE_REACH**2)) * background[None]).sum(1)
    return 1 - background, contrast / (contrast.max() + 1e-9)


def _texture(regions: Regions) -> list[Floats]:
    """Density of edges (relative to the photo's), horizontal less vertical edges, range of lightness; each (K)."""
    light = regions.lab[..., 0]
    longest = max(light.shape)
    gx, gy = gradients(light)
    reach = longest / 40
    edges = cv2.GaussianBlur(np.minimum(np.hypot(gx, gy), 6), (0, 0), reach)
    level = cv2.GaussianBlur(np.minimum(np.abs(gy), 6) - np.minimum(np.abs(gx), 6), (0, 0), reach)
    near = np.ones((9, 9), np.uint8)
    extent = cv2.GaussianBlur(cv2.dilate(light, near) - cv2.erode(light, near), (0, 0), longest / 60)
    density, slant, reach_of_light = (regions.mean(np.asarray(plane, np.float32)) for plane in (edges, level, extent))
    return [density / (float(np.mean(edges)) + 0.2), slant, reach_of_light / 30]


def gradients(light: Plane) -> tuple[Plane, Plane]:
    """Derivatives of (h, w) lightness along x and y, units per pixel (Sobel)."""
    x, y = (cv2.Sobel(light, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def larger_areas(regions: Regions) -> NDArray[np.int64]:
    """(h, w) labels of superpixels merged where their colours agree (Felzenszwalb and Huttenlocher, 2004)."""
    parent = list(range(len(regions.area)))
    size, inner = regions.area.copy(), np.zeros(len(regions.area))
    tolerance = _MERGE * regions.label.size

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for e in np.argsort(regions.step, kind="stable"):
        a, b = root(int(regions.pairs[e, 0])), root(int(regions.pairs[e, 1]))
        if a != b and regions.step[e] <= min(inner[a] + tolerance / size[a], inner[b] + tolerance / size[b]):
            parent[b] = a
            size[a] += size[b]
            inner[a] = regions.step[e]
    _, label = np.unique([root(i) for i in range(len(parent))], return_inverse=True)
    merged: NDArray[np.int64] = label[regions.label]
    return merged
