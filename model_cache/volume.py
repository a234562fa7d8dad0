"""The model volume: where each file lies, and what is missing. No torch: decided before anything heavy is imported.

```
VOLUME/models/NAME/FILES            as the catalogue lists them
VOLUME/models.lock.json             {NAME: {"revision": …}}: what was fetched
VOLUME/styles/*.safetensors         style LoRAs; NAME.style.json beside them: their triggers (model_cache.styles)
VOLUME/prompts/default.safetensors  embeddings of the default prompt
VOLUME/huggingface-cache/hub/…      models that the platform fetched, used where a model has no folder of its own
```
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_cache.catalogue import Model
from model_cache.errors import BrokenModel, MissingModels
from model_cache.headers import read_metadata
from model_cache.hub_cache import snapshot_file
from model_cache.manifest import read_lock

#: `revision` of a model whose fetch nobody recorded.
UNRECORDED = "unrecorded"


@dataclass(frozen=True, slots=True)
class Volume:
    """A folder that holds models as `catalogue` says."""

    path: Path
    catalogue: Mapping[str, Model]

    def file(self, name: str, file: str) -> Path:
        """Where a model's file lies, whether it is there or not: in the model's own folder, else where the hub's cache has all of it.

        Raises `BrokenModel` for a lock file that cannot be read.
        """
        own = self.path / "models" / name / file
        return own if self.is_own(name) else snapshot_file(self.path, self.catalogue[name], file) or own

    def home(self, name: str) -> Path:
        """The folder below which the model's files have their names."""
        first = self.catalogue[name].files[0]
        return self.file(name, first).parents[len(Path(first).parts) - 1]

    def is_own(self, name: str) -> bool:
        """Whether the model has a folder of its own here, as the builder makes it."""
        return (self.path / "models" / name).is_dir()

    def missing(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Model → its files that are absent or empty; models of which nothing is missing are left out. Reads no file."""
        lacking = {name: tuple(f for f in self.catalogue[name].files if not _has_content(self.file(name, f))) for name in names}
        return {name: files for name, files in lacking.items() if files}

    def require(self, names: Iterable[str]) -> None:
        """Raise `MissingModels` unless every file of every model is there."""
        if lacking := self.missing(names):
            raise MissingModels(lacking)

    def revision(self, name: str) -> str:
        """What the lock file records of a model, else `UNRECORDED`. Raises `BrokenModel` for a lock file that cannot be read."""
        record = read_lock(self.path).get(name)
        return record.revision if record else UNRECORDED

    def style(self, name: str | None = None) -> Path | None:
        """The style LoRA: the named one, else the only one there is, else None.

        Raises `MissingModels` when the named one is not there, `BrokenModel` when there are several and none is named.
        """
        folder = self.path / "styles"
        if name is not None:
            file = name if name.endswith(".safetensors") else f"{name}.safetensors"
            if Path(file).name != file or not _has_content(folder / file):
                raise MissingModels({"styles": (file,)})
            return folder / file
        there = sorted(p for p in folder.glob("*.safetensors") if not p.name.startswith("."))
        if len(there) > 1:
            raise BrokenModel("styles", f"several are installed ({', '.join(p.name for p in there)}) and none is named")
        return there[0] if there else None

    def prompts(self) -> Path | None:
        """The stored embeddings of the default prompt, if there are any (`model_cache.prompts.read` gives them)."""
        path = self.path / "prompts" / "default.safetensors"
        return path if path.is_file() else None

    def has_prompts(self, texts: tuple[str, str]) -> bool:
        """Whether the stored embeddings are those of exactly this prompt and negative prompt, by what their file says of itself."""
        path = self.prompts()
        try:
            said = {} if path is None else read_metadata(path)
        except (OSError, ValueError):
            return False
        return (said.get("prompt"), said.get("negative_prompt")) == texts


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
