"""Whatever is sound is decoded, to the right picture: damage, colours and trees of pages are looked for, and nothing good is refused."""

import numpy as np
import pytest

from pipeline.intake import decoder
from pipeline.intake.photo import Limits, decode, jpeg_to_its_end, sniff
from tests.support.good_pictures import Good, good_pictures

GOOD = good_pictures()


def read(data: bytes) -> decoder.Decoded:
    """As `decode` reads, in this process: two hundred others would take a minute."""
    limits = Limits()
    request = decoder.Request(sniff(data), "The picture", True, limits.pixels, limits.side, 64, limits.seconds)
    return decoder.read(*(jpeg_to_its_end(data, request) if request.kind == "JPEG" else (data, request)))


@pytest.mark.parametrize("good", GOOD, ids=[good.name for good in GOOD])
def test_it_is_decoded(good: Good):
    found = read(good.data)
    assert found.rgb.shape == good.rgb.shape
    assert found.alpha is None or (found.alpha == 255).all()
    off = np.abs(found.rgb.astype(int) - good.rgb)
    assert off.max() <= good.tolerance
    assert off.mean() <= good.tolerance / 3
    assert tuple(warning.partition(":")[0] for warning in found.warnings) == good.warnings


@pytest.mark.parametrize(
    "kind", ["JPEG, a comment", "PNG, interlaced", "WebP, lossy, larger", "AVIF, alpha", "TIFF, tiles", "BMP, an alpha of zeros"]
)
def test_the_child_process_does_the_same(kind: str):
    good = next(good for good in GOOD if good.name == kind)
    np.testing.assert_array_equal(decode(good.data).rgb, read(good.data).rgb)


def test_there_are_enough_of_them():
    assert len(GOOD) >= 60
    assert len({good.name for good in GOOD}) == len(GOOD)
