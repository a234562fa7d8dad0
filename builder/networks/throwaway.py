"""Environments that live for one set-up: what only set-up needs never comes near the environment that serves."""

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from builder.errors import BuilderError
from builder.networks.children import run
from builder.transfer import Patience

_HOME = Path(__file__).parent
#: What writes ONNX, and what brings an npm client.
WRITING, NPM = _HOME / "requirements-onnx.txt", _HOME / "requirements-npm.txt"


def pins(requirements: Path) -> dict[str, str]:
    """Package → version of a file of exact pins."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def is_installed(name: str, wanted: str) -> bool:
    """Whether this environment has exactly this version of a package. Imports nothing of it."""
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


def is_here(requirements: Path) -> bool:
    """Whether this environment holds exactly what the file pins, as one for tests may."""
    return all(is_installed(name, wanted) for name, wanted in pins(requirements).items())


def python_with(requirements: Path, folder: Path, patience: Patience) -> Path:
    """A Python that has what the file pins: this one, or that of a new environment in `folder`. Wheels alone, nothing is built.

    Raises `BuilderError` that says why it cannot be had.
    """
    if is_here(requirements):
        return Path(sys.executable)
    python, wanted = folder / "bin" / "python", ", ".join(f"{name} {it}" for name, it in pins(requirements).items())
    has_pip = find_spec("pip") is not None
    venv: list[str | Path] = [sys.executable, "-m", "venv", *(["--without-pip"] if has_pip else []), folder]
    made = run(venv, patience, folder.parent)
    if made.status != 0:
        raise BuilderError(f"no environment for {wanted} could be made: {_why(made.said) or 'Python lacks venv or ensurepip'}.")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
    # Ten seconds to connect, once; everything is pinned, so that nothing has to be resolved; nothing is imported often enough to compile.
    options = ["--no-deps", "--only-binary", ":all:", "--no-compile", "--timeout", "10", "--retries", "0", "--no-input", "--quiet"]
    installed = run([*pip, "install", *options, "-r", requirements], patience, folder.parent)
    if installed.status != 0:
        raise BuilderError(f"pip could not bring {wanted}: {_why(installed.said) or 'it does not say why'}.")
    return python


def _why(said: str) -> str:
    """The last line that a program marked as an error, else its last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith("error")]
    return (marked or lines or [""])[-1].removeprefix("ERROR: ").rstrip(".")
