"""The folder in which the processes of a pod count: `prometheus_client` looks for it when it is imported, and not again."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

#: Environment variable: the name under which a process counts, in place of its id. An engine that is started anew counts on in the files
#: of the one before it; files under ids would grow in number with every start, and with them the time that `/metrics` takes.
NAME = "COUNTS_AS"


def prepare(folder: Path) -> IO[bytes]:
    """Make the folder ready and the one of this process and its children: emptied, unless another process of this pod counts there already.

    The file that is returned has to stay open as long as this process counts.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = folder.with_suffix(".lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    except BlockingIOError:
        pass  # somebody else counts there
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return lock
