"""The catalogue's embedded group itself, and the pages that repeat it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from model_cache.embedded import EFFICIENTNET, ISNET, Source, networks

ROOT = Path(__file__).parents[2]
HASH = "0" * 64


def test_the_group_has_both_networks_with_all_that_is_known_of_them():
    assert list(networks()) == [ISNET, EFFICIENTNET]
    first, second = networks()[ISNET].forms
    assert first.source.sha256 == "7001d60734fdc112dd9c062635fb59cd401fb82a9d4213134bce4dbd655c803a"
    assert not first.as_published
    assert second.sha256 == second.source.sha256 == "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a"
    assert second.as_published
    assert networks()[ISNET].commercial == "conditions"


def test_no_two_forms_are_the_same_file():
    every = [form.sha256 for network in networks().values() for form in network.forms]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("wrong", [{}, {"npm": "a@1", "url": "u"}, {"npm": "a@1"}, {"url": "u", "path": "p"}])
def test_a_source_is_one_place(wrong):
    with pytest.raises(ValidationError, match="one package, or one address"):
        Source(sha256=HASH, **wrong)


def test_the_page_repeats_each_networks_licence():
    page = (ROOT / "docs" / "models.md").read_text()
    rows = {row.split("`")[1]: [cell.strip() for cell in row.split("|")] for row in page.splitlines() if row.startswith("| `")}
    for name, network in networks().items():
        assert rows[name][5:7] == [network.licence, network.commercial]


def test_every_page_with_licences_says_what_is_unclear():
    for page in ("docs/models.md", "README.md", "NOTICE"):
        text = " ".join((ROOT / page).read_text().split())
        for word in ("IS-Net", "EfficientNet-Lite0", "Apache", "DIS5K", "has terms of its own"):
            assert word in text, f"{page}: {word}"


def test_the_wheel_is_a_requirement_in_the_version_that_is_read():
    (form,) = networks()[EFFICIENTNET].forms
    assert f"\n{form.source.wheel} " in (ROOT / "requirements-embedded.txt").read_text()
