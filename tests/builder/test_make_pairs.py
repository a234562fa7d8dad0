"""Pairs to begin with: photographs and job folders in, SVGs to correct out, and what was corrected stays."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from builder.__main__ import main
from builder.train.pictures import read_drawing, read_photo, same_aspect
from tests.support.style_pairs import write_pairs

JOB_SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4096 4096"><path fill="#FF0000" d="M9 9L900 9L9 900Z"/></svg>'


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """One cut-out, one photograph in which nothing is, and a finished job's folder."""
    folder = tmp_path / "photographs"
    pairs = write_pairs(tmp_path / "pairs", 1, apart=True)
    shutil.copytree(pairs / "photos", folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    job = folder / "job-7"
    job.mkdir()
    (job / "illustration.svg").write_text(JOB_SVG)
    Image.new("RGB", (1024, 1024), "grey").save(job / "clean_plate.png")
    return folder


def test_pairs_to_begin_with(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["make-pairs", str(photographs), "-o", str(out), "--json"]) == 1  # one of them is broken
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-2] == {"event": "pairs", "folder": str(out), "new": 2, "kept": 0, "failed": 1}
    assert "broken.jpg: " in events[-1]["sentence"]
    assert {path.name for path in out.iterdir()} == {"car0.photo.png", "car0.svg", "job-7.photo.png", "job-7.svg"}
    for stem in ("car0", "job-7"):
        photo, drawing = read_photo(out / f"{stem}.photo.png").rgb, read_drawing(out / f"{stem}.svg").rgb
        assert same_aspect(photo.shape[1::-1], drawing.shape[1::-1])
        assert (drawing < 250).any()
    (out / "car0.svg").write_text(JOB_SVG)
    (photographs / "broken.jpg").unlink()
    assert main(["make-pairs", str(photographs), "-o", str(out)]) == 0
    assert "2 drawings are there and stay as they are" in capsys.readouterr().out
    assert (out / "car0.svg").read_text() == JOB_SVG


def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make-pairs", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["make-pairs", str(tmp_path / "empty"), "-o", str(tmp_path / "out")]) == 2
    assert "holds neither photographs nor folders of jobs" in capsys.readouterr().err
    for name in ("a.jpg", "A.png"):
        (tmp_path / "empty" / name).write_bytes(b"x")
    assert main(["make-pairs", str(tmp_path / "empty"), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
