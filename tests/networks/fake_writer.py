"""What stands for both writers: `python -m tests.networks.fake_writer PUBLISHED OUT` knows which tiny content becomes which."""

import sys
from pathlib import Path

from tests.networks.contents import ONNX, PUBLISHED, SERVED, TORCH

Path(sys.argv[2]).write_bytes({PUBLISHED: SERVED, TORCH: ONNX}[Path(sys.argv[1]).read_bytes()])
