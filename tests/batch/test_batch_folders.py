"""Folders as they are found on real disks, as a source and as the place for what comes out."""

import os
from pathlib import Path

import pytest

from tests.batch.test_batch_endpoint import photo


def test_what_is_no_file_is_no_picture(plane, batch, tmp_path):
    photo(tmp_path / "in/a.jpg")
    os.mkfifo(tmp_path / "in/pipe.jpg")
    (tmp_path / "in/gone.jpg").symlink_to("nowhere")
    ended = batch(tmp_path / "in")
    assert ended.status == 0 and list(ended.rows) == ["a.jpg"]


def test_a_name_that_is_no_utf8_is_drawn_under_its_escapes(plane, batch, tmp_path):
    name = Path(os.fsdecode(b"caf\xe9.jpg"))
    photo(tmp_path / "in" / name)
    ended = batch(tmp_path / "in")
    assert ended.status == 0 and ended.rows["caf%E9.jpg"]["source"] == "caf\N{REPLACEMENT CHARACTER}.jpg"
    assert {path.name for path in (ended.folder / "files/caf%E9.jpg").iterdir()} >= {"illustration.svg", "before.webp"}
    assert batch(tmp_path / "in").status == 0 and len(plane.sent) == 1


@pytest.mark.parametrize("inner", [".", "files/a.jpg"])
def test_the_output_is_never_where_the_pictures_are(plane, batch, tmp_path, inner):
    kept = photo(tmp_path / "in" / inner / "b.jpg")
    ended = batch(tmp_path / "in" / inner, folder=tmp_path / "in")
    assert ended.status == 2 and "holds the pictures themselves" in ended.err
    assert [path for path in (tmp_path / "in").rglob("*") if path.is_file()] == [kept]


def test_a_folder_without_pictures_is_said(plane, batch, tmp_path):
    (tmp_path / "in").mkdir()
    ended = batch(tmp_path / "in")
    assert ended.status == 0 and ended.err == "in holds no picture.\n"


@pytest.mark.parametrize("name", ["results.jsonl", "gallery.html", "files", ".kept"])
def test_what_cannot_be_stored_is_one_sentence(plane, batch, manifest, tmp_path, name):
    if name[0] in "rg":
        (tmp_path / "out" / name / "x").mkdir(parents=True)
    else:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).touch()
    given = manifest(count=2)
    ended = batch(given)
    assert ended.status == 3 and ended.err.count("\n") == 1
    assert "cannot be stored" in ended.err and "The same command goes on later." in ended.err
    (tmp_path / "out" / name).rename(tmp_path / "away")
    ended = batch(given)
    assert ended.status == 0 and len(plane.sent) == len(ended.rows) == 2
