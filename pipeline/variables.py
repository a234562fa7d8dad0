"""Values of environment variables as people hand them over: files of variables, consoles and quoting leave marks around them."""

import os


def cleaned(value: str) -> str:
    """Without blanks and line ends around it, and without one pair of quotes."""
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value


def variable(name: str) -> str | None:
    """A variable of this process, `cleaned`; None where nothing is left of it."""
    return cleaned(os.environ.get(name, "")) or None
