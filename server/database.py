"""The pod's one shared state: a SQLite file that web processes and engines open at once (WAL, one writer at a time).

A transaction that returned survives the end of any process; with `synchronous=NORMAL` a power loss may lose the latest ones.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Connection, Engine, Float, Index, Integer, MetaData, String, Table, create_engine, event

from pipeline.settings import SettingsError

#: Version of the tables below; a file of another version is refused, not guessed at.
VERSION = 1
#: Seconds that a writer waits for another process's transaction, all of which are short.
BUSY_SECONDS = 20
#: Most connections of a process, and KiB of pages that each keeps: together they bound the memory that the database takes.
CONNECTIONS, CACHE_KIB = 16, 512
#: Bytes to which the journal is cut after a transaction that made it longer.
JOURNAL_BYTES = 8 * 2**20

metadata = MetaData()
_JSON = JSON(none_as_null=True)

#: `seq` is a job's place for ever: jobs run in the order in which they came. `lease` is a secret of the engine at work. Times are seconds
#: since the epoch, except `lease_until` and `deadline`, which are the machine's monotonic clock's. `cancel_at`: when a cancel was
#: requested. `attempts`: how often the job was begun. `bytes`: of its folder.
jobs = Table(
    "jobs",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("job_id", String, nullable=False, unique=True),
    Column("status", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("request", _JSON, nullable=False),
    Column("picture", String),
    Column("matte", String),
    Column("idempotency_key", String, unique=True),
    Column("digest", String, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("cancel_at", Float),
    Column("slot", Integer),
    Column("lease", String),
    Column("lease_until", Float),
    Column("deadline", Float),
    Column("error_code", String),
    Column("error_sentence", String),
    Column("result", _JSON),
    Index("jobs_by_status", "status", "seq"),
    sqlite_autoincrement=True,
)

#: Progress and log of a job: `kind` is progress or log, `data` one JSON object. `number` counts up over all jobs.
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("data", _JSON, nullable=False),
    Index("events_by_job", "job", "kind", "number"),
    sqlite_autoincrement=True,
)

#: The engines' processes: `state` is starting, ready or down; `error` is why the last start failed.
engines = Table(
    "engines",
    metadata,
    Column("slot", Integer, primary_key=True),
    Column("pid", Integer),
    Column("state", String, nullable=False),
    Column("engine", String),
    Column("models", _JSON),
    Column("error", String),
)

#: The one training of a style, in one row (`server.training`): `task` is train or install, `asked` what was asked for, `told` what is known
#: of it by now. `stop_at`: when its end was requested. Times are seconds since the epoch.
trainings = Table(
    "trainings",
    metadata,
    Column("only", Integer, primary_key=True),
    Column("task", String, nullable=False),
    Column("status", String, nullable=False),
    Column("asked", _JSON, nullable=False),
    Column("told", _JSON, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("stop_at", Float),
    Column("error", String),
)


@dataclass(frozen=True, slots=True)
class Database:
    """An open file. `read` sees one moment; `write` is alone among all processes, from its first statement on."""

    engine: Engine
    _writing: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.engine.connect().execution_options(begin="DEFERRED") as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; undone when anything is raised in it."""
        # threads of one process queue here; SQLite's own waiting is a sleep that grows
        with self._writing, self.engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def connect(path: Path) -> Database:
    """Open the file, made when absent. Raises `SettingsError` when another version of this project made it."""
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS, "isolation_level": None}, pool_size=CONNECTIONS, max_overflow=0
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    database = Database(engine)
    with database.write() as connection:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version not in (0, VERSION):
            engine.dispose()
            raise SettingsError(f"Environment variable OUTPUT_DIR: it holds the jobs of another version of the server ({path}).")
        metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
    return database


def _prepare(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
