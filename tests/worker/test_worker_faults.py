"""The bench of the real loop in small: twenty jobs, faults of every weight in a third of them, nothing lost, doubled or left behind."""

import argparse
import json

from bench.real_loop import __main__ as real_loop


def test_twenty_jobs(tmp_path, monkeypatch, s3_service):
    monkeypatch.setattr(real_loop, "OUT", tmp_path / "out")
    arguments = argparse.Namespace(jobs=20, faults=0.3, seed=3, workers=2)
    found = real_loop.loop(arguments, s3_service, tmp_path, print)
    assert found.met, found.public()
    told = json.loads((tmp_path / "out" / "jobs.json").read_text())
    assert told["disturbed"] == 6
    assert sum(sum(ends.values()) for ends in told["ends"].values()) == 20
