"""The builder's commands with `--embedded`: what they print and how they end. `builder.__main__` is their shell."""

import json
import sys
from pathlib import Path

from rich.console import Console

from builder.errors import BuilderError, WrongOption
from builder.networks import look
from model_cache.embedded import DEFAULT, FETCH, VARIABLE
from pipeline.variables import variable


def folder(**others: object) -> Path:
    """The folder of the embedded networks. `others`: options by name that go with a model volume alone.

    Raises `WrongOption` where one of them was given, `BuilderError` where the folder is none.
    """
    if given := [name for name, value in others.items() if value]:
        raise WrongOption(f"--{given[0].replace('_', '-')} does not go with --embedded; {VARIABLE} names the folder of its networks.")
    path = Path(variable(VARIABLE) or DEFAULT).resolve()
    if path.exists() and not path.is_dir():
        raise BuilderError(f"{path} is not a folder.")
    return path


def plan(path: Path, mbps: float, as_json: bool) -> None:
    """What is there, what is missing, and what a fetch would bring. Offline."""
    data = look.plan(path, mbps)
    if as_json:
        sys.stdout.write(f"{json.dumps(data, indent=2)}\n")
    else:
        look.plan_as_table(Console(), data)


def verify(path: Path, deep: bool, as_json: bool) -> bool:
    """Whether every network is there with known bytes; each missing or wrong file by name."""
    wrong = [row for row in look.rows_of(path, deep) if row.state != "complete"]
    if as_json:
        findings = [{"model": row.network.name, "file": row.network.file, "what": row.what} for row in wrong]
        sys.stdout.write(f"{json.dumps({'folder': str(path), 'right': not wrong, 'findings': findings}, indent=2)}\n")
        return not wrong
    for row in wrong:
        sys.stdout.write(f"{row.network.name}: {row.what}\n")
    sys.stdout.write(f"{len(wrong)} faults; {FETCH} brings what is missing or wrong.\n" if wrong else "Everything is as pinned.\n")
    return not wrong


def status(path: Path, as_json: bool) -> None:
    """The networks with their sizes, hashes and licences, and whether the folder is ready to serve."""
    data = look.status(path)
    if as_json:
        sys.stdout.write(f"{json.dumps(data, indent=2)}\n")
    else:
        look.status_as_table(Console(), data)
