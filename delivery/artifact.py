"""What a job delivers: named bytes, and their order."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: What is stored under which type. SVG is `image/svg+xml`: browsers show `image/svg` as a download.
CONTENT_TYPES: dict[str, str] = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "json": "application/json",
}
#: The file whose presence says that a delivery is complete; it is always stored last.
RESULT_NAME = "result.json"

_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One finished file: `name` is a plain file name such as `illustration.svg`; `content_type` its full media type.

    `make`, where given, supplies the bytes instead of `data`, once, when all other files are in their places.
    """

    name: str
    content_type: str
    data: bytes
    make: Callable[[], bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"not a plain artifact name: {self.name!r}")

    @classmethod
    def of(cls, name: str, data: bytes) -> "Artifact":
        """The artifact with the content type that belongs to the name's ending."""
        return cls(name, CONTENT_TYPES[name.rpartition(".")[2]], data)

    @classmethod
    def late(cls, name: str, make: Callable[[], bytes]) -> "Artifact":
        """An artifact that is made when all others are delivered, so that it can tell how that went."""
        return cls(name, CONTENT_TYPES[name.rpartition(".")[2]], b"", make)

    def content(self) -> bytes:
        """The bytes to store; a late artifact makes them now."""
        return self.data if self.make is None else self.make()


def in_order(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """The artifacts as given, but `result.json`, the only one that may be late, last. Two of one name are a `ValueError`."""
    names = [artifact.name for artifact in artifacts]
    if len(set(names)) != len(names):
        raise ValueError("two artifacts have the same name")
    if any(artifact.make is not None and artifact.name != RESULT_NAME for artifact in artifacts):
        raise ValueError(f"only {RESULT_NAME} may be made late")
    return sorted(artifacts, key=lambda artifact: artifact.name == RESULT_NAME)
