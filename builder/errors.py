"""What can stop the builder: one sentence that tells a person what to do. Never a token, never a traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

#: The volume is full, or the share of it that this account may use.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BuilderError(Exception):
    """Something that the user can act on; the shell prints its sentence and exits with 1."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class WrongOption(BuilderError):  # noqa: N818 - says what is the case
    """The command line asks for something that there is not; the shell exits with 2."""


class VolumeFull(BuilderError):  # noqa: N818 - says what is the case
    """No more bytes fit; going on with another model would fail as well."""


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a write that the volume refuses into a `BuilderError` that says so; `what` is being written."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise VolumeFull(
                f"The volume is full: {what} could not be written. Nothing that was complete has changed; "
                "make room (python -m builder prune) and run the same command again, it goes on where it stopped."
            ) from error
        raise BuilderError(f"{what} could not be written: {error.strerror or type(error).__name__}.") from error
