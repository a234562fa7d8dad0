"""The bench of the real loop in small: faults of every weight in a third of the jobs, nothing lost, doubled or left behind."""

import argparse
import json
import os

import pytest

from bench.real_loop import __main__ as real_loop

#: More in a soak.
JOBS = 120 if os.environ.get("SOAK") == "1" else 10


@pytest.mark.soak
def test_jobs_with_faults(tmp_path, monkeypatch, s3_service):
    monkeypatch.setattr(real_loop, "OUT", tmp_path / "out")
    arguments = argparse.Namespace(jobs=JOBS, faults=0.3, seed=3, workers=2)
    found = real_loop.loop(arguments, s3_service, tmp_path, print)
    assert found.met, found.public()
    told = json.loads((tmp_path / "out" / "jobs.json").read_text())
    assert told["disturbed"] == round(0.3 * JOBS)
    assert sum(sum(ends.values()) for ends in told["ends"].values()) == JOBS
