"""Small models for the fetching half: a catalogue of a few, contents of a few kilobytes, and a conversion that copies."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from builder import fetch as fetching
from builder.fetch import Task
from builder.place import recover
from builder.sources import Hub, path_at_source
from builder.transfer import Patience
from builder.workspace import only_builder
from model_cache.catalogue import Model
from tests.support import hub_server

BIG = bytes(range(256)) * 8000  # 2 MB
SMALL = b'{"a": 1}'

NETS = {"config.json": SMALL, "model.safetensors": BIG, "README.md": b"not wanted"}
CATALOGUE: Mapping[str, Model] = {
    "net": Model(
        name="net",
        step="mask",
        kind="transformers",
        files=("config.json", "model.safetensors"),
        million_parameters=1.0,
        source={"repository": "org/net"},
        licence="MIT",
        commercial="yes",
    ),
    "other": Model(
        name="other",
        step="matte",
        kind="birefnet",
        files=("a.safetensors",),
        source={"repository": "org/other", "files": {"a.safetensors": "deep/b.safetensors"}},
        licence="MIT",
        commercial="yes",
    ),
}


def copying(model: Model, sources: Path, out: Path) -> str:
    """The conversion of a model that is published as it is served."""
    for file in model.files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources / path_at_source(model, file), out / file)
    return "copied"


def make_hub() -> hub_server.Hub:
    """A hub with the small catalogue's repositories."""
    hub = hub_server.Hub()
    hub.commit("org/net", NETS)
    hub.commit("org/other", {"deep/b.safetensors": BIG[::-1]})
    return hub


@dataclass
class Fetcher:
    """Fetches the small catalogue from a hub into a folder, in this process."""

    volume: Path
    hub: hub_server.Hub
    catalogue: Mapping[str, Model] = field(default_factory=lambda: CATALOGUE)
    said: list[str] = field(default_factory=list)

    def fetch(self, *names: str, token: str | None = None, **changes: Any) -> None:
        """`builder fetch`, quick to lose patience."""
        patience = Patience(attempts=4, pause=0.01, longest=0.05, read=0.5)
        with only_builder(self.volume) as workspace:
            recover(workspace, self.said.append)
            task = Task(workspace, self.catalogue, copying, Hub(self.hub.endpoint, token), self.said.append, lambda *_: None)
            fetching.fetch(replace(task, **{"patience": patience, **changes}), names or tuple(self.catalogue))

    def file(self, name: str, file: str) -> Path:
        """A served file."""
        return self.volume / "models" / name / file
