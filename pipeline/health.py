"""How worker or server are, for a container's health check: `python -m pipeline.health` exits 0 while all is well, else 1 and says why.

Either notes what it is doing in a small file (`WORKER_STATE`, by default in the temporary folder); the check reads it. RunPod itself
asks through the SDK's pings; this is for container engines, which know nothing of them.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from pipeline.variables import variable

#: RunPod calls a worker unhealthy that is not ready after so many seconds; so do we.
START_SECONDS = 420.0

State = Literal["starting", "ready", "busy", "leaving"]


def _file() -> Path:
    return Path(variable("WORKER_STATE") or Path(tempfile.gettempdir()) / "worker-state.json")


def note(state: State, seconds: float | None = None) -> None:
    """Write down what this process is doing, and for how many `seconds` at most."""
    file = _file()
    fresh = file.with_suffix(f".{os.getpid()}")
    limit = START_SECONDS if state == "starting" else seconds
    fresh.write_text(json.dumps({"state": state, "pid": os.getpid(), "until": None if limit is None else time.time() + limit}))
    fresh.replace(file)


def fault(now: float) -> str | None:
    """What is wrong with the worker at `now` (seconds since the epoch), in one sentence; None while it is well."""
    try:
        told = json.loads(_file().read_text())
        state, pid, until = told["state"], int(told["pid"]), told["until"]
    except (OSError, ValueError, KeyError, TypeError):
        return "No worker has noted its state here."
    try:
        os.kill(pid, 0)  # signal 0 asks whether the process is there
    except ProcessLookupError:
        return f"The worker's process is gone; it was {state}."
    except PermissionError:
        pass  # another user's, so it is there
    if state == "leaving":
        return "The worker is leaving and takes no further job."
    if until is not None and now > until:
        return f"The worker has been {state} for longer than it may."
    return None


def main() -> int:
    """The check's exit status."""
    wrong = fault(time.time())
    if wrong:
        sys.stderr.write(f"{wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
