"""Nothing that the worker is made of reports to its maker."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from pipeline.sample import scene
from tests.support.pictures import save

ROOT = Path(__file__).parents[1]
#: onnxruntime keeps quiet by itself where it sees one of these.
CI = {"CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"}


def test_the_reader_of_lettering_leaves_no_identity_at_home(tmp_path: Path) -> None:
    """onnxruntime from 1.29 on tells Microsoft of machine, program and models, under an identity that it keeps in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(save(Image.fromarray(scene(seed=7, width=320, height=213).rgb), "JPEG"))
    environment = {name: value for name, value in os.environ.items() if name not in CI and not name.startswith("XDG_")} | {
        "HOME": str(home)
    }
    command = [sys.executable, "-m", "pipeline", str(photo), "-o", str(tmp_path / "out"), "--size", "1024", "--vehicle-box", ".1,.1,.9,.9"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert [str(file) for file in home.rglob("*") if "onnxruntime" in str(file)] == []
