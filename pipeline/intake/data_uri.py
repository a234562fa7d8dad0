"""Pictures inside a job's text: base64, or a data URI (RFC 2397)."""

import base64
import binascii
import re

from pipeline.errors import Code, JobError

#: Up to the data: any media type, or none, and any parameters and blanks. No honest one is longer than this.
_HEAD = re.compile(r"data:(.{0,1000}?;)?\s*base64\s*(;[^,]{0,1000})?,", re.IGNORECASE | re.DOTALL)
#: What percent encoding makes of the characters of base64, and of white space.
_ESCAPES = {"%2B": "+", "%2F": "/", "%3D": "=", "%2C": ",", "%3B": ";", "%3A": ":", "%20": " ", "%0A": "\n", "%0D": "\r", "%09": "\t"}
_STANDARD = str.maketrans("-_", "+/")


def decode_base64(text: str, max_bytes: int) -> bytes:
    """Base64, or a data URI of it, to bytes: both alphabets, white space anywhere, padding optional, percent encoding undone.

    The media type of a data URI says nothing, for browsers write `application/octet-stream` where they know none: the bytes decide, later.
    A `+` that has become a blank is put back (`_readings`).

    Raises JobError: INVALID_INPUT for anything else, INPUT_TOO_LARGE before anything is decoded.
    """
    body = text.strip()
    if "%" in body:
        for escape, character in _ESCAPES.items():
            body = body.replace(escape, character).replace(escape.lower(), character)
    if body[:5].lower() == "data:":
        head = _HEAD.match(body)
        if head is None:
            raise JobError(Code.INVALID_INPUT, "The data URI must begin with 'data:', a media type or none, and ';base64,'.")
        body = body[head.end() :]
    body = _joined(body)
    length = (len(body) - body.count(" ") - (len(body) - len(body.rstrip("=")))) * 3 // 4
    if length > max_bytes:
        raise JobError(Code.INPUT_TOO_LARGE, f"The picture has {length:,} bytes; {max_bytes:,} are the limit.")
    if not body.rstrip("= "):
        raise JobError(Code.INVALID_INPUT, "The base64 text is empty.")
    for reading in _readings(body):
        standard = reading.translate(_STANDARD).rstrip("=")
        try:
            return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
    reason = ": it holds blanks, as a + becomes one where a form is sent without writing it as %2B" if " " in body else ""
    raise JobError(Code.INVALID_INPUT, f"The text is not base64{reason}.")


def _joined(body: str) -> str:
    """The lines joined, without their indentation; the only white space left is blanks inside a line."""
    if " " not in body:
        return "".join(body.split())
    lines = body.strip().splitlines()
    if all(line[0].isspace() for line in lines[1:] if line):
        lines = [line.lstrip() for line in lines]
    if all(line[-1].isspace() for line in lines[:-1] if line):
        lines = [line.rstrip() for line in lines]
    one = "".join(lines)
    return one if one.isascii() and one.isprintable() else re.sub(r"[^\S ]+", "", one)


def _readings(body: str) -> list[str]:
    """The readings of a text, the likeliest first: its blanks were `+`, or they only separate its parts.

    Decoding a form turns every `+` into a blank. So the blanks are separators where a `+` is left, where the other alphabet is used, or
    where they stand at equal distances. The length decides where it can: a padded text has a multiple of four characters.
    """
    if " " not in body:
        return [body]
    parted, restored = body.replace(" ", ""), body.replace(" ", "+")
    first = body.index(" ")
    marks = body[first :: first + 1]
    even = marks.count(" ") == len(marks) == body.count(" ")
    if even or any(character in body for character in "+-_"):
        return [reading for reading in (parted, restored) if len(reading) % 4 == 0] + [parted]
    whole = len(restored) % 4 == 0 or "=" not in restored
    return [restored, parted] if whole else [parted]
