"""What a job delivers: named bytes, and the rules for the keys under which they are stored."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.errors import Code, JobError

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
_MAX_PREFIX_BYTES = 512  # an S3 key holds 1024 bytes, of which the bucket's prefix and the name want some
_MAX_SEGMENT_BYTES = 200  # a file name holds 255 bytes on every common file system


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


def safe_prefix(text: str) -> str:
    """`text` unchanged when it is a safe relative key such as `orders/42`, else `INVALID_INPUT`.

    Refused: nothing at all, a leading or trailing `/`, empty, `.` and `..` segments, backslashes, control, format and
    other invisible characters, more than 200 bytes in a segment or 512 in all.
    """
    fault = _prefix_fault(text)
    if fault:
        raise JobError(Code.INVALID_INPUT, f"output_prefix {fault}; give a relative key such as orders/42.")
    return text


def _prefix_fault(text: str) -> str | None:
    """The first thing that is wrong with `text`, in words that follow "output_prefix"."""
    if len(text) > _MAX_PREFIX_BYTES:  # first: looking at each of millions of characters takes seconds
        return f"is longer than {_MAX_PREFIX_BYTES} bytes"
    segments = text.split("/")
    categories = {unicodedata.category(character) for character in text if character != " "}
    faults = {
        "is empty": not text,
        "contains a backslash": "\\" in text,
        # Cf holds the characters that turn the writing direction, Z the spaces that look like the plain one or like nothing
        "contains a control or invisible character": any(category[0] in "CZ" for category in categories),
        "begins or ends with a slash, or contains two in a row": "" in segments,
        "contains a segment of dots or spaces only": any(segment.strip(" ") in {".", "..", ""} for segment in segments),
        f"contains a segment of more than {_MAX_SEGMENT_BYTES} bytes": _longest(segments) > _MAX_SEGMENT_BYTES,
        f"is longer than {_MAX_PREFIX_BYTES} bytes": _longest([text]) > _MAX_PREFIX_BYTES,
    }
    return next((fault for fault, holds in faults.items() if holds), None)


def _longest(texts: Sequence[str]) -> int:
    """Bytes of UTF-8 in the longest; lone surrogates, which JSON can hold, count too."""
    return max(len(text.encode("utf-8", "surrogatepass")) for text in texts)
