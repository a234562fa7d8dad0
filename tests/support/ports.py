"""Free ports for processes that have to be told theirs."""

import itertools
import os
import socket

#: Below the ports that the kernel gives to connections (32768 and more), one of which could take a port between this look and the bind.
FIRST, LAST = 20_000, 32_000
#: Another beginning in each test process, and never the same port twice.
_numbers = itertools.count(os.getpid() * 37)


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that are free now."""
    for _ in range(LAST - FIRST):
        port = FIRST + next(_numbers) * count % (LAST - FIRST - count)
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, probe in enumerate(sockets):
                probe.bind(("127.0.0.1", port + offset))
            return port
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
    raise RuntimeError("no block of free ports")


def free_port() -> int:
    """One port that is free now."""
    return free_ports(1)
