import io
import os
import sys
import time

import pytest
from PIL import Image

from batch.settled import PATIENCE, SETTLE, settled
from tests.support.pictures import encoded


def aged(path, data, seconds):
    path.write_bytes(data)
    at = time.time() - seconds
    os.utime(path, (at, at))
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_whole_when_it_was_left_alone_and_has_its_end(kind, tmp_path):
    whole = encoded(kind)
    assert settled(aged(tmp_path / "a", whole, SETTLE + 1))
    assert not settled(aged(tmp_path / "a", whole, SETTLE / 2))
    assert not settled(aged(tmp_path / "a", whole[: len(whole) // 2], SETTLE + 1))
    assert settled(aged(tmp_path / "a", whole[: len(whole) // 2], PATIENCE + 1))  # it stays as it is


def test_a_file_of_another_format_is_taken_as_it_is(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "BMP")
    assert settled(aged(tmp_path / "a", file.getvalue()[:50], SETTLE + 1))


def test_an_empty_file_is_waited_for(tmp_path):
    assert not settled(aged(tmp_path / "a", b"", SETTLE + 1)) and settled(aged(tmp_path / "a", b"", PATIENCE + 1))


def test_a_clock_that_is_ahead_hides_nothing(tmp_path):
    path = aged(tmp_path / "a", encoded("JPEG"), -3600)
    assert not settled(path) and settled(path, time.time() + SETTLE + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_file_that_somebody_has_open_is_not_whole(tmp_path):
    path = aged(tmp_path / "a", encoded("JPEG"), PATIENCE + 1)
    with path.open("ab"):
        os.utime(path, (1, 1))
        assert not settled(path)
    assert settled(path)
