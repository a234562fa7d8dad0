"""No pickle and no code that lies on a volume is ever run by what serves."""

import ast
import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.loaders import load
from model_cache.volume import Volume
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural

ROOT = Path(__file__).parents[2]
CATALOGUE = load_catalogue()
#: One of each kind of loader.
KINDS = ["grounding-dino", "sdxl-unet", "realesrgan-anime", "birefnet", "sdxl-text", "lcm-lora"]
#: What libraries look for where there are no safetensors.
OTHERS = ["pytorch_model.bin", "diffusion_pytorch_model.bin", "model.bin", "model.pt", "pytorch_lora_weights.bin"]


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.file}",))


def pickled(evil: Evil, path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": evil}))


def saved(evil: Evil, path: Path) -> None:
    torch.save({"weight": evil}, path)


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Volume:
    return Volume(volumes.copy_volume(tiny_volume, tmp_path / "volume"), CATALOGUE)


def test_the_pickles_of_these_tests_do_run(tmp_path: Path) -> None:
    for number, write in enumerate((pickled, saved)):
        write(Evil(tmp_path / f"ran{number}"), tmp_path / "x.bin")
        if write is pickled:
            pickle.loads((tmp_path / "x.bin").read_bytes())
        else:
            torch.load(tmp_path / "x.bin", weights_only=False)
        assert (tmp_path / f"ran{number}").exists()


@pytest.mark.parametrize("write", [pickled, saved])
@pytest.mark.parametrize("name", KINDS)
def test_a_pickle_under_the_name_of_safetensors(volume: Volume, tmp_path: Path, name: str, write: Callable[[Evil, Path], None]) -> None:
    for file in CATALOGUE[name].weights:
        volume.file(name, file).unlink()
        write(Evil(tmp_path / "ran"), volume.file(name, file))
    with pytest.raises(BrokenModel):
        load(volume, name, torch.float32)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("write", [pickled, saved])
@pytest.mark.parametrize("name", KINDS)
def test_a_pickle_in_place_of_safetensors(volume: Volume, tmp_path: Path, name: str, write: Callable[[Evil, Path], None]) -> None:
    for file in CATALOGUE[name].weights:
        place = volume.file(name, file)
        place.unlink()
        for other in OTHERS:
            write(Evil(tmp_path / "ran"), place.parent / other)
    with pytest.raises((BrokenModel, MissingModels)):
        load(volume, name, torch.float32)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["grounding-dino", "sdxl-unet"])
def test_code_that_comes_with_a_model(volume: Volume, tmp_path: Path, name: str) -> None:
    """`auto_map` names Python files of the model's own, which transformers and diffusers run where they are trusted."""
    home = volume.file(name, CATALOGUE[name].weights[0]).parent
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n"
    for config in home.glob("*.json"):
        said = json.loads(config.read_text())
        if not isinstance(said, dict):
            continue
        said["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor"), "evil.Evil")
        config.unlink()
        config.write_text(json.dumps(said))
    (home / "evil.py").write_text(code)
    with contextlib.suppress(BrokenModel):  # refusing it is as good as leaving the code alone
        load(volume, name, torch.float32)
    assert not (tmp_path / "ran").exists()


def test_nothing_that_serves_can_unpickle() -> None:
    """Only the builder reads pickles, in three modules, by readers that call nothing they name (tests/builder/test_convert.py,
    tests/networks/test_legacy_torch.py)."""
    reads: dict[str, set[str]] = {}
    for package in ("pipeline", "delivery", "model_cache", "server", "builder"):
        for file in [*(ROOT / package).rglob("*.py"), ROOT / "handler.py"]:
            for node in ast.walk(ast.parse(file.read_text())):
                named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                named += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
                for name in named:
                    if name.split(".")[0] in {"pickle", "dill", "joblib", "marshal", "shelve"} or name in {"torch.load", "torch.jit.load"}:
                        reads.setdefault(file.relative_to(ROOT).as_posix(), set()).add(name.split(".")[0])
    assert reads.keys() == {"builder/tensors.py", "builder/torchscript.py", "builder/networks/legacy_torch.py"}
