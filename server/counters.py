"""The folder in which a pod's processes keep their counters. `prometheus_client` looks for it only once, when it is imported."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

#: Environment variable: the name under which a process counts, in place of its id. So a restarted engine goes on in the files of the one
#: before it; with ids every start would add files, and `/metrics` would take longer.
NAME = "COUNTS_AS"


def prepare(folder: Path) -> IO[bytes]:
    """Make the folder and set it for this process and its children. Empties it unless another process of this pod counts there already.

    The file that is returned has to stay open as long as this process counts.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = folder.with_suffix(".lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    except BlockingIOError:
        pass  # another process counts there
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return lock
