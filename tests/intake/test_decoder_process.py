"""What the process that decodes a stranger's picture is given, and what it may take."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.intake.photo import decode
from tests.support.pictures import quarters, save

ROOT = Path(__file__).parents[2]


def test_it_is_given_no_setting_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, python = tmp_path / "seen", tmp_path / "python"
    python.write_text(f'#!/bin/sh\nenv > {seen}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    for name in ("BUCKET_SECRET_ACCESS_KEY", "RUNPOD_AI_API_KEY", "API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MODEL_VOLUME_PATH"):
        monkeypatch.setenv(name, "pLaNt3d")
    decode(save(Image.fromarray(quarters()), "PNG"))
    assert "PATH=" in seen.read_text()
    assert "pLaNt3d" not in seen.read_text()


def test_it_cannot_take_more_memory_than_a_picture_of_the_largest_size_needs() -> None:
    code = """
import numpy as np
from pipeline.intake.decoder import BASE_BYTES, BYTES_PER_PIXEL, Request, confine
request = Request("PNG", "The picture", True, 120_000_000, 30_000, 64, 15.0)
confine(request)
most = request.pixels * BYTES_PER_PIXEL + BASE_BYTES
held = np.empty(most // 2, np.uint8)
try:
    np.empty(most, np.uint8)
except MemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "refused\n", done.stderr
