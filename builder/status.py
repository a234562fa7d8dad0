"""What a volume holds, as data: models with their revisions, sizes and licences, the style, the prompt's embeddings."""

from pathlib import Path
from typing import Any

from builder.choose import Choice
from builder.place import records_of
from builder.plan import state_of
from builder.workspace import Workspace, at_work
from model_cache.errors import BrokenModel
from model_cache.needed import TEXT
from model_cache.styles import beside


def status_of(choice: Choice) -> dict[str, Any]:
    """The volume as `status --json` prints it. `bytes` are those on the disk; states go by size and time stamp, no content is read.

    `ready`: every needed model is complete and the prompt's embeddings, where they are needed, are there. `triggers`: style → the words
    that it answers to, null where they are not known.
    """
    volume, catalogue, names, wanted = choice.volume, choice.catalogue, choice.names, choice.to_serve
    records, models = records_of(volume), {}
    for name in dict.fromkeys((*names, *catalogue, *records)):
        model, record = catalogue.get(name), records.get(name)
        if name not in wanted and record is None and not (volume / "models" / name).exists():
            continue
        state, wrong = state_of(volume, model, record) if model else ("not in the catalogue", dict[str, str]())
        models[name] = {
            "state": state,
            "needed": name in wanted,
            "revision": record.revision if record else None,
            "source": record.source if record else None,
            "converted": record.converted if record else None,
            "bytes": bytes_of(volume / "models" / name),
            "licence": model.licence if model else None,
            "commercial": model.commercial if model else None,
            "wrong": wrong,
        }
    styles = sorted(path for path in (volume / "styles").glob("*.safetensors") if not path.name.startswith("."))
    workspace = Workspace(volume)
    return {
        "volume": str(volume),
        "ready": all(models[name]["state"] == "complete" for name in wanted) and (TEXT not in names or choice.has_prompts),
        "builder": at_work(volume),
        "models": models,
        "styles": {path.name: path.stat().st_size for path in styles},
        "triggers": {path.name: _trigger(path) for path in styles},
        "prompts": choice.has_prompts,
        "bytes": sum(row["bytes"] for row in models.values()),
        "downloads": bytes_of(workspace.root / "downloads"),
    }


def _trigger(style: Path) -> str | None:
    """The words that a style answers to; None where they are not known, or what lies beside it cannot be read."""
    try:
        return beside(style).trigger
    except BrokenModel:
        return None


def bytes_of(folder: Path) -> int:
    """Bytes of the files below a folder; 0 where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
