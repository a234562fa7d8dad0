"""The builder's door, on a volume of tiny networks published on a hub on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builder.__main__ import main
from builder.sources import paths_of
from builder.workspace import only_builder
from tests.support.hub_server import Hub, serving
from tests.support.published import CATALOGUE, published

#: The default choice but for LaMa, which has one size only, a large one.
CONFIG = {"steps": {"inpaint": "classical"}}
NAMES = [
    "grounding-dino",
    "birefnet",
    "sam",
    "depth-anything",
    "sdxl-scheduler",
    "sdxl-unet",
    "controlnet-depth",
    "controlnet-canny",
    "sdxl-vae",
    "lcm-lora",
    "sdxl-text",
    "realesrgan-anime",
]


@pytest.fixture(scope="module")
def hub(tiny_volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder, hub = tmp_path_factory.mktemp("published"), Hub()
    repositories: dict[str, dict[str, bytes]] = {}
    for name in NAMES:
        model, home = CATALOGUE[name], published(tiny_volume, CATALOGUE[name], folder / name)
        files = {path: (home / path).read_bytes() for path in paths_of(model)}
        if model.source.repository:
            repositories.setdefault(model.source.repository, {}).update(files)
        else:
            hub.files |= files
    for repository, files in repositories.items():
        hub.commit(repository, files)
    with serving(hub):
        yield hub


@pytest.fixture
def volume(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty volume, in the environment of a user of this hub."""
    folder = tmp_path / "volume"
    folder.mkdir()
    source = {"url": f"{hub.endpoint}/files/RealESRGAN_x4plus_anime_6B.pth"}
    loose = {"source": {"repository": CATALOGUE["depth-anything"].source.repository}}  # no hub of a test has the pinned commit
    (folder / "catalogue.yaml").write_text(yaml.safe_dump({"realesrgan-anime": {"source": source}, "depth-anything": loose}))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("MODEL_VOLUME_PATH", str(folder))
    monkeypatch.setenv("PIPELINE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.mark.neural
def test_an_empty_volume_is_filled_proved_damaged_and_mended(volume: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*arguments: str, expect: int = 0) -> str:
        assert main(list(arguments)) == expect
        return capsys.readouterr().out

    assert "To fetch: about" in say("plan")
    assert "12 faults" in say("verify", expect=1)
    told = say("fetch")
    assert "birefnet: complete" in told
    assert "sdxl-text: removed, the prompt's embeddings are made" in told
    assert say("verify") == "Everything is as recorded.\n"
    assert "Nothing is to be fetched." in say("plan")
    assert json.loads(say("plan", "--json"))["complete"]
    status = json.loads(say("status", "--json"))
    assert (status["ready"], status["prompts"], status["downloads"], status["builder"]) == (True, True, 0, None)
    assert set(status["models"]) == set(NAMES) - {"sdxl-text"}
    assert status["models"]["birefnet"]["revision"] == hub.heads["ZhengPeng7/BiRefNet"]
    assert "ready to serve" in say("status")

    hub.asked.clear()
    say("fetch")
    assert hub.asked == []

    weights = volume / "models" / "birefnet" / "model.safetensors"
    good, stamp = weights.read_bytes(), weights.stat().st_mtime_ns
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    os.utime(weights, ns=(stamp, stamp))
    assert say("verify", "--quick") == "Everything is as recorded.\n"
    found = json.loads(say("verify", "--json", expect=1))["findings"]
    assert [(it["model"], it["file"]) for it in found] == [("birefnet", "model.safetensors")]
    say("fetch", "--check")
    assert weights.read_bytes() == good
    assert say("verify") == "Everything is as recorded.\n"

    assert "models/sam: " in say("prune", "--only", "birefnet")
    assert (volume / "models" / "sam").is_dir()
    say("prune", "--only", "birefnet", "--yes")
    assert [path.name for path in (volume / "models").iterdir()] == ["birefnet"]


@pytest.mark.neural
def test_kept_downloads_are_converted_to_the_same_bytes(volume: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--only", "sam,realesrgan-anime", "--keep-downloads"]) == 0
    lock = json.loads((volume / "models.lock.json").read_text())
    hub.asked.clear()
    assert main(["convert", "--only", "sam,realesrgan-anime"]) == 0
    assert hub.asked == []
    again = json.loads((volume / "models.lock.json").read_text())
    for name in ("sam", "realesrgan-anime"):
        assert {f: it["sha256"] for f, it in again[name]["files"].items()} == {f: it["sha256"] for f, it in lock[name]["files"].items()}
    assert main(["convert", "--only", "birefnet"]) == 1
    assert "birefnet: its downloads are not here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["plan", "--nonsense"], 2, "--nonsense"),
        (["plan", "--only", "lamma"], 2, "The catalogue has no lamma"),
        (["fetch", "--from", "/no/such/folder"], 2, "There is no folder /no/such/folder to import from"),
        (["fetch", "--only", "sam", "--update", "lama"], 2, "--update names lama"),
        (["status", "--volume", "/no/such/folder"], 1, "There is no folder /no/such/folder; fetch makes one"),
        (["mirror"], 2, "--s3-bucket"),
        (["add-style", "/no/such.safetensors"], 1, "There is no file /no/such.safetensors"),
        (["add-style", "/no/such.safetensors", "--name", "../other"], 2, "'../other' is no name for a style"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_wrong_options(volume: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, sentence: str) -> None:
    assert main(arguments) == status
    assert sentence in capsys.readouterr().err


def test_without_a_volume(volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MODEL_VOLUME_PATH")
    monkeypatch.setattr("builder.arguments.MOUNTS", ())
    assert main(["plan"]) == 2
    assert "set MODEL_VOLUME_PATH" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["doctor"], ["train-style", "pairs"], ["add-style", "my.safetensors"]])
def test_without_torch(volume: Path, tmp_path: Path, command: list[str]) -> None:
    """As `./run demo` leaves a machine."""
    (tmp_path / "my.safetensors").write_bytes(b"")
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    done = subprocess.run(
        [sys.executable, "-m", "builder", *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "requirements.txt: No module named 'torch'" in done.stderr


def test_a_second_builder_is_refused(volume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with only_builder(volume):
        assert main(["fetch", "--only", "birefnet"]) == 1
        assert main(["plan"]) == 0
    assert "Another builder is at work on this volume: process " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "fetch", "convert", "add-style", "verify", "prune", "status", "mirror", "doctor"])
def test_every_command_explains_itself(volume: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    assert "--volume" in capsys.readouterr().out


def test_an_interrupt_is_told(volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.work.fetch", interrupted)
    assert main(["fetch", "--only", "birefnet"]) == 130
    assert "run the same command again to go on" in capsys.readouterr().err
