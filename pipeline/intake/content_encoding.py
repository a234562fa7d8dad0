"""The `Content-Encoding` of what a server or a bucket sends, which is often untrue.

Object stores answer with whatever was written beside the object when it was stored: `base64`, `aws-chunked`, `utf-8`, `binary`, `none`,
or `gzip` over bytes that never were packed. So the bytes decide: data that begins as a picture is one, unknown codings are ignored, and
data that is really packed is unpacked, by urllib3, up to the largest picture's length.
"""

from io import BytesIO

from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from pipeline.errors import Code, JobError
from pipeline.intake.photo import sniff

#: Content codings of RFC 9110 (8.4.1), RFC 7932 and RFC 8878 that urllib3 undoes; `compress` has died out.
KNOWN = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})

#: Data that begins so is packed by gzip (RFC 1952, 2.3.1) or zstd (RFC 8878, 3.1.1), whatever the header says.
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")


def unpacked(data: bytes, said: str, sender: str, max_bytes: int) -> bytes:
    """The picture inside `data`, whose `Content-Encoding` is `said`: codings separated by commas, in the order in which they were applied.

    `sender` names in sentences where it comes from. Bytes that are not packed in spite of what was said come back as they are.

    Raises JobError: INPUT_TOO_LARGE (more than `max_bytes` unpacked; no more than that is ever unpacked), INPUT_UNREACHABLE (a damaged
    gzip or zstd file, or more than five codings over each other).
    """
    codings = [coding for part in said.split(",") if (coding := part.strip().lower()) in KNOWN]
    if not codings or _is_picture(data):
        return data
    body = HTTPResponse(BytesIO(data), headers={"Content-Encoding": ",".join(codings)}, preload_content=False)
    try:
        picture = body.read(max_bytes + 1)
    except DecodeError as fault:
        if data.startswith(_PACKED):
            raise JobError(Code.INPUT_UNREACHABLE, f"{sender} sends a packed file that cannot be unpacked.") from fault
        return data
    if len(picture) > max_bytes:
        raise JobError(Code.INPUT_TOO_LARGE, f"What {sender} sends is larger than {max_bytes:,} bytes when it is unpacked.")
    return picture or data


def _is_picture(data: bytes) -> bool:
    try:
        sniff(data)
    except JobError:
        return False
    return True
