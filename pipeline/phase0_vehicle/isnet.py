"""What stands out in a picture, by IS-Net (Qin and others, 2022), general use, on onnxruntime."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.steps import Look
from pipeline.values import Plane, Rgb

#: What the network was trained on: pictures of this side, whatever their aspect was.
SIDE = 1024


def make_look(path: Path, threads: int) -> Look:
    """Load the network (half a second) and return the step; it may be called from several threads at once.

    The same picture gives the same bytes for every number of threads: onnxruntime splits a convolution by its output, so that each
    sum is made by one thread in one order.
    """
    import onnxruntime  # noqa: PLC0415 - a third of a second, and importing the pipeline must stay light

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = False  # or 0.8 GB would stay for ever; as fast
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # weights are unpacked once, not in every run
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    out = session.get_outputs()[0].name

    def look(rgb: Rgb) -> Plane:
        how = cv2.INTER_AREA if max(rgb.shape[:2]) > SIDE else cv2.INTER_LINEAR
        small = cv2.resize(rgb, (SIDE, SIDE), interpolation=how).astype(np.float32)
        (answer,) = session.run([out], {name: ((small - 128) / 256).transpose(2, 0, 1)[None]})
        plane = np.asarray(answer[0, 0], np.float32)
        if plane.shape != (SIDE, SIDE) or not np.isfinite(plane).all():
            raise RuntimeError(f"isnet answered with {answer.shape}, or with numbers that are not finite")
        return np.clip(plane, 0, 1)

    return look
