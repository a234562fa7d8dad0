"""Parts of the builder's pages: one HTML file each, for a browser without network. No torch, no network, no script."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from builder.doctor_sample import Picture

#: Longest side of a picture on a page, pixels.
LARGEST = 1100


def document(title: str, heading: str, body: str) -> str:
    """A whole page. Its policy forbids every request and every script; `body` is escaped by whoever made it."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    style = Path(__file__).with_suffix(".css").read_text("utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{escape(heading)}</h1></header>
<main>
{body}
</main>
</body>
</html>
"""


def section(title: str, body: str, beside: str = "", anchor: str = "") -> str:
    """A part of the page under a title, with something beside it."""
    head = f'<div class="head"><h2>{escape(title)}</h2>{beside}</div>'
    return f"<section{f' id={chr(34)}{anchor}{chr(34)}' if anchor else ''}>{head}{body}</section>\n"


def rows_table(names: Sequence[str], numbers: Sequence[str], rows: Sequence[str]) -> str:
    """Rows under a head; `numbers` name the last columns, set to the right."""
    head = "".join(f"<th>{name}</th>" for name in names) + "".join(f"<th class=n>{name}</th>" for name in numbers)
    return f'<div class="wide" tabindex="0"><table class="rows"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def columns(pictures: int) -> int:
    """How many stand side by side, so that few stay alone."""
    return pictures if pictures <= 4 else 4 if pictures in {7, 8} else 3


def figure(picture: Picture) -> str:
    """A picture and its caption."""
    return f'<figure><img alt="{escape(picture.caption)}" src="{uri(picture)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'


def uri(picture: Picture) -> str:
    """JPEG for photographs, PNG for masks and flat pictures, at most `LARGEST` pixels a side; an SVG as it is."""
    if isinstance(picture.pixels, bytes):
        return f"data:image/svg+xml;base64,{base64.b64encode(picture.pixels).decode('ascii')}"
    image = Image.fromarray(picture.pixels)
    if max(image.size) > LARGEST:
        k = LARGEST / max(image.size)
        image = image.resize((max(1, round(image.width * k)), max(1, round(image.height * k))), Image.Resampling.BOX)
    buffer, flat = io.BytesIO(), image.mode != "RGB" or image.getcolors(256) is not None
    if flat:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=88)
    return f"data:image/{'png' if flat else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def facts_table(facts: Mapping[str, str]) -> str:
    """Names and values."""
    return "<table>" + "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()) + "</table>"
