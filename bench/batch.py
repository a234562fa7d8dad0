"""Pictures a second through `python -m batch`, and its memory, at 1,000 and 10,000 lines against a stand-in endpoint with instant jobs.

`python -m bench.batch` prints both; `--kill 30` also kills a batch at so many random moments and says how often each picture was answered
and whether one was sent again after its answer was recorded.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.instant_plane import KEY, InstantPlane, picture_of

ROOT = Path(__file__).parents[1]


def manifest(path: Path, count: int) -> Path:
    """JSON lines of so many pictures, each with settings of its own."""
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"id": f"car-{number:06}", "image_url": f"https://example.com/{number}.jpg", "seed": number}) + "\n")
    return path


def command(source: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "batch", str(source), "-o", str(folder), "--endpoint", "e", *more]


def environment(plane: InstantPlane) -> dict[str, str]:
    return {**os.environ, "RUNPOD_ENDPOINT_BASE_URL": plane.base, "RUNPOD_API_KEY": KEY}


def measure(count: int) -> tuple[float, float, float, int]:
    """Pictures a second (without the start of Python), processor milliseconds a picture, peak resident MB, and lines of the results."""
    with tempfile.TemporaryDirectory() as name, InstantPlane() as plane:
        plane.forget = True
        source, folder = manifest(Path(name) / "cars.jsonl", count), Path(name) / "out"
        process = subprocess.Popen(
            command(source, folder, "--concurrency", "64"), cwd=ROOT, env=environment(plane), stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0, status
        lines = sum(1 for _ in (folder / "results.jsonl").open())
        times = [at for at, _ in plane.sent]
        busy = 1000 * (used.ru_utime + used.ru_stime) / count
        return count / (plane.given[-1][0] - times[0]), busy, used.ru_maxrss / 1000, lines


def recorded(folder: Path) -> set[str]:
    """The pictures whose answer the ledger holds."""
    if not (folder / "ledger.sqlite").exists():
        return set()
    with sqlite3.connect(folder / "ledger.sqlite") as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        rows = database.execute("SELECT job FROM tasks WHERE state NOT IN ('waiting', 'sent')") if "tasks" in tables else []
        return {json.loads(row[0])["image_url"] for row in rows}


def killed(kills: int, count: int, seed: int, most_seconds: float = 1.5) -> dict[str, Any]:
    """Kill a batch so many times at random moments, then let it end; how it came out."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, InstantPlane(seconds=0.3) as plane:
        source, folder = manifest(Path(name) / "cars.jsonl", count), Path(name) / "out"
        again = 0
        for _ in range(kills):
            known, begun = recorded(folder), len(plane.sent)
            process = subprocess.Popen(
                command(source, folder, "--concurrency", "4"),
                cwd=ROOT,
                env=environment(plane),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            while len(plane.sent) == begun and process.poll() is None:  # Python's own start is no interesting moment
                time.sleep(0.005)
            time.sleep(chance.uniform(0, most_seconds))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            again += sum(picture_of(request) in known for _, request in plane.sent[begun:])
        known, begun = recorded(folder), len(plane.sent)
        status = subprocess.run(command(source, folder), cwd=ROOT, env=environment(plane), capture_output=True, check=False).returncode
        again += sum(picture_of(request) in known for _, request in plane.sent[begun:])
        answered = Counter(json.loads(line)["id"] for line in (folder / "results.jsonl").open())
        return {
            "kills": kills,
            "status": status,
            "pictures": count,
            "answered_once": sum(times == 1 for times in answered.values()),
            "answered_more": sum(times > 1 for times in answered.values()),
            "sent_again_after_answer": again,
            "sent_twice_before_answer": sum(times - 1 for times in plane.counts().values()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for count in given.counts:
        rate, busy, memory, lines = measure(count)
        print(f"{count:6} lines: {rate:5.0f} a second ({busy:.1f} ms of processor each), peak {memory:.0f} MB, {lines} results")
    if given.kill:
        print(json.dumps(killed(given.kill, 20 * given.kill, given.seed)))


if __name__ == "__main__":
    main()
