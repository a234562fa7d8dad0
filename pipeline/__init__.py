"""A photograph of a vehicle in, a flat vector illustration out, in five phases whose order `pipeline.run` knows: vehicle, sanitize,
illustrate, enforce, vectorize.
"""

import os

# Threads of numba and torch that wait for work by spinning take the processor from each other: with both in one process a small
# drawing took minutes. Read once, when the first of them is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# onnxruntime from 1.29 on reports machine, program and models to its maker. Read once, when it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
