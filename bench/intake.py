"""What the largest and the nastiest pictures cost the intake: seconds, and the decoder's peak memory.

    python -m bench.intake [MEGAPIXELS]

Each picture is made, then decoded by `pipeline.intake.photo.decode` under its default limits, in a process of its own so that
the peak is that picture's. Default 120 megapixels, the limit.
"""

import resource
import subprocess
import sys
import tempfile
import time
from math import isqrt
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import JobError
from pipeline.intake.jpeg import MAX_SCANS
from pipeline.intake.photo import decode
from tests.support.pictures import cmyk_profile, deflate_bomb, jpeg_of_scans, matrix_profile, png, png_chunk, save, webp_canvas

P3 = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))


def pictures(width: int, height: int) -> dict[str, bytes]:
    """One file of each kind: hatched, so that it packs well below the limit on bytes."""
    hatch = ((np.arange(width) // 16 + np.arange(height)[:, None] // 16) % 256).astype(np.uint8)
    rgb = Image.fromarray(np.dstack([hatch, 255 - hatch, hatch // 2]))
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(255 - hatch))
    turned = Image.Exif()
    turned[274] = 6
    webp_side = min(width, height, 16383)
    return {
        "JPEG": save(rgb, "JPEG", quality=80),
        "JPEG, profile, turned": save(rgb, "JPEG", quality=80, icc_profile=P3, exif=turned),
        "JPEG, CMYK, profile": save(rgb.convert("CMYK"), "JPEG", quality=75, icc_profile=cmyk_profile()),
        "JPEG, as many scans as allowed": jpeg_of_scans(width, height, MAX_SCANS - 10),
        "JPEG, too many scans": jpeg_of_scans(width, height, MAX_SCANS + 10),
        "PNG": save(rgb, "PNG", compress_level=1),
        "PNG, 16-bit grey": save(Image.fromarray(hatch.astype(np.uint16) * 257), "PNG", compress_level=1),
        "PNG, alpha, profile, turned": save(rgba, "PNG", compress_level=1, icc_profile=P3, exif=turned),
        "PNG, text bomb": png(96, 72, 8, 0, bytes(96 * 72), png_chunk(b"zTXt", b"t\0\0" + deflate_bomb(2000))),
        "PNG, 29000 pixels squared": png(29000, 29000, 8, 6),
        "TIFF, LZW": save(Image.fromarray(hatch), "TIFF", compression="tiff_lzw"),
        "WebP": save(rgb.crop((0, 0, webp_side, webp_side)), "WEBP", quality=60, method=0),
        "WebP, canvas of 16000 pixels squared": webp_canvas(16000, 16000),
        "AVIF": save(rgb, "AVIF", quality=50, speed=10),
        "HEIC, a tenth": save(rgb.crop((0, 0, width // 3, height // 3)), "HEIF", quality=40),
    }


def measure(data: bytes) -> None:
    """Decode one file and print what it cost."""
    start = time.perf_counter()
    try:
        height, width = decode(data).rgb.shape[:2]
        outcome = f"{width} × {height}"
    except JobError as refusal:
        outcome = str(refusal)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{seconds:6.2f} s {peak:6.0f} MB  {outcome}")


def main() -> None:
    """Measure every picture."""
    if len(sys.argv) > 2:
        measure(Path(sys.argv[2]).read_bytes())
        return
    pixels = int(sys.argv[1] if len(sys.argv) > 1 else 120) * 1_000_000
    height = isqrt(pixels * 3 // 4)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture"
        for name, data in pictures(pixels // height, height).items():
            file.write_bytes(data)
            print(f"{name:38} {len(data) / 1e6:6.2f} MB file ", end="", flush=True)
            subprocess.run([sys.executable, "-m", "bench.intake", "0", str(file)], check=True)


if __name__ == "__main__":
    main()
