"""What a setting, or a job's own bucket, may name as an address: rules of form alone, without a request to any network."""

import re
from urllib.parse import urlsplit

#: What services allow as a bucket's name, old ones and Swift's containers among them.
BUCKET_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$"

_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def is_base(url: str) -> bool:
    """Whether keys can be appended to it: an http(s) URL whose host can be a name or an address, without user, query and fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    whole = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    bare = parts.username is None and "?" not in url and "#" not in url and not parts.netloc.endswith(":")
    return whole and bare and parts.scheme in ("http", "https") and port != 0 and _HOST.fullmatch(parts.hostname or "") is not None


def is_origin(text: str) -> bool:
    """Whether a browser's `Origin` header can say it (RFC 6454): scheme, host and port of a site, or `null`."""
    return text == "null" or (is_base(text) and not urlsplit(text).path)


def is_host(text: str) -> bool:
    """Whether it is the name or address of a host, without scheme and port; IPv6 without its brackets."""
    return _HOST.fullmatch(text) is not None
