#!PYTHON
"""An npm client without a registry: `view` answers, `pack` leaves the archive FAKE_NPM_ARCHIVE in the working folder, as npm does.

FAKE_NPM_LOG: a line for each call. FAKE_NPM_FAILS: what it writes to standard error before it ends with 1. FAKE_NPM_SECONDS: how long
`pack` takes, its own process id in FAKE_NPM_LOG first.
"""

import os
import shutil
import sys
import time
from pathlib import Path

command, package = sys.argv[1:3]
cache = Path(next(it for it in sys.argv if it.startswith("--cache=")).partition("=")[2])
with Path(os.environ["FAKE_NPM_LOG"]).open("a") as log:
    log.write(f"{command} {package} {os.getpid()}\n")
if os.environ.get("FAKE_NPM_FAILS"):
    sys.stderr.write(os.environ["FAKE_NPM_FAILS"])
    sys.exit(1)
if command == "pack":
    (cache / "_cacache" / "tmp").mkdir(parents=True)
    shutil.copyfile(os.environ["FAKE_NPM_ARCHIVE"], cache / "_cacache" / "tmp" / "content")
    time.sleep(float(os.environ.get("FAKE_NPM_SECONDS", "0")))
    name = package.removeprefix("@").replace("/", "-").replace("@", "-")
    shutil.copyfile(os.environ["FAKE_NPM_ARCHIVE"], f"{name}.tgz")
