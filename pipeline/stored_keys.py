"""The rules for the keys under which a job's files are stored."""

import unicodedata
from collections.abc import Sequence

from pipeline.errors import Code, JobError

_MAX_PREFIX_BYTES = 512  # an S3 key holds 1024 bytes, of which the bucket's prefix and the name want some
_MAX_SEGMENT_BYTES = 200  # a file name holds 255 bytes on every common file system


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
