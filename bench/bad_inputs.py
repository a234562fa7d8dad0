"""Every bad input with its code, its sentence and the seconds it takes: `python -m bench.bad_inputs`."""

import sys
import tempfile
import time
from pathlib import Path

from pipeline import service, settings
from pipeline.errors import JobError
from pipeline.progress import Progress
from tests.support.bad_inputs import JOBS


def main() -> int:
    """Print the table; the exit status says whether every input gave its code within 2 s and left nothing behind."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        worker = service.start(settings.environment({"ENGINE": "classical", "OUTPUT_DIR": f"{folder}/out"}), settings.load())
        slowest = 0.0
        for name, raw, code in JOBS:
            began = time.perf_counter()
            try:
                service.perform("bad", raw, worker, Progress())
                said = "no error"
            except JobError as error:
                said = str(error)
            seconds = time.perf_counter() - began
            slowest = max(slowest, seconds)
            good = said.startswith(f"{code}: ") and seconds < 2 and not list(Path(folder).iterdir())
            wrong += not good
            print(f"{'ok ' if good else 'BAD'} {seconds:5.2f} s  {name:55} {said}")
    print(f"{len(JOBS)} inputs, {wrong} wrong, slowest {slowest:.2f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
