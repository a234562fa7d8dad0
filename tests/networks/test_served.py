import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_cache import embedded
from model_cache.embedded import EFFICIENTNET, ISNET, served
from model_cache.errors import BrokenModel
from model_cache.manifest import ModelRecord, record_of, write_lock
from pipeline.settings import Environment, environment
from tests.networks.known import LARGE, ONNX, SERVED, catalogue, put, sha256


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "networks", catalogue)


def record(folder: Path, *paths: Path) -> None:
    write_lock(
        folder,
        {path.parent.name: ModelRecord(source="s", revision="r", sources={}, files={path.name: record_of(path)}) for path in paths},
    )


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert served(tmp_path / "none") == {}
    assert served(tmp_path) == {}


def test_what_is_there_is_served_with_its_hash(tmp_path):
    path = put(tmp_path, ISNET, SERVED)
    assert served(tmp_path) == {ISNET: embedded.Served(ISNET, path, sha256(SERVED))}
    put(tmp_path, EFFICIENTNET, ONNX)
    assert list(served(tmp_path)) == [ISNET, EFFICIENTNET]


def test_every_form_is_served(tmp_path):
    put(tmp_path, ISNET, LARGE)
    assert served(tmp_path)[ISNET].sha256 == sha256(LARGE)


def test_a_recorded_file_is_not_hashed_and_one_with_another_stamp_is(tmp_path, monkeypatch):
    path = put(tmp_path, ISNET, SERVED)
    record(tmp_path, path)
    hashed: list[Path] = []
    monkeypatch.setattr(embedded, "digest", lambda it: hashed.append(it) or sha256(it.read_bytes()))
    assert served(tmp_path)[ISNET].sha256 == sha256(SERVED)
    assert hashed == []
    os.utime(path, (1, 1))
    assert served(tmp_path)[ISNET].sha256 == sha256(SERVED)
    assert hashed == [path]


@pytest.mark.parametrize("content", [b"", SERVED[:-1], b"x" + SERVED[1:]])
def test_other_bytes_are_refused_with_what_to_do(tmp_path, content):
    put(tmp_path, ISNET, content)
    with pytest.raises(BrokenModel, match=r"isnet.onnx has other bytes.*python -m builder fetch --embedded mends it"):
        served(tmp_path)


def test_a_record_vouches_for_known_bytes_only(tmp_path):
    record(tmp_path, put(tmp_path, ISNET, b"something else"))
    with pytest.raises(BrokenModel, match="other bytes"):
        served(tmp_path)


def test_a_lock_file_that_is_none_only_costs_the_hashing(tmp_path):
    put(tmp_path, ISNET, SERVED)
    (tmp_path / "models.lock.json").write_text("{")
    assert served(tmp_path)[ISNET].sha256 == sha256(SERVED)


def test_a_file_that_cannot_be_read_is_named_without_its_folder(tmp_path, monkeypatch):
    put(tmp_path, ISNET, SERVED)

    def refused(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(embedded, "digest", refused)
    with pytest.raises(BrokenModel, match=r"isnet\.onnx cannot be read") as caught:
        served(tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_the_folder_is_a_setting_and_beside_the_code_by_default(tmp_path):
    assert Environment().networks_path == embedded.DEFAULT == Path(__file__).parents[2] / ".networks"
    assert environment({embedded.VARIABLE: str(tmp_path)}).networks_path == tmp_path


def test_asking_is_light():
    code = "import sys, pathlib; from model_cache.embedded import served; served(pathlib.Path('/none')); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "onnxruntime", "onnx", "torch"} & set(loaded.split())
