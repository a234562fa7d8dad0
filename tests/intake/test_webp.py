"""WebP: neither coding has a checksum; what is damaged is seen all the same."""

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import JobError
from pipeline.intake.photo import Limits, decode
from tests.intake.test_good_pictures import read
from tests.intake.test_jpeg import busy
from tests.support.good_pictures import scenery
from tests.support.pictures import save

LOSSY = save(busy(), "WEBP", quality=80)
LOSSLESS = save(busy(200, 300), "WEBP", lossless=True)


def answer(data: bytes) -> str:
    try:
        warnings = read(data).warnings
    except JobError as refusal:
        return "refused" if refusal.code == "UNSUPPORTED_IMAGE" else refusal.code
    return "told" if warnings else "drawn"


def patched(data: bytes) -> bytes:
    """Cut, and its sizes made to fit."""
    return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:16] + (len(data) - 20).to_bytes(4, "little") + data[20:]


@pytest.mark.parametrize("data", [LOSSY, LOSSLESS], ids=["lossy", "lossless"])
def test_a_few_missing_bytes_are_filled_and_told(data):
    good = decode(data).rgb.astype(int)
    for size in (4, 40, 150):
        photo = decode(data[:-size])
        assert [warning.partition(":")[0] for warning in photo.warnings] == ["PHOTO_CUT_SHORT"]
        assert (np.abs(photo.rgb - good).max(-1) > 3).mean() < 0.05
    assert answer(data[:-150] + bytes(150)) == "told"


@pytest.mark.parametrize("data", [LOSSY, LOSSLESS], ids=["lossy", "lossless"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_more_is_refused(data, share):
    cut = data[: int(share * len(data)) // 2 * 2]
    for damaged in (cut, patched(cut), cut + bytes(len(data) - len(cut))):
        assert answer(damaged) == "refused"


@pytest.mark.parametrize(("data", "most"), [(LOSSY, 2), (LOSSLESS, 12)], ids=["lossy", "lossless"])
def test_what_is_overwritten_is_seen(data, most):
    """Lossless coding finds its way again behind a hole, and where as many pixels come out as went in nobody can tell."""
    rng, answers = random.Random(3), Counter[str]()
    for _ in range(12):
        at = rng.randrange(200, len(data) - 2500)
        for changed in (bytes(1500), rng.randbytes(1500)):
            answers[answer(data[:at] + changed + data[at + 1500 :])] += 1
    assert answers["drawn"] + answers["told"] <= most


def test_what_is_lost_from_the_middle_of_lossy_samples_is_seen():
    rng = random.Random(3)
    for size in (1500, 4000):
        for _ in range(8):
            at = rng.randrange(200, len(LOSSY) - 5000)
            assert answer(LOSSY[:at] + LOSSY[at + size :]) == "refused"


def test_size_is_judged_before_damage():
    large = save(Image.fromarray(scenery(900, 700)), "WEBP", lossless=True)
    with pytest.raises(JobError, match="900 × 700"):
        decode(large[: len(large) // 2], Limits(side=800))


def test_even_margins_whose_samples_end_in_zeros_are_whole():
    zeros = []
    for size, quality, margin in product([(700, 500), (1600, 1200), (3000, 800)], [40, 80, 95], ["white", (206, 210, 214), (0, 0, 0, 0)]):
        image = Image.new("RGBA", size, margin)
        image.paste(busy(200, 300), (100, 60))
        data = save(image, "WEBP", quality=quality)
        assert not any("cut short" in warning for warning in read(data).warnings)
        zeros.append(len(data) - len(data.rstrip(b"\0")))
    assert sum(count > 32 for count in zeros) > 5, "or this tests nothing"
