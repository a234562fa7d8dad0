"""How the engines are."""

import os
from typing import Any

from sqlalchemy import select

from server import training
from server.database import Database, engines
from server.problems import PodCode, Problem


def ready(database: Database) -> dict[str, Any]:
    """The engine that takes jobs. Raises `NOT_READY` with the reason where none does."""
    with database.read() as connection:
        rows = connection.execute(select(engines)).all()
    alive = [row for row in rows if row.state == "ready" and lives(row.pid)]
    if alive:
        return {"status": "ready", "engine": "classical" if alive[0].engine == "classical" else "neural", "models": alive[0].models}
    if training.holds(database):
        raise Problem(PodCode.NOT_READY, training.SENTENCE)
    failed = next((row.error for row in rows if row.error), None)
    raise Problem(PodCode.NOT_READY, f"No engine can be started. {failed}" if failed else "The engine is warming up.")


def lives(pid: int | None) -> bool:
    """Whether there is such a process; signal 0 asks."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
