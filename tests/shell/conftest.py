"""What the shell's tests share: a photo, and a finished job with all its files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline.sample import scene
from tests.support.shell import call


@pytest.fixture(scope="session")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "car.jpg"
    Image.fromarray(scene(seed=3, width=640, height=426).rgb).save(path, quality=90)
    return path


@pytest.fixture(scope="session")
def finished(photo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "made"
    outputs = "svg,png,report,pdf,intermediates"
    done = call(photo, "-o", folder, "--size", 1024, "--palette", "00f,FFFFFF,000000,808080,FF0000,#00FF00", "--outputs", outputs, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)
