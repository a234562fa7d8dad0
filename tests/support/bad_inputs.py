"""Bad jobs, each with the code it must give: used by the tests and by `bench/bad_inputs.py`, which prints them as a table."""

import base64
import math
from typing import Any

from pipeline.errors import Code
from tests.support.pictures import BAD_PICTURES, encoded

GOOD = base64.b64encode(encoded("PNG", 320, 240)).decode()
INPUT, PALETTE = Code.INVALID_INPUT, Code.INVALID_PALETTE


def _job(**more: Any) -> dict[str, Any]:
    return {"image_base64": GOOD, **more}


def _nested(depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for _ in range(depth):
        out = {"a": out}
    return out


JOBS: list[tuple[str, Any, Code]] = [
    ("no input at all", None, INPUT),
    ("input is a list", [], INPUT),
    ("input is text", "photo.jpg", INPUT),
    ("empty input", {}, INPUT),
    ("both sources", _job(image_url="http://example.com/a.jpg"), INPUT),
    ("URL is a number", {"image_url": 5}, INPUT),
    ("URL is empty", {"image_url": ""}, INPUT),
    ("URL is null", {"image_url": None}, INPUT),
    ("unknown key", _job(palete="FF0000,00FF00"), INPUT),
    ("unknown key in stroke", _job(stroke={"widht": 2}), INPUT),
    ("keys nested five hundred deep", _job(x=_nested(500)), INPUT),
    ("old schema", _job(schema=0), INPUT),
    ("schema that is true", _job(schema=True), INPUT),
    ("schema by its field's name", _job(schema_version=1), INPUT),
    ("base64 that is none", {"image_base64": "!!!"}, INPUT),
    ("base64 of a wrong length", {"image_base64": "AAAAA"}, INPUT),
    ("data URI of text", {"image_base64": "data:text/plain;base64,aGVsbG8sIHdvcmxk"}, Code.UNSUPPORTED_IMAGE),
    ("data URI that is not base64", {"image_base64": "data:image/svg+xml,%3Csvg/%3E"}, INPUT),
    ("base64 with blanks, of a wrong length", {"image_base64": "AAA AAAA AA AAA A"}, INPUT),
    ("base64 of nothing", {"image_base64": "data:image/png;base64,"}, INPUT),
    ("seed is true", _job(seed=True), INPUT),
    ("seed is text", _job(seed="42"), INPUT),
    ("seed below range", _job(seed=-1), INPUT),
    ("seed above range", _job(seed=2**32), INPUT),
    ("size too small", _job(size=512), INPUT),
    ("size too large", _job(size=8193), INPUT),
    ("size not whole", _job(size=2048.5), INPUT),
    ("box with NaN", _job(vehicle_box=[0, 0, math.nan, 1]), INPUT),
    ("box with infinity", _job(vehicle_box=[0, 0, math.inf, 1]), INPUT),
    ("box turned around", _job(vehicle_box=[0.9, 0.1, 0.1, 0.9]), INPUT),
    ("box of no width", _job(vehicle_box=[0.5, 0.1, 0.5, 0.9]), INPUT),
    ("box in pixels", _job(vehicle_box=[0, 0, 640, 480]), INPUT),
    ("box of three", _job(vehicle_box=[0, 0, 1]), INPUT),
    ("box as text", _job(vehicle_box="0,0,1,1"), INPUT),
    ("two mattes", _job(matte_url="http://example.com/m.png", matte_base64=GOOD), INPUT),
    ("matte of another aspect", _job(matte_base64=base64.b64encode(encoded("PNG", 240, 240)).decode()), INPUT),
    ("palette name of nothing", _job(palette_name=""), INPUT),
    ("palette name that is a list", _job(palette_name=["greys"]), INPUT),
    ("palette of an unknown name", _job(palette_name="gray"), PALETTE),
    ("two palettes", _job(palette_name="greys", palette_hex_list="000,FFF"), INPUT),
    ("unknown preset", _job(job_preset="../catalogue"), INPUT),
    ("preset that is an object", _job(job_preset={"size": 1024}), INPUT),
    ("lock of nothing", _job(color_locks=[{"color": "FFF"}]), INPUT),
    ("lock of part and point", _job(color_locks=[{"part": "body", "point": [0, 0], "color": "FFF"}]), INPUT),
    ("lock of an unknown part", _job(color_locks=[{"part": "roof", "color": "FFF"}]), INPUT),
    ("lock without a colour", _job(color_locks=[{"part": "body"}]), INPUT),
    ("lock of a colour by name", _job(color_locks=[{"part": "body", "color": "red"}]), INPUT),
    ("lock at a pixel", _job(color_locks=[{"point": [320, 240], "color": "FFF"}]), INPUT),
    ("lock at one number", _job(color_locks=[{"point": [0.5], "color": "FFF"}]), INPUT),
    ("lock at NaN", _job(color_locks=[{"point": [0.5, math.nan], "color": "FFF"}]), INPUT),
    ("unknown key in a lock", _job(color_locks=[{"part": "body", "colour": "FFF"}]), INPUT),
    ("body locked twice", _job(color_locks=[{"part": "body", "color": "FFF"}] * 2), INPUT),
    ("lock that is no list", _job(color_locks={"part": "body", "color": "FFF"}), INPUT),
    ("too many locks", _job(color_locks=[{"point": [0.5, 0.5], "color": "FFF"}] * 33), INPUT),
    (
        "locks beyond 64 colours",
        _job(palette_hex_list=[f"{v:06X}" for v in range(64)], color_locks=[{"part": "body", "color": "FFF"}]),
        PALETTE,
    ),
    ("palette of one", _job(palette_hex_list=["FF0000"]), PALETTE),
    ("palette of none", _job(palette_hex_list=[]), PALETTE),
    ("palette of one colour twice", _job(palette_hex_list="FF0000,ff0000"), PALETTE),
    ("palette of 65", _job(palette_hex_list=[f"{v:06X}" for v in range(65)]), PALETTE),
    ("palette with a name", _job(palette_hex_list="red,blue"), PALETTE),
    ("palette with five digits", _job(palette_hex_list="FF000,00FF00"), PALETTE),
    ("palette with a number in it", _job(palette_hex_list=["FF0000", 0]), PALETTE),
    ("palette is an object", _job(palette_hex_list={"a": "FF0000"}), PALETTE),
    ("background not in the palette", _job(background="123456"), PALETTE),
    ("background that is no colour", _job(background="transparent"), INPUT),
    ("stroke mode unknown", _job(stroke={"mode": "outline"}), INPUT),
    ("stroke of no width", _job(stroke={"width": 0}), INPUT),
    ("stroke colour by name", _job(stroke={"color": "black"}), INPUT),
    ("stroke is a number", _job(stroke=2), INPUT),
    ("canvas unknown", _job(canvas="wide"), INPUT),
    ("outputs unknown", _job(outputs=["svg", "gif"]), INPUT),
    ("outputs empty", _job(outputs=[]), INPUT),
    ("outputs as text", _job(outputs="svg"), INPUT),
    ("detail negative", _job(detail=-0.1), INPUT),
    ("detail NaN", _job(detail=math.nan), INPUT),
    ("remove as text", _job(remove="text"), INPUT),
    ("remove of 33 things", _job(remove=[f"thing {i}" for i in range(33)]), INPUT),
    ("delivery unknown", _job(delivery="ftp"), INPUT),
    ("delivery to a bucket that is not configured", _job(delivery="s3"), INPUT),
    ("prefix that climbs", _job(output_prefix="../../etc"), INPUT),
    ("prefix that is absolute", _job(output_prefix="/etc"), INPUT),
    ("prefix with a backslash", _job(output_prefix="a\\b"), INPUT),
    ("steps with the classical drawing", _job(num_inference_steps=20), INPUT),
    ("preset with the classical drawing", _job(preset="draft"), INPUT),
    ("prompt with the classical drawing", _job(prompt="a car"), INPUT),
    ("URL of a file", {"image_url": "file:///etc/passwd"}, INPUT),
    ("URL of FTP", {"image_url": "ftp://example.com/a.jpg"}, INPUT),
    ("URL without host", {"image_url": "http://"}, INPUT),
    ("URL of this machine", {"image_url": "http://127.0.0.1/a.jpg"}, Code.INPUT_FORBIDDEN),
    ("URL of this machine, IPv6", {"image_url": "http://[::1]/a.jpg"}, Code.INPUT_FORBIDDEN),
    ("URL of this machine, in decimal", {"image_url": "http://2130706433/a.jpg"}, Code.INPUT_FORBIDDEN),
    ("URL of this machine, mapped", {"image_url": "http://[::ffff:127.0.0.1]/a.jpg"}, Code.INPUT_FORBIDDEN),
    ("URL of a private network", {"image_url": "http://10.0.0.1/a.jpg"}, Code.INPUT_FORBIDDEN),
    ("URL of the metadata service", {"image_url": "http://169.254.169.254/latest/meta-data"}, Code.INPUT_FORBIDDEN),
    ("URL with a password", {"image_url": "http://user:secret@example.com/a.jpg"}, INPUT),
    ("object of no configured bucket", {"image_url": "s3://bucket/key.jpg"}, Code.INPUT_FORBIDDEN),
    *((f"picture: {name}", {"image_base64": base64.b64encode(data).decode()}, code) for name, data, code in BAD_PICTURES if data),
]
