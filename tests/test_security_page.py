"""docs/security.md names a test for each claim: they are there, under these names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"\[(test_[a-z0-9_]+)\]\(\.\./(tests/[a-z0-9_/]+\.py)\)", PAGE)
    assert len(named) >= 30
    missing = [(test, file) for test, file in named if f"def {test}(" not in (ROOT / file).read_text()]
    assert missing == []


def test_both_runs_are_recorded() -> None:
    """`python -m bench.fuzz … --docs` writes them: at least a million jobs and fifty thousand pictures."""
    for what, least in (("jobs", 1_000_000), ("photos", 50_000)):
        table = PAGE.split(f"<!-- fuzz {what} -->")[1].split(f"<!-- end of fuzz {what} -->")[0]
        cases = re.search(rf"`python -m bench\.fuzz {what} --cases (\d+)", table)
        assert cases is not None and int(cases[1]) >= least, table
        assert "| faults | 0 |" in table
