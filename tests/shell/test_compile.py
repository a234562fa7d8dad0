import os

import pytest

from pipeline.shell.compile import forget_stale


@pytest.mark.parametrize(("source", "gone"), [(100, 0), (300, 2)])
def test_compiled_code_older_than_any_source_is_forgotten(tmp_path, source, gone):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for name, when in (("a.py", source), ("__pycache__/a.f.nbi", 200), ("__pycache__/a.f.1.nbc", 201)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (when, when))
    assert forget_stale(tmp_path) == gone
    assert len(list(cache.iterdir())) == 2 - gone


def test_nothing_compiled_is_nothing_stale(tmp_path):
    (tmp_path / "a.py").write_text("")
    assert forget_stale(tmp_path) == 0
