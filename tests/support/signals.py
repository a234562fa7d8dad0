"""Processes that are to be interrupted."""

import signal


def hears_interrupts() -> None:
    """Run in the child: what a shell starts in the background ignores interrupts, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
