"""Models that the platform fetched itself, in the layout of Hugging Face's own cache. No torch.

RunPod's cached models lie below `VOLUME/huggingface-cache/hub/models--ORG--NAME/snapshots/REVISION/`. They are used as they are or not at
all: safetensors of 16 bits, under the names that the volume's own folder would have (or those with `.fp16` before their ending).
"""

import math
from pathlib import Path

from model_cache.catalogue import Model
from model_cache.headers import read_header
from model_cache.manifest import read_lock

_ENDING, _VARIANT = ".safetensors", ".fp16.safetensors"
#: Tensors in 32 bits up to this many numbers do not make a file one of 32 bits: scales, norms and position tables are often kept so.
_SMALL = 1 << 16


def snapshot_file(volume: Path, model: Model, file: str) -> Path | None:
    """Where `file` of the model lies in the hub's cache; None unless all files of the model are there and need no conversion.

    The revision is the one that the lock file records; without a record, the only snapshot there is that the catalogue allows.
    Raises `BrokenModel` for a lock file that cannot be read.
    """
    repository = model.source.repository
    snapshots = volume / "huggingface-cache" / "hub" / f"models--{(repository or '').replace('/', '--')}" / "snapshots"
    if repository is None or not snapshots.is_dir():
        return None
    record = read_lock(volume).get(model.name)
    revisions = [record.revision] if record else sorted(it.name for it in snapshots.iterdir() if model.source.allows(it.name))
    if len(revisions) != 1:
        return None
    return _usable(snapshots / revisions[0], model).get(file)


def _usable(snapshot: Path, model: Model) -> dict[str, Path]:
    """File of the model → where it lies, all of them or none; all below one folder, as the libraries read them."""
    paths = {}
    folders = set()
    for file in model.files:
        source = model.source.files.get(file, file)
        plain = source.removesuffix(_VARIANT) + _ENDING if source.endswith(_VARIANT) else source
        path = snapshot / source
        if not plain.endswith(file) or not path.is_file() or path.stat().st_size == 0:
            return {}
        folders.add(plain.removesuffix(file))
        paths[file] = path
    served = len(folders) == 1 and all(_is_16_bit(path) for file, path in paths.items() if file.endswith(_ENDING))
    return paths if served else {}


def _is_16_bit(path: Path) -> bool:
    try:
        entries = read_header(path).values()
    except ValueError:
        return False
    return not any(entry.dtype == "F32" and math.prod(entry.shape) > _SMALL for entry in entries)
