"""The catalogue and the volume's layout: what is missing is known without torch and named without a path."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.headers import read_header
from model_cache.volume import UNRECORDED, Volume
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural

NAMES = {
    *("grounding-dino", "sam", "sam2", "lama", "birefnet", "depth-anything", "zoedepth", "sdxl-unet", "sdxl-vae", "sdxl-scheduler"),
    *("sdxl-text", "controlnet-depth", "controlnet-canny", "controlnet-union", "realesrgan-anime", "lcm-lora"),
}
#: Other choices, which the tiny volume has not.
OTHERS = {"mm-grounding-dino", "birefnet-hr", "birefnet-hr-matting", "controlnet-union-promax"}


def _empty(tmp_path: Path) -> Volume:
    (tmp_path / "models").mkdir()
    return Volume(tmp_path, load_catalogue())


def test_the_catalogue_is_complete() -> None:
    catalogue = load_catalogue()
    assert set(catalogue) == NAMES | OTHERS
    for model in catalogue.values():
        assert (model.source.repository is None) != (model.source.url is None), model.name
        assert set(model.source.files) <= set(model.files), model.name
        assert (model.tflop is None) == (model.call is None), model.name
        assert model.kind in {"json", "tensors"} or model.million_parameters, model.name


def test_bytes_follow_the_dtype() -> None:
    unet = load_catalogue()["sdxl-unet"]
    assert unet.bytes() == 5_134_920_000
    assert unet.bytes("float32") == 2 * unet.bytes()
    assert load_catalogue()["sdxl-scheduler"].bytes() is None


def test_a_file_of_data_swaps_a_model(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("sam: {files: [other.safetensors], dtype: bfloat16}\n")
    catalogue = load_catalogue(own)
    assert catalogue["sam"].files == ("other.safetensors",)
    assert catalogue["sam"].network == "SamModel"
    assert load_catalogue()["sam"].files != ("other.safetensors",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sam: {dtyp: float16}", "own.yaml: sam.dtyp: Extra inputs"),
        ("sam: {dtype: int8}", "own.yaml: sam.dtype: Input should be 'float32', 'float16' or 'bfloat16'"),
        ("sam: {files: [../../x]}", "leaves the model's folder"),
        ("new: {step: draw}", "own.yaml: new.kind: Field required"),
        ("[sam]", "own.yaml must map"),
        ("sam: {a", "own.yaml is not YAML"),
    ],
)
def test_a_wrong_catalogue_is_refused_by_key(tmp_path: Path, text: str, complaint: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        load_catalogue(own)


def test_the_tiny_volume_lacks_nothing(tiny_volume: Path) -> None:
    Volume(tiny_volume, load_catalogue()).require(NAMES)


def test_missing_and_empty_files_are_named(tiny_volume: Path, tmp_path: Path) -> None:
    volume = Volume(volumes.copy_volume(tiny_volume, tmp_path / "v"), load_catalogue())
    volume.file("sam", "config.json").unlink()
    volumes.replace(volume.file("lama", "big-lama.safetensors"), b"")
    assert volume.missing(NAMES) == {"sam": ("config.json",), "lama": ("big-lama.safetensors",)}
    with pytest.raises(MissingModels) as raised:
        volume.require(("lama", "sam", "sam2"))
    assert str(raised.value) == "The model volume lacks lama (big-lama.safetensors), sam (config.json)"
    assert str(tmp_path) not in str(raised.value)


def test_a_folder_in_place_of_a_file_is_missing(tmp_path: Path) -> None:
    volume = _empty(tmp_path)
    volume.file("sdxl-scheduler", "scheduler_config.json").mkdir(parents=True)
    assert volume.missing(["sdxl-scheduler"]) == {"sdxl-scheduler": ("scheduler_config.json",)}


def test_missing_models_are_known_without_torch(tmp_path: Path) -> None:
    """The worker refuses to start before anything heavy is imported."""
    script = (
        "import sys\nfrom pathlib import Path\nimport model_cache\nfrom model_cache.catalogue import load_catalogue\n"
        "from model_cache.volume import Volume\n"
        f"v = Volume(Path({str(tmp_path)!r}), load_catalogue())\n"
        "assert len(v.missing(v.catalogue)) == len(v.catalogue) and v.prompts() is None and v.style() is None\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'numpy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=60)


def test_revisions_come_from_the_lock_file(tmp_path: Path) -> None:
    volume = _empty(tmp_path)
    assert volume.revision("sam") == UNRECORDED
    record = {"source": "facebook/sam-vit-huge", "revision": "0123abc", "sources": {}, "files": {}}
    (tmp_path / "models.lock.json").write_text(json.dumps({"sam": record}))
    assert (volume.revision("sam"), volume.revision("lama")) == ("0123abc", UNRECORDED)
    (tmp_path / "models.lock.json").write_text("[]")
    with pytest.raises(BrokenModel, match=r"models\.lock\.json cannot be used"):
        volume.revision("sam")


def test_the_style_is_the_only_one_or_the_named_one(tmp_path: Path) -> None:
    volume = _empty(tmp_path)
    assert volume.style() is None
    (tmp_path / "styles").mkdir()
    for name in ("._a.safetensors", "a.safetensors", "readme.txt"):
        (tmp_path / "styles" / name).write_bytes(b"x")
    assert volume.style() == tmp_path / "styles" / "a.safetensors"
    (tmp_path / "styles" / "b.safetensors").write_bytes(b"x")
    with pytest.raises(BrokenModel, match=r"a\.safetensors, b\.safetensors"):
        volume.style()
    assert volume.style("b") == volume.style("b.safetensors") == tmp_path / "styles" / "b.safetensors"
    for name in ("c", "../models/sam/model"):
        with pytest.raises(MissingModels, match="styles"):
            volume.style(name)


# --- headers ---


def _file(tmp_path: Path, header: object, body: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_a_header_lists_the_tensors(tiny_volume: Path) -> None:
    entries = read_header(tiny_volume / "models" / "birefnet" / "model.safetensors")
    assert entries["bb.patch_embed.proj.weight"].shape == (16, 3, 4, 4)
    assert entries["bb.patch_embed.proj.weight"].dtype == "F16"


@pytest.mark.parametrize(
    ("header", "body", "complaint"),
    [
        ({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, b"123", "is cut off"),
        ({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, b"12345", "is too long"),
        ({"a": {"dtype": "F16", "shape": [3], "data_offsets": [0, 4]}}, b"1234", "contradicts itself at a"),
        ({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"1234", "a as F8_E4M3"),
        ({"a": {"dtype": "F16", "shape": [2]}}, b"1234", "no list of tensors"),
        ({"__metadata__": {"format": "pt"}}, b"", "holds no tensors"),
        ([1], b"", "no list of tensors"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: object, body: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_header(_file(tmp_path, header, body))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 100, (50).to_bytes(8, "little") + b"{}"])
def test_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors is no safetensors file"):
        read_header(path)


def test_revisions_that_the_catalogue_names(tmp_path: Path) -> None:
    catalogue = load_catalogue()
    named = {name: model.source.revision for name, model in catalogue.items() if model.source.revision}
    assert named == {"sam2": "665f8e2", "depth-anything": "5426e4f", "zoedepth": "f364d4c"}
    assert catalogue["sam2"].source.allows("665f8e2" + "0" * 33)
    assert not catalogue["sam2"].source.allows("0" * 40)
    assert catalogue["sam"].source.allows("0" * 40)
    own = tmp_path / "own.yaml"
    own.write_text('sam: {source: {repository: a/b, revision: "main"}}')
    with pytest.raises(ValueError, match=r"own\.yaml: sam\.source\.revision"):
        load_catalogue(own)
