"""The audit of bench.real_loop finds what it is there to find."""

import json

import pytest

from bench.real_loop.audit import audit
from bench.real_loop.faults import Trial
from tests.support.control_plane import Job, Post

NAME = "r-0001"
ANSWER = {"svg_url": f"http://s3/b/{NAME}/illustration.svg?X-Amz-Signature=1", "quality": {"svg_bytes": 6}}
FILES = {f"{NAME}/illustration.svg": b"<svg/>", f"{NAME}/result.json": json.dumps(ANSWER).encode()}


def post(told, at=2.0, pod="a"):
    return Post(at, pod, NAME, json.dumps(told).encode())


def update(number, late=False):
    return post({"status": "IN_PROGRESS", "output": {"number": number}}), late


def job(status="COMPLETED", posts=None, **more):
    return Job(NAME, {}, 0.0, status, ended=2.0, posts=[post({"output": ANSWER})] if posts is None else posts, **more)


def found(made, objects=FILES, completed=frozenset({NAME}), ends=("COMPLETED",)):
    told = audit([Trial(NAME, "none", {}, frozenset(ends))], {NAME: made}, objects, set(completed)).public()
    return {name for name, value in told.items() if value and name not in ("ends", "updates")}


def test_a_whole_job_is_found_whole():
    assert found(job()) == set()
    assert found(job(updates=[update(1), update(2)])) == set()


@pytest.mark.parametrize(
    ("made", "objects", "ends", "expected"),
    [
        (job("IN_PROGRESS", []), {}, ("IN_PROGRESS",), {"lost"}),
        (job("IN_QUEUE", []), {}, ("IN_QUEUE",), {"lost"}),
        (job(posts=[post({"output": ANSWER}), post({"output": ANSWER})]), FILES, ("COMPLETED",), {"repeated"}),
        (job(posts=[post({"output": ANSWER}), post({"output": ANSWER}, pod="b")]), FILES, ("COMPLETED",), {"double"}),
        (job(posts=[post({"output": ANSWER}), post({"error": "X: y"})]), FILES, ("COMPLETED",), {"double"}),
        (job("CANCELLED", [post({"error": "X: y"}, at=9.0)]), {}, ("CANCELLED",), {"double"}),
        (job("CANCELLED", [post({"output": ANSWER}, at=2.004)]), FILES, ("CANCELLED",), {"crossed", "overtaken"}),
        (job("CANCELLED", []), FILES, ("CANCELLED",), {"overtaken"}),
        (job("CANCELLED", []), {f"{NAME}/illustration.svg": b"<svg/>"}, ("CANCELLED",), {"orphans"}),
        (job("FAILED", [post({"error": "X: y"})]), FILES, ("FAILED X",), {"orphans"}),
        (job(), {**FILES, "elsewhere/preview.png": b""}, ("COMPLETED",), {"orphans"}),
        (job(), {**FILES, f"{NAME}/preview.png": b""}, ("COMPLETED",), {"torn"}),
        (job(), {**FILES, f"{NAME}/illustration.svg": b"<svg>longer"}, ("COMPLETED",), {"torn"}),
        (job(), {}, ("COMPLETED",), {"torn"}),
        (job(updates=[update(2), update(1)]), FILES, ("COMPLETED",), {"late"}),
        (job(updates=[update(1, late=True)]), FILES, ("COMPLETED",), {"late"}),
        (job("FAILED", [post({"error": "INTERNAL: z"})]), {}, ("FAILED X",), {"surprises"}),
    ],
)
def test_each_fault_is_found(made, objects, ends, expected):
    assert found(made, objects, ends=ends) == expected
