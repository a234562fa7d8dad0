"""`handler.py` whose drawing fails as workers do: the job's seed says how. `python -u tests/worker/sabotaged.py`.

Everything else is the real worker's; only the waits of a hung job are shortened.
"""

import re
import sys
import threading
import time

SLOW, HANGS, LOCKS, CARD_FAILS = range(9001, 9005)


def sabotage(seed, progress):
    from pipeline.errors import Code, JobError

    if seed == SLOW:
        while True:
            progress.step("drawing", 0.3)
            time.sleep(0.05)
    if seed == HANGS:
        threading.Event().wait()
    if seed == LOCKS:
        re.match(r"(a+)+$", "a" * 64 + "b")  # for ever, without ever giving the interpreter's lock away
    if seed == CARD_FAILS:
        raise JobError(Code.GPU_FAILED, "The card has failed.", fatal=True)


def main():
    import handler
    from pipeline.service import work

    real = work.run

    def run(photo, matte, job, steps, settings, progress):
        sabotage(job.seed, progress)
        return real(photo, matte, job, steps, settings, progress)

    work.run = run
    handler.GRACE, handler.LAST = 1.0, 3.0
    return handler.main()


if __name__ == "__main__":
    sys.exit(main())
