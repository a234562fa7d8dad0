"""Whether a picture shows a vehicle, by EfficientNet-Lite0 (Tan and Le, 2019), ImageNet-1k, on onnxruntime."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.steps import Verdict
from pipeline.values import Rgb

#: Side of the pictures that the network was trained on, and the grey around those that are no squares.
SIDE, GREY = 224, 127
#: ImageNet-1k's classes of vehicles on wheels, tracks, runners and rails:
#: ambulance, amphibian, beach wagon, bicycle built for two, cab, convertible, fire engine, forklift, freight car,
#: garbage truck, go-kart, golf cart, half track, harvester, horse cart, jeep, jinrikisha, lawn mower, limousine, minibus,
#: minivan, Model T, moped, motor scooter, mountain bike, moving van, passenger car, pickup, plow, police van, racer, recreational
#: vehicle, school bus, snowmobile, snowplow, sports car, steam locomotive, streetcar, tank, thresher, tow truck, tractor, trailer
#: truck, tricycle, trolleybus.
VEHICLES = (
    *(407, 408, 436, 444, 468, 511, 555, 561, 565, 569, 573, 575, 586, 595, 603, 609, 612, 621, 627, 654, 656),
    *(661, 665, 670, 671, 675, 705, 717, 730, 734, 751, 757, 779, 802, 803, 817, 820, 829, 847, 856, 864, 866, 867, 870, 874),
)
#: Car wheel and grille: they fill a picture only when a vehicle does, but are none themselves.
PIECES = (479, 581)
#: The class of cranes, which pylons and masts are taken for: it counts up to this many times what the others say (an excavator has both).
CRANE, CRANES = 517, 2.0


def make_verdict(path: Path) -> Verdict:
    """Load the network (0.1 s) and return the step: the sums of the probabilities of `VEHICLES`, with cranes, and of `PIECES`. It may be
    called from several threads."""
    import onnxruntime  # noqa: PLC0415 - a third of a second, and importing the pipeline must stay light

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1  # milliseconds
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def verdict(rgb: Rgb) -> tuple[float, float]:
        (answer,) = session.run(None, {name: _letterboxed(rgb)})
        if answer.shape != (1, 1000) or not np.isfinite(answer).all():
            raise RuntimeError(f"efficientnet-lite0 answered with {answer.shape}, or with numbers that are not finite")
        vehicles = float(answer[0, list(VEHICLES)].sum())
        return min(1.0, vehicles + min(float(answer[0, CRANE]), CRANES * vehicles)), float(answer[0, list(PIECES)].sum())

    return verdict


def _letterboxed(rgb: Rgb) -> NDArray[np.float32]:
    """(1, 3, SIDE, SIDE) float32 about -1..1: the picture on a grey square."""
    h, w = rgb.shape[:2]
    side = max(h, w)
    square = np.full((side, side, 3), GREY, np.uint8)
    y, x = (side - h) // 2, (side - w) // 2
    square[y : y + h, x : x + w] = rgb
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(square, (SIDE, SIDE), interpolation=how).astype(np.float32)
    return np.asarray(((small - 127) / 128).transpose(2, 0, 1)[None], np.float32)
